// SPDX-License-Identifier: MIT
// What corral's own operations cost, where hob's have a like: the same loops in the same form.
#include <benchmark/benchmark.h>
#include <corral/corral.h>

#include <cstdlib>

namespace {

/// Nothing here ever waits, so that there is nothing to run.
struct idle_loop {
    bool has_stopped = false;
};

} // namespace

template <> struct corral::EventLoopTraits<idle_loop> {
    static EventLoopID eventLoopID(idle_loop& loop) { return EventLoopID(&loop); }
    static void run(idle_loop& loop) {
        if (!loop.has_stopped)
            std::abort();
    }
    static void stop(idle_loop& loop) { loop.has_stopped = true; }
};

namespace {

corral::Task<int> return_one() {
    co_return 1;
}

void nested_await(benchmark::State& state) {
    idle_loop loop;
    corral::run(loop, [&]() -> corral::Task<void> {
        for (auto _ : state)
            benchmark::DoNotOptimize(co_await return_one());
    });
}
BENCHMARK(nested_await);

// Its semaphore of one unit is what it has for a mutex.
void mutex(benchmark::State& state) {
    idle_loop loop;
    corral::run(loop, [&]() -> corral::Task<void> {
        corral::Semaphore lock(1);
        for (auto _ : state)
            benchmark::DoNotOptimize(co_await lock.lock());
    });
}
BENCHMARK(mutex);

} // namespace

BENCHMARK_MAIN();
