// SPDX-License-Identifier: MIT
// What the synchronisation primitives cost.
#include "micro_loop.hpp"

#include <hob/hob.hpp>

#include <benchmark/benchmark.h>

#include <cstdint>

namespace {

// Locking and unlocking a mutex that nobody else wants.
void mutex(benchmark::State& measured) {
    run_in_loop(measured, [](benchmark::State& state) -> hob::task<> {
        hob::mutex lock;
        for (auto _ : state)
            benchmark::DoNotOptimize(co_await lock.lock());
    });
}
BENCHMARK(mutex);

hob::task<> send_numbers(hob::channel_sender<std::uint64_t> sender, const bool& enough) {
    std::uint64_t number = 0;
    while (!enough)
        co_await sender.send(number++);
}

// An item from one task to another one.
void channel64(benchmark::State& measured) {
    run_in_loop(measured, [](benchmark::State& state) -> hob::task<> {
        bool enough = false;
        auto [sender, receiver] = hob::channel<std::uint64_t>(64);
        const auto producer = hob::create_task(send_numbers(std::move(sender), enough));
        for (auto _ : state)
            benchmark::DoNotOptimize(co_await receiver.receive());
        enough = true;
        while (co_await receiver.receive())
            ;
        co_await producer;
    });
}
BENCHMARK(channel64);

// A put and a get in one task, neither of which waits.
void queue(benchmark::State& measured) {
    run_in_loop(measured, [](benchmark::State& state) -> hob::task<> {
        hob::queue<std::uint64_t> items(64);
        std::uint64_t number = 0;
        for (auto _ : state) {
            co_await items.put(number++);
            benchmark::DoNotOptimize(co_await items.get());
        }
    });
}
BENCHMARK(queue);

} // namespace
