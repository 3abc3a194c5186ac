// SPDX-License-Identifier: MIT
// What it costs to wait for several tasks at once.
#include "micro_loop.hpp"

#include <hob/hob.hpp>

#include <benchmark/benchmark.h>

namespace {

hob::task<> yield_once() {
    co_await hob::yield();
}

// Ten tasks that yield once each.
void gather_10(benchmark::State& measured) {
    run_in_loop(measured, [](benchmark::State& state) -> hob::task<> {
        for (auto _ : state)
            co_await hob::gather(yield_once(), yield_once(), yield_once(), yield_once(),
                                 yield_once(), yield_once(), yield_once(), yield_once(),
                                 yield_once(), yield_once());
    });
}
BENCHMARK(gather_10);

void task_group_10(benchmark::State& measured) {
    run_in_loop(measured, [](benchmark::State& state) -> hob::task<> {
        const auto body = [](hob::task_group& group) -> hob::task<> {
            for (int child = 0; child != 10; ++child)
                group.start(yield_once());
            co_return;
        };
        for (auto _ : state)
            co_await hob::with_task_group(body);
    });
}
BENCHMARK(task_group_10);

hob::async_generator<int> count() {
    for (int number = 0;; ++number)
        co_yield number;
}

// A value of a generator that does not wait.
void generator_next(benchmark::State& measured) {
    run_in_loop(measured, [](benchmark::State& state) -> hob::task<> {
        auto numbers = count();
        for (auto _ : state)
            benchmark::DoNotOptimize(co_await numbers.next());
    });
}
BENCHMARK(generator_next);

} // namespace
