// SPDX-License-Identifier: MIT
// Calls from other threads: each runs once, in order, on the loop's thread, and wakes it.
#include "executor/pool_support.hpp"

#include <hob/executor/run_on_threads.hpp>
#include <hob/sync/semaphore.hpp>

#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <latch>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;

/// Holds the loop open until `finish` is called on its thread.
class appointment {
  public:
    hob::task<> wait() { co_await done_.wait(); }
    void finish() { done_.open(); }

  private:
    test::gate done_;
};

} // namespace

TEST_CASE("calls from eight threads each run once, in order", "[ts-once][ts-hb]") {
    constexpr unsigned producers = 8;
    constexpr unsigned calls = 100'000;
    test::program program(test::each_ring());
    const std::thread::id here = std::this_thread::get_id();
    // Without atomics: the queue orders what is handed over.
    std::vector<unsigned> next(producers);
    unsigned ended = 0;
    bool right = true;
    appointment end;
    std::vector<std::jthread> threads;
    for (unsigned producer = 0; producer != producers; ++producer)
        threads.emplace_back([&, producer, loop = program.loop().get_handle()] {
            for (unsigned number = 0; number != calls; ++number) {
                const auto handed_over = std::make_unique<unsigned>(number);
                if (!loop.call_soon_threadsafe([&, producer, value = *handed_over] {
                        right &= next[producer]++ == value && std::this_thread::get_id() == here;
                        if (value == calls - 1 && ++ended == producers)
                            end.finish();
                    }))
                    std::terminate();
            }
        });
    program.run(end.wait());
    CHECK(right);
    CHECK(next == std::vector<unsigned>(producers, calls));
}

TEST_CASE("memory written before a call is seen by it", "[ts-hb]") {
    test::program program;
    appointment end;
    std::vector<int> plain; // only the queue's order protects it
    long sum = 0;
    std::jthread thread([&, loop = program.loop().get_handle()] {
        for (int number = 0; number != 1000; ++number)
            plain.push_back(number);
        if (!loop.call_soon_threadsafe([&] {
                for (const int each : plain)
                    sum += each;
                end.finish();
            }))
            std::terminate();
    });
    program.run(end.wait());
    CHECK(sum == 499'500);
}

TEST_CASE("no wake-up is lost between sleeping and posting", "[ts-wake]") {
    const int rounds = test::sanitized ? 10'000 : 250'000; // with each of four rings
    test::program program(test::each_ring());
    appointment end;
    std::atomic<int> answered = 0;
    std::jthread thread([&, loop = program.loop().get_handle()] {
        for (int round = 1; round <= rounds; ++round) {
            if (!loop.call_soon_threadsafe([&, round] {
                    answered.store(round);
                    answered.notify_one();
                }))
                std::terminate();
            // By then the loop is asleep, falls asleep, or has not begun to: all of it happens.
            for (int spin = 0; answered.load() != round && spin != round % 64; ++spin) {
            }
            answered.wait(round - 1);
        }
        if (!loop.call_soon_threadsafe([&] { end.finish(); }))
            std::terminate();
    });
    program.run(end.wait());
    CHECK(answered.load() == rounds);
}

TEST_CASE("loops that sleep wake each other", "[ts-wake][run-two]") {
    constexpr int rounds = 5'000;
    struct player {
        std::optional<hob::loop_handle> loop;
        hob::semaphore turn{0};
        int turns = 0;
    };
    const auto options = test::each_ring();
    std::array<player, 2> players;
    std::latch made(2);
    auto main = [&](std::size_t index) -> hob::task<> {
        player& self = players[index];
        player& other = players[1 - index];
        self.loop.emplace(hob::event_loop::current().get_handle());
        made.arrive_and_wait();
        if (index == 0)
            self.turn.release();
        for (; self.turns != rounds; ++self.turns) {
            (co_await self.turn.acquire()).detach();
            const bool accepted =
                other.loop->call_soon_threadsafe([&other] { other.turn.release(); });
            // The last one may find that the other loop has closed.
            if (!accepted && self.turns != rounds - 1)
                std::terminate();
        }
    };
    hob::run_on_threads(2, std::ref(main), options);
    CHECK(players[0].turns == rounds);
    CHECK(players[1].turns == rounds);
}

TEST_CASE("the last handle that goes leaves a deadlock behind", "[ts-wake]") {
    for (int round = 0; round != 200; ++round) {
        test::program program;
        test::gate never;
        std::jthread thread([loop = program.loop().get_handle()] {});
        const auto main = [&]() -> hob::task<> { co_await never.wait(); };
        CHECK_THROWS_AS(program.run(main()), hob::deadlock_error);
        program.runner().close();
    }
}

TEST_CASE("a closed loop refuses calls", "[ts-closed]") {
    std::optional<hob::loop_handle> loop;
    {
        test::program program(test::each_ring());
        loop.emplace(program.loop().get_handle());
        const auto main = []() -> hob::task<> { co_return; };
        program.run(main());
        program.runner().close();
        CHECK_FALSE(loop->call_soon_threadsafe([] { FAIL("ran on a closed loop"); }));
    }
    // Whatever descriptors are free now, a late call writes to none of them.
    std::vector<int> events;
    for (int count = 0; count != 16; ++count)
        events.push_back(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    std::vector<std::jthread> threads;
    std::atomic<int> accepted = 0;
    for (int count = 0; count != 4; ++count)
        threads.emplace_back([&, mine = *loop] {
            for (int call = 0; call != 1000; ++call)
                accepted += mine.call_soon_threadsafe([] {});
        });
    threads.clear();
    CHECK(accepted == 0);
    for (const int each : events) {
        std::uint64_t value = 0;
        CHECK(::read(each, &value, sizeof value) < 0);
        ::close(each);
    }
}

TEST_CASE("calls that race with the closing of the loop", "[ts-closed][ts-dtor]") {
    const auto options = test::each_ring();
    for (int round = 0; round != 200; ++round) {
        std::atomic<int> died_here = 0;
        std::atomic<int> died_elsewhere = 0;
        std::atomic<int> accepted = 0;
        const auto bury = [&, here = std::this_thread::get_id()](int*) {
            ++(std::this_thread::get_id() == here ? died_here : died_elsewhere);
        };
        int body = 0;
        std::jthread thread;
        {
            test::program program(options);
            thread = std::jthread([&, loop = program.loop().get_handle()] {
                for (;;) {
                    std::unique_ptr<int, decltype(bury)> witness(&body, bury);
                    if (!loop.call_soon_threadsafe([kept = std::move(witness)] {}))
                        return;
                    ++accepted;
                }
            });
            while (accepted == 0)
                std::this_thread::yield();
            const auto main = []() -> hob::task<> { co_await hob::yield(); };
            program.run(main());
        }
        thread.join();
        CHECK(died_here == accepted);
        CHECK(died_elsewhere == 1); // the one that was refused
    }
}

TEST_CASE("a flood of calls starves neither timers nor the kernel", "[ts-starve]") {
    test::program program(test::each_ring());
    std::atomic<bool> over = false;
    std::jthread thread([&, loop = program.loop().get_handle()] {
        while (!over)
            if (!loop.call_soon_threadsafe([] {}))
                std::terminate();
    });
    const auto main = [&]() -> hob::task<> {
        for (int round = 0; round != 20; ++round) {
            co_await hob::sleep_for(1ms);
            const int result = co_await test::nop();
            CHECK(result == 0);
        }
        over = true;
    };
    program.run(main());
    SUCCEED("both came to an end");
}
