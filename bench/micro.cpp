// SPDX-License-Identifier: MIT
// What the runtime itself costs, operation by operation.
#include "micro_loop.hpp"

#include <hob/hob.hpp>

#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <vector>

namespace {

using namespace std::chrono_literals;

hob::task<int> return_one() {
    co_return 1;
}

void spawn_join(benchmark::State& measured) {
    run_in_loop(measured, [](benchmark::State& state) -> hob::task<> {
        for (auto _ : state)
            benchmark::DoNotOptimize(co_await hob::create_task(return_one()));
    });
}
BENCHMARK(spawn_join);

void yield(benchmark::State& measured) {
    run_in_loop(measured, [](benchmark::State& state) -> hob::task<> {
        for (auto _ : state)
            co_await hob::yield();
    });
}
BENCHMARK(yield);

// The same while another task does it too: a turn of the loop may then not be spared.

hob::task<> spawn_and_join(const bool& enough) {
    while (!enough)
        benchmark::DoNotOptimize(co_await hob::create_task(return_one()));
}

void spawn_join_in_turn(benchmark::State& measured) {
    run_in_loop(measured, [](benchmark::State& state) -> hob::task<> {
        bool enough = false;
        const auto other = hob::create_task(spawn_and_join(enough));
        while (state.KeepRunningBatch(2))
            benchmark::DoNotOptimize(co_await hob::create_task(return_one()));
        enough = true;
        co_await other;
    });
}
BENCHMARK(spawn_join_in_turn);

hob::task<> yield_again(const bool& enough) {
    while (!enough)
        co_await hob::yield();
}

void yield_in_turn(benchmark::State& measured) {
    run_in_loop(measured, [](benchmark::State& state) -> hob::task<> {
        bool enough = false;
        const auto other = hob::create_task(yield_again(enough));
        while (state.KeepRunningBatch(2))
            co_await hob::yield();
        enough = true;
        co_await other;
    });
}
BENCHMARK(yield_in_turn);

void nested_await(benchmark::State& measured) {
    run_in_loop(measured, [](benchmark::State& state) -> hob::task<> {
        for (auto _ : state)
            benchmark::DoNotOptimize(co_await return_one());
    });
}
BENCHMARK(nested_await);

hob::task<> sleep_long() {
    co_await hob::sleep_for(1h);
}

// Spawning, starting, cancelling, unwinding and joining a task that sleeps.
void cancel_sleeper(benchmark::State& measured) {
    run_in_loop(measured, [](benchmark::State& state) -> hob::task<> {
        for (auto _ : state) {
            const hob::task_handle<> sleeper = hob::create_task(sleep_long());
            co_await hob::yield();
            sleeper.cancel();
            while (!sleeper.done())
                co_await hob::yield();
        }
    });
}
BENCHMARK(cancel_sleeper);

void timer_insert_cancel(benchmark::State& measured) {
    run_in_loop(measured, [](benchmark::State& state) -> hob::task<> {
        hob::event_loop& loop = hob::event_loop::current();
        for (auto _ : state)
            loop.call_later(1h, [] {}).cancel();
        co_return;
    });
}
BENCHMARK(timer_insert_cancel);

hob::task<> sleep_until(std::chrono::steady_clock::time_point when) {
    co_await hob::sleep_until(when);
}

double resident_megabytes() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_maxrss) / 1000.0 * 1.024;
}

// A million tasks that sleep until points spread over one second, from the first spawn to the end
// of the last.
void timers_1m(benchmark::State& measured) {
    run_in_loop(measured, [](benchmark::State& state) -> hob::task<> {
        for (auto _ : state) {
            constexpr int count = 1'000'000;
            const auto start = std::chrono::steady_clock::now();
            co_await hob::with_task_group([&](hob::task_group& group) -> hob::task<> {
                unsigned random = 1;
                for (int i = 0; i != count; ++i) {
                    random = random * 1664525U + 1013904223U;
                    group.start(
                        sleep_until(start + std::chrono::nanoseconds(random % 1'000'000'000U)));
                }
                co_return;
            });
        }
        state.counters["peak_MB"] = resident_megabytes();
    });
}
BENCHMARK(timers_1m)->Iterations(1)->Unit(benchmark::kMillisecond);

} // namespace

BENCHMARK_MAIN();
