// SPDX-License-Identifier: MIT
// Tasks and handles in unusual hands, and parameters on every way out.
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/gather.hpp>
#include <hob/race.hpp>

#include <memory>
#include <optional>

using namespace std::chrono_literals;
using test::counted;
using test::gate;
using test::keep_parameter;

TEST_CASE("a task is awaited once", "[value]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        auto once = test::value_now(1);
        CHECK(co_await std::move(once) == 1);
        CHECK_FALSE(once);
        CHECK_THROWS_AS(co_await std::move(once), hob::usage_error);
        CHECK_THROWS_AS(hob::create_task(std::move(once)), hob::usage_error);
        CHECK_THROWS_AS(co_await hob::gather(test::value_now(2), std::move(once)),
                        hob::usage_error);
        hob::task<int> empty(nullptr);
        CHECK_THROWS_AS(co_await std::move(empty), hob::usage_error);
    };
    program.run(main());
}

TEST_CASE("a task that somebody awaits cannot be awaited, moved or started by another", "[value]") {
    gate open;
    test::program program(test::any_loop());
    int runs = 0;
    auto body = [&]() -> hob::task<> {
        ++runs;
        co_await open.wait();
    };
    std::optional<hob::task<>> shared = body();
    auto waiter = [&]() -> hob::task<> { co_await std::move(*shared); };
    auto main = [&]() -> hob::task<> {
        auto first = hob::create_task(waiter());
        co_await test::settle();
        CHECK(runs == 1);
        CHECK_THROWS_AS(co_await std::move(*shared), hob::usage_error);
        CHECK_THROWS_AS(hob::create_task(std::move(*shared)), hob::usage_error);
        co_await test::settle();
        open.open();
        co_await first;
    };
    program.run(main());
    CHECK(runs == 1);
}

TEST_CASE("a task object outside of the frames survives a stop of its await", "[value]") {
    gate never;
    test::program program(test::any_loop());
    int alive = 0;
    auto body = [&](counted) -> hob::task<> { co_await never.wait(); };
    auto heap = std::make_unique<hob::task<>>(body(counted(alive)));
    auto waiter = [&]() -> hob::task<> { co_await std::move(*heap); };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(waiter());
        co_await test::settle();
        CHECK(alive == 1);
        handle.cancel();
        co_await test::settle();
        CHECK(handle.cancelled());
        CHECK(alive == 0);
        CHECK_THROWS_AS(co_await std::move(*heap), hob::usage_error);
        heap.reset();
        CHECK(alive == 0);
    };
    program.run(main());
}

TEST_CASE("create_task without a loop is refused, and destroys the task", "[never-awaited]") {
    int alive = 0;
    CHECK_THROWS_AS(hob::create_task(keep_parameter(counted(alive), 1)),
                    hob::no_running_loop_error);
    CHECK(alive == 0);
}

TEST_CASE("a run inside a run is refused, and its task does not run", "[loop-nested]") {
    test::program outer(test::any_loop());
    test::program other;
    int alive = 0;
    bool ran = false;
    auto inner = [&](counted) -> hob::task<> {
        ran = true;
        co_return;
    };
    auto main = [&]() -> hob::task<> {
        CHECK_THROWS_AS(outer.run(inner(counted(alive))), hob::usage_error);
        CHECK(alive == 0);
        CHECK_THROWS_AS(other.run(inner(counted(alive))), hob::usage_error);
        CHECK(alive == 0);
        co_await test::settle();
        CHECK_FALSE(ran);
    };
    outer.run(main());
    other.run(test::settle());
    CHECK_FALSE(ran);
    CHECK(alive == 0);
}

TEST_CASE("an empty handle is refused where it is awaited", "[done-await]") {
    test::program program;
    auto main = [&]() -> hob::task<> {
        hob::task_handle<int> empty;
        CHECK_FALSE(empty);
        CHECK_THROWS_AS(co_await empty, hob::usage_error);
        auto handle = hob::create_task(test::value_now(1));
        CHECK(co_await std::move(handle) == 1);
        CHECK_THROWS_AS(co_await std::move(handle), hob::usage_error);
    };
    program.run(main());
}

TEST_CASE("a handle outlives its loop", "[strong-ref]") {
    gate never;
    hob::task_handle<int> stopped;
    hob::task_handle<int> returned;
    {
        test::program program(test::any_loop());
        auto main = [&]() -> hob::task<> {
            stopped = hob::create_task(test::value_after(never, 1));
            stopped.set_name("a name that does not fit into the short string optimisation");
            returned = hob::create_task(test::value_now(2));
            co_await test::settle();
        };
        program.run(main());
    }
    CHECK(stopped.done());
    CHECK(stopped.cancelled());
    CHECK_FALSE(stopped.cancel());
    CHECK(stopped.name() == "a name that does not fit into the short string optimisation");
    CHECK(returned.done());
    CHECK_FALSE(returned.cancelled());
    CHECK_FALSE(returned.cancel());
    // Another loop may look at what has ended.
    test::program second;
    auto look = [&]() -> hob::task<> {
        CHECK(co_await returned == 2);
        CHECK_THROWS_AS(co_await stopped, hob::cancelled_error);
    };
    second.run(look());
}

TEST_CASE("parameters are destroyed once on every way out", "[never-awaited][cancel-unstarted]") {
    int alive = 0;
    gate open;
    gate never;
    auto body = [](counted, gate& when, bool fails) -> hob::task<> {
        co_await when.wait();
        if (fails)
            throw std::runtime_error("x");
    };
    {
        test::program program(test::any_loop());
        auto main = [&]() -> hob::task<> {
            auto returned = hob::create_task(body(counted(alive), open, false));
            auto failed = hob::create_task(body(counted(alive), open, true));
            auto stopped = hob::create_task(body(counted(alive), never, false));
            auto unstarted = hob::create_task(body(counted(alive), open, false));
            unstarted.cancel();
            auto closed = hob::create_task(body(counted(alive), never, false));
            CHECK(alive == 5);
            co_await test::settle();
            CHECK(alive == 4);
            stopped.cancel();
            co_await test::settle();
            CHECK(alive == 3);
            open.open();
            co_await returned;
            CHECK_THROWS(co_await failed);
            CHECK(alive == 1);
            {
                const auto never_awaited = body(counted(alive), open, false);
            }
            CHECK(alive == 1);
            CHECK_FALSE(closed.done());
        };
        program.run(main());
    }
    CHECK(alive == 0);
}

TEST_CASE("a handle may be dropped by what its task's end wakes", "[destroy-in-cb]") {
    gate open;
    test::program program(test::any_loop());
    auto holder = std::make_unique<hob::task_handle<int>>();
    auto other = std::make_unique<hob::task_handle<>>();
    auto waiter = [&]() -> hob::task<> {
        co_await *holder;
        holder.reset();
        other.reset(); // its own handle
        co_await hob::yield();
    };
    auto main = [&]() -> hob::task<> {
        *holder = hob::create_task(test::value_after(open, 1));
        *other = hob::create_task(waiter());
        co_await test::settle();
        open.open();
        co_await test::settle();
        CHECK_FALSE(holder);
        CHECK_FALSE(other);
    };
    program.run(main());
}

TEST_CASE("a task may drop its own last handle while it runs and while it ends",
          "[destroy-in-cb]") {
    test::program program(test::any_loop());
    hob::task_handle<> self;
    class dropper {
      public:
        explicit dropper(hob::task_handle<>& handle) : handle_(handle) {}
        ~dropper() { handle_ = hob::task_handle<>(); }

      private:
        hob::task_handle<>& handle_;
    };
    int alive = 0;
    auto while_running = [&](counted) -> hob::task<> {
        self = hob::task_handle<>();
        co_await hob::yield();
    };
    auto while_ending = [&](counted) -> hob::task<> {
        const dropper last(self);
        co_await hob::yield();
    };
    auto while_stopping = [&](counted) -> hob::task<> {
        const dropper last(self);
        self.cancel();
        co_await hob::yield();
    };
    auto main = [&]() -> hob::task<> {
        self = hob::create_task(while_running(counted(alive)));
        co_await test::settle();
        self = hob::create_task(while_ending(counted(alive)));
        co_await test::settle();
        self = hob::create_task(while_stopping(counted(alive)));
        co_await test::settle();
        CHECK_FALSE(self);
    };
    program.run(main());
    CHECK(alive == 0);
}

TEST_CASE("a callback may drop its own handle", "[destroy-in-cb]") {
    test::program program(test::any_loop());
    int alive = 0;
    int runs = 0;
    auto soon = std::make_unique<hob::call_handle>();
    auto later = std::make_unique<hob::call_handle>();
    auto main = [&]() -> hob::task<> {
        const counted token(alive);
        *soon = program.loop().call_soon([&, token] {
            soon.reset();
            ++runs;
        });
        *later = program.loop().call_later(1ms, [&, token] {
            later->cancel();
            later.reset();
            ++runs;
        });
        co_await hob::sleep_for(2ms);
        CHECK(alive == 1);
    };
    program.run(main());
    CHECK(runs == 2);
    CHECK(alive == 0);
}

TEST_CASE("in debug mode a race reports no task that it had no need to start", "[never-awaited]") {
    test::program program;
    program.loop().set_debug(true);
    auto main = [&]() -> hob::task<> {
        co_await hob::race(test::value_now(1), test::settle(), test::value_now(2));
    };
    program.run(main());
    CHECK(program.reports.empty());
}
