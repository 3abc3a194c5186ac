// SPDX-License-Identifier: MIT
// What it costs to go to another thread and back. Needs two cores: the other rows need one.
#include "micro_loop.hpp"

#include <hob/hob.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace {

/// Reports the median of single measurements, which a mean over all of them would hide.
class median_time {
  public:
    explicit median_time(benchmark::State& state) noexcept : state_(state) {}
    median_time(const median_time&) = delete;
    median_time& operator=(const median_time&) = delete;
    ~median_time() {
        if (times_.empty())
            return;
        const auto middle = times_.begin() + static_cast<std::ptrdiff_t>(times_.size() / 2);
        std::nth_element(times_.begin(), middle, times_.end());
        state_.counters["median_ns"] = *middle;
    }
    void begin() noexcept { start_ = std::chrono::steady_clock::now(); }
    void end() {
        const std::chrono::duration<double, std::nano> taken =
            std::chrono::steady_clock::now() - start_;
        times_.push_back(taken.count());
    }

  private:
    benchmark::State& state_;
    std::chrono::steady_clock::time_point start_;
    std::vector<double> times_;
};

// One job at a time on a pool of one thread.
void pool_roundtrip(benchmark::State& measured) {
    run_in_loop(measured, [](benchmark::State& state) -> hob::task<> {
        hob::thread_pool_options options;
        options.max_threads = 1;
        hob::thread_pool pool(options);
        const auto job = [] { return 1; };
        median_time median(state);
        for (auto _ : state) {
            median.begin();
            benchmark::DoNotOptimize(co_await hob::run_in_executor(pool, job));
            median.end();
        }
    });
}
BENCHMARK(pool_roundtrip)->UseRealTime();

// Another thread, which waits for a word, wakes a loop that sleeps.
void threadsafe_wake(benchmark::State& measured) {
    run_in_loop(measured, [](benchmark::State& state) -> hob::task<> {
        std::atomic<int> asked = 0;
        hob::semaphore woken(0);
        std::jthread other([&, loop = hob::event_loop::current().get_handle()] {
            for (int seen = 0;;) {
                asked.wait(seen);
                seen = asked.load();
                if (seen < 0 || !loop.call_soon_threadsafe([&] { woken.release(); }))
                    return;
            }
        });
        median_time median(state);
        for (auto _ : state) {
            median.begin();
            ++asked;
            asked.notify_one();
            (co_await woken.acquire()).detach();
            median.end();
        }
        asked = -1;
        asked.notify_one();
    });
}
BENCHMARK(threadsafe_wake)->UseRealTime();

// A message to the loop of another thread, and its answer.
void loop_roundtrip(benchmark::State& measured) {
    hob::thread_channel<int> there(1);
    hob::thread_channel<int> back(1);
    auto answer = [&]() -> hob::task<> {
        while (const auto message = co_await there.receive())
            co_await back.send(*message);
    };
    const std::jthread other([&] {
        hob::runner_options options;
        options.handle_interrupt = false;
        hob::run(answer(), options);
    });
    run_in_loop(measured, [&](benchmark::State& state) -> hob::task<> {
        median_time median(state);
        for (auto _ : state) {
            median.begin();
            co_await there.send(1);
            benchmark::DoNotOptimize(co_await back.receive());
            median.end();
        }
        there.close();
    });
}
BENCHMARK(loop_roundtrip)->UseRealTime();

} // namespace
