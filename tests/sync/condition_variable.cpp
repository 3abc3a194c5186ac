// SPDX-License-Identifier: MIT
// Condition variables: the mutex is locked whichever way a wait ends, and no notify is lost.
#include "../catch.hpp"
#include "support/program.hpp"

#include <hob/sync/condition_variable.hpp>
#include <hob/timeout.hpp>
#include <hob/wait.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

class shared_state {
  public:
    hob::mutex mutex;
    hob::condition_variable changed{mutex};
    std::vector<std::string> log;
};

/// Tells in the log how the wait ended, and whether the mutex was locked then.
class exit_note {
  public:
    exit_note(shared_state& state, std::string name) : state_(state), name_(std::move(name)) {}
    ~exit_note() {
        state_.log.push_back(name_ + (returned ? " returned " : " stopped ") +
                             (state_.mutex.is_locked() ? "locked" : "unlocked"));
    }
    exit_note(const exit_note&) = delete;
    exit_note& operator=(const exit_note&) = delete;
    bool returned = false;

  private:
    shared_state& state_;
    std::string name_;
};

hob::task<> wait_once(shared_state& state, std::string name) {
    auto guard = co_await state.mutex.lock();
    exit_note note(state, std::move(name));
    co_await state.changed.wait(guard);
    note.returned = true;
}

hob::task<> notify_one(shared_state& state) {
    const auto guard = co_await state.mutex.lock();
    state.changed.notify_one();
}

using texts = std::vector<std::string>;

} // namespace

TEST_CASE("a notify wakes the first waiter, and notify_all wakes all, each with the mutex",
          "[cond-reacquire]") {
    test::program program;
    shared_state state;
    auto main = [&]() -> hob::task<> {
        for (const char* name : {"a", "b", "c"})
            hob::create_task(wait_once(state, name));
        co_await test::settle();
        CHECK_FALSE(state.mutex.is_locked());
        co_await notify_one(state);
        co_await test::settle();
        CHECK(state.log == texts{"a returned locked"});
        {
            const auto guard = co_await state.mutex.lock();
            state.changed.notify_all();
            co_await test::settle();
            CHECK(state.log.size() == 1);
        }
        co_await test::settle();
        CHECK(state.log == texts{"a returned locked", "b returned locked", "c returned locked"});
        CHECK_FALSE(state.mutex.is_locked());
    };
    program.run(main());
}

TEST_CASE("a cancelled waiter locks the mutex before it is stopped", "[cond-reacquire]") {
    test::program program;
    shared_state state;
    auto main = [&]() -> hob::task<> {
        auto waiting = hob::create_task(wait_once(state, "a"));
        co_await test::settle();
        auto held = co_await state.mutex.lock();
        waiting.cancel();
        co_await test::settle();
        CHECK_FALSE(waiting.done());
        held.unlock();
        co_await test::settle();
        CHECK(waiting.cancelled());
        CHECK(state.log == texts{"a stopped locked"});
        CHECK_FALSE(state.mutex.is_locked());

        auto other = hob::create_task(wait_once(state, "b"));
        co_await test::settle();
        other.cancel();
        co_await test::settle();
        CHECK(state.log.back() == "b stopped locked");
        CHECK_FALSE(state.mutex.is_locked());
    };
    program.run(main());
}

TEST_CASE("a waiter that is cancelled while it waits for the mutex again is stopped with it",
          "[cond-reacquire]") {
    test::program program;
    shared_state state;
    auto main = [&]() -> hob::task<> {
        auto waiting = hob::create_task(wait_once(state, "a"));
        co_await test::settle();
        auto held = co_await state.mutex.lock();
        state.changed.notify_one();
        co_await test::settle();
        waiting.cancel();
        co_await test::settle();
        CHECK(state.log.empty());
        held.unlock();
        co_await test::settle();
        CHECK(state.log == texts{"a stopped locked"});
        CHECK_FALSE(state.mutex.is_locked());
    };
    program.run(main());
}

TEST_CASE("a waiter that has the mutex again returns, and is stopped at its next suspension",
          "[cond-reacquire][completion-wins]") {
    test::program program;
    shared_state state;
    auto main = [&]() -> hob::task<> {
        auto waiting = hob::create_task(wait_once(state, "a"));
        co_await test::settle();
        {
            const auto held = co_await state.mutex.lock();
            state.changed.notify_one();
        }
        waiting.cancel();
        co_await test::settle();
        CHECK(state.log == texts{"a returned locked"});
        CHECK_FALSE(state.mutex.is_locked());
    };
    program.run(main());
}

TEST_CASE("a time limit around a wait expires with the mutex locked", "[cond-reacquire]") {
    test::program program;
    shared_state state;
    auto main = [&]() -> hob::task<> {
        auto guard = co_await state.mutex.lock();
        CHECK_THROWS_AS(co_await hob::timeout(std::chrono::seconds(0), state.changed.wait(guard)),
                        hob::timeout_error);
        CHECK(state.mutex.is_locked());
        CHECK_THROWS_AS(
            co_await hob::timeout(std::chrono::nanoseconds(1), state.changed.wait(guard)),
            hob::timeout_error);
        CHECK(state.mutex.is_locked());
        guard.unlock();
    };
    program.run(main());
}

TEST_CASE("a notify given to a cancelled waiter goes to another one", "[cond-notify-lost]") {
    // The cancellation comes before the notify, in the same turn, or once the waiter was notified.
    for (const int turns : {-1, 0, 5}) {
        test::program program;
        shared_state state;
        auto main = [&]() -> hob::task<> {
            auto cancelled = hob::create_task(wait_once(state, "a"));
            auto other = hob::create_task(wait_once(state, "b"));
            co_await test::settle();
            {
                const auto held = co_await state.mutex.lock();
                if (turns < 0)
                    cancelled.cancel();
                state.changed.notify_one();
                co_await test::settle(turns < 0 ? 0 : turns);
                if (turns >= 0)
                    cancelled.cancel();
                co_await test::settle();
            }
            co_await other;
            CHECK(cancelled.cancelled());
            CHECK(state.log == texts{"a stopped locked", "b returned locked"});
        };
        program.run(main());
    }
}

TEST_CASE("a wait for a predicate asks it at once and after each notify", "[cond-pred]") {
    test::program program;
    shared_state state;
    auto main = [&]() -> hob::task<> {
        int value = 0;
        int asked = 0;
        const auto is_two = [&] {
            CHECK(state.mutex.is_locked());
            ++asked;
            return value == 2;
        };
        auto wait = [&]() -> hob::task<> {
            auto guard = co_await state.mutex.lock();
            co_await state.changed.wait(guard, is_two);
            CHECK(value == 2);
        };
        auto waiting = hob::create_task(wait());
        co_await test::settle();
        CHECK(asked == 1);
        for (value = 1; value != 3; ++value) {
            co_await notify_one(state);
            co_await test::settle();
            CHECK(asked == value + 1);
            if (value == 2)
                break;
            CHECK_FALSE(waiting.done());
        }
        co_await waiting;
        bool turned = false;
        hob::event_loop::current().call_soon([&] { turned = true; });
        co_await wait();
        CHECK_FALSE(turned);
    };
    program.run(main());
}

TEST_CASE("an exception of a predicate leaves the wait with the mutex locked", "[cond-pred]") {
    test::program program;
    shared_state state;
    auto main = [&]() -> hob::task<> {
        auto guard = co_await state.mutex.lock();
        const auto fail = []() -> bool { throw std::runtime_error("no idea"); };
        CHECK_THROWS_AS(co_await state.changed.wait(guard, fail), std::runtime_error);
        CHECK(state.mutex.is_locked());
    };
    program.run(main());
}

TEST_CASE("waiting and notifying without the mutex is an error", "[cond-pred]") {
    test::program program;
    shared_state state;
    hob::mutex unrelated;
    auto main = [&]() -> hob::task<> {
        CHECK_THROWS_AS(state.changed.notify_one(), hob::usage_error);
        CHECK_THROWS_AS(state.changed.notify_all(), hob::usage_error);
        hob::mutex_guard none;
        CHECK_THROWS_AS(co_await state.changed.wait(none), hob::usage_error);
        auto wrong = co_await unrelated.lock();
        CHECK_THROWS_AS(co_await state.changed.wait(wrong), hob::usage_error);
        const auto always = [] { return true; };
        CHECK_THROWS_AS(co_await state.changed.wait(wrong, always), hob::usage_error);
    };
    program.run(main());
}

TEST_CASE("a condition variable may go when nobody waits for its notifies any more",
          "[cond-reacquire]") {
    test::program program;
    hob::mutex mutex;
    auto condition = std::make_unique<hob::condition_variable>(mutex);
    int went_on = 0;
    auto wait = [&]() -> hob::task<> {
        auto guard = co_await mutex.lock();
        co_await condition->wait(guard);
        ++went_on;
    };
    auto main = [&]() -> hob::task<> {
        const auto cancelled = hob::create_task(wait());
        const auto notified = hob::create_task(wait());
        co_await test::settle();
        {
            const auto guard = co_await mutex.lock();
            condition->notify_all();
            condition.reset();
            co_await test::settle();
            CHECK_THAT(hob::event_loop::current().dump(),
                       test::contains("mutex of a condition variable (2 waiting)"));
            cancelled.cancel();
            co_await test::settle();
        }
        const std::vector<hob::task_handle<>> both{cancelled, notified};
        co_await hob::wait(both);
        CHECK(cancelled.cancelled());
        CHECK(went_on == 1);
        CHECK_FALSE(mutex.is_locked());
    };
    program.run(main());
}
