// SPDX-License-Identifier: MIT
// The primitives allocate nothing, whether a task has to wait or not.
#include "../catch.hpp"
#include "support/program.hpp"

#include <hob/sync/barrier.hpp>
#include <hob/sync/channel.hpp>
#include <hob/sync/condition_variable.hpp>
#include <hob/sync/event.hpp>
#include <hob/sync/queue.hpp>
#include <hob/sync/semaphore.hpp>

#include <cstdlib>
#include <new>

// Sanitizers replace the operators themselves, and hob's pool steps aside for them.
#if !defined(TEST_SANITIZED)

namespace {
long allocations = 0;
} // namespace

// The compiler must not look through a pair of these.
[[gnu::noinline]] void* operator new(std::size_t size) {
    ++allocations;
    if (void* const memory = std::malloc(size == 0 ? 1 : size))
        return memory;
    throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
    std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}

TEST_CASE("primitives do not allocate") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::mutex mutex;
        hob::condition_variable changed(mutex);
        hob::event event;
        hob::semaphore semaphore(1);
        hob::barrier barrier(2);
        hob::queue<int> items(4);
        hob::priority_queue<int> sorted(4);
        auto [sender, receiver] = hob::channel<int>(0);
        bool ready = false;
        const auto is_ready = [&] { return ready; };
        const auto round = [&](int who) -> hob::task<> {
            {
                const auto permit = co_await semaphore.acquire();
                co_await hob::yield();
            }
            {
                auto guard = co_await mutex.lock();
                if (who == 0) {
                    co_await changed.wait(guard, is_ready);
                } else {
                    ready = true;
                    changed.notify_one();
                }
            }
            if (who == 0)
                event.set();
            else
                co_await event.wait();
            for (int count = 0; count != 100; ++count) {
                if (who == 0) {
                    co_await items.put(count);
                    co_await sorted.put(count);
                    co_await sender.send(count);
                } else {
                    co_await items.get();
                    co_await sorted.get();
                    co_await receiver.receive();
                }
            }
            co_await barrier.arrive_and_wait();
            event.clear();
            ready = false;
        };
        const auto both = [&]() -> hob::task<> {
            const auto first = hob::create_task(round(0));
            const auto second = hob::create_task(round(1));
            co_await first;
            co_await second;
        };
        co_await both();
        const long before = allocations;
        co_await both();
        CHECK(before > 0);
        CHECK(allocations == before);
    };
    program.run(main());
}

#endif
