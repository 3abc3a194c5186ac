// SPDX-License-Identifier: MIT
// Who gets a mutex, and when.
#include "../catch.hpp"
#include "support/program.hpp"

#include <hob/sync/mutex.hpp>

#include <stdexcept>
#include <vector>

using namespace std::chrono_literals;

namespace {
/// Locks, notes its number, and lets others run before it unlocks.
hob::task<> lock_and_note(hob::mutex& mutex, std::vector<int>& order, int number) {
    const auto guard = co_await mutex.lock();
    order.push_back(number);
    co_await hob::yield();
}
} // namespace

TEST_CASE("a free mutex is locked without a turn of the loop", "[lock-mutex][done-await]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::mutex mutex;
        bool turned = false;
        hob::event_loop::current().call_soon([&] { turned = true; });
        {
            const auto guard = co_await mutex.lock();
            CHECK(guard.owns_lock());
            CHECK(mutex.is_locked());
            CHECK_FALSE(mutex.try_lock());
        }
        CHECK_FALSE(mutex.is_locked());
        CHECK(mutex.try_lock());
        CHECK_FALSE(turned);
    };
    program.run(main());
}

TEST_CASE("a mutex serves those who wait in their order", "[lock-fifo]") {
    test::program program;
    std::vector<int> order;
    auto main = [&]() -> hob::task<> {
        hob::mutex mutex;
        auto held = co_await mutex.lock();
        for (int number = 0; number != 5; ++number)
            hob::create_task(lock_and_note(mutex, order, number));
        co_await test::settle();
        CHECK(order.empty());
        held.unlock();
        co_await test::settle(20);
    };
    program.run(main());
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4});
}

TEST_CASE("an unlocked mutex is the first waiter's before that has run", "[lock-fifo]") {
    test::program program;
    std::vector<int> order;
    auto main = [&]() -> hob::task<> {
        hob::mutex mutex;
        auto held = co_await mutex.lock();
        hob::create_task(lock_and_note(mutex, order, 1));
        co_await test::settle();
        held.unlock();
        CHECK(mutex.is_locked());
        CHECK_FALSE(mutex.try_lock());
        co_await lock_and_note(mutex, order, 2);
    };
    program.run(main());
    CHECK(order == std::vector<int>{1, 2});
}

TEST_CASE("a waiter that is cancelled while the owner unlocks is passed over",
          "[lock-cancel-race]") {
    for (const bool cancel_first : {false, true}) {
        test::program program;
        std::vector<int> order;
        auto main = [&]() -> hob::task<> {
            hob::mutex mutex;
            auto held = co_await mutex.lock();
            auto first = hob::create_task(lock_and_note(mutex, order, 1));
            auto second = hob::create_task(lock_and_note(mutex, order, 2));
            co_await test::settle();
            if (cancel_first)
                first.cancel();
            held.unlock();
            if (!cancel_first)
                first.cancel();
            co_await test::settle();
            CHECK(first.cancelled());
            CHECK(second.done());
            CHECK_FALSE(mutex.is_locked());
        };
        program.run(main());
        // The unlock came first in any case: the cancellation takes effect in the loop's turn.
        CHECK(order == std::vector<int>{1, 2});
    }
}

TEST_CASE("a waiter that has left the line does not get the mutex", "[lock-cancel-race]") {
    test::program program;
    std::vector<int> order;
    auto main = [&]() -> hob::task<> {
        hob::mutex mutex;
        auto held = co_await mutex.lock();
        auto first = hob::create_task(lock_and_note(mutex, order, 1));
        auto second = hob::create_task(lock_and_note(mutex, order, 2));
        co_await test::settle();
        first.cancel();
        co_await hob::yield();
        held.unlock();
        co_await test::settle();
        CHECK(second.done());
    };
    program.run(main());
    CHECK(order == std::vector<int>{2});
}

TEST_CASE("a woken waiter that is cancelled before it runs passes the mutex on",
          "[lock-cancel-woken]") {
    test::program program;
    std::vector<int> order;
    auto main = [&]() -> hob::task<> {
        hob::mutex mutex;
        auto held = co_await mutex.lock();
        auto woken = hob::create_task(lock_and_note(mutex, order, 1));
        auto next = hob::create_task(lock_and_note(mutex, order, 2));
        co_await test::settle();
        held.unlock();
        woken.cancel();
        co_await test::settle();
        CHECK(woken.cancelled());
        CHECK(next.done());
        CHECK_FALSE(mutex.is_locked());
    };
    program.run(main());
    // It had the mutex, ran to its next suspension, and was stopped there.
    CHECK(order == std::vector<int>{1, 2});
}

TEST_CASE("a mutex whose waiters were all cancelled is locked at once", "[lock-all-cancelled]") {
    test::program program;
    std::vector<int> order;
    auto main = [&]() -> hob::task<> {
        hob::mutex mutex;
        auto held = co_await mutex.lock();
        std::vector<hob::task_handle<>> waiting;
        for (int number = 0; number != 3; ++number)
            waiting.push_back(hob::create_task(lock_and_note(mutex, order, number)));
        co_await test::settle();
        for (const auto& each : waiting)
            each.cancel();
        co_await test::settle();
        held.unlock();
        CHECK_FALSE(mutex.is_locked());
        CHECK(mutex.try_lock());
    };
    program.run(main());
    CHECK(order.empty());
}

TEST_CASE("unlocking what is not locked is an error", "[lock-misuse]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::mutex mutex;
        hob::mutex_guard guard;
        CHECK_THROWS_AS(guard.unlock(), hob::usage_error);
        guard = co_await mutex.lock();
        guard.unlock();
        CHECK_THROWS_AS(guard.unlock(), hob::usage_error);
        guard = co_await mutex.lock();
        const hob::mutex_guard other = std::move(guard);
        CHECK(other);
        CHECK_THROWS_AS(guard.unlock(), hob::usage_error);
        CHECK(mutex.is_locked());
    };
    program.run(main());
}

TEST_CASE("a guard unlocks on an exception, on a cancellation and when it is replaced",
          "[lock-misuse]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::mutex mutex;
        auto fail = [&]() -> hob::task<> {
            const auto guard = co_await mutex.lock();
            throw std::runtime_error("inside");
        };
        CHECK_THROWS_AS(co_await fail(), std::runtime_error);
        CHECK_FALSE(mutex.is_locked());

        auto stay = [&]() -> hob::task<> {
            const auto guard = co_await mutex.lock();
            co_await hob::sleep_for(1h);
        };
        auto sleeper = hob::create_task(stay());
        co_await test::settle();
        CHECK(mutex.is_locked());
        sleeper.cancel();
        co_await test::settle();
        CHECK_FALSE(mutex.is_locked());

        auto guard = co_await mutex.lock();
        guard = hob::mutex_guard();
        CHECK_FALSE(mutex.is_locked());
    };
    program.run(main());
}
