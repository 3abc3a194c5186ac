// SPDX-License-Identifier: MIT
// When a cancellation takes effect, and when it does not.
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/gather.hpp>
#include <hob/shield.hpp>
#include <hob/task_group.hpp>
#include <hob/timeout.hpp>

#include <memory>

using namespace std::chrono_literals;
using test::at_exit;
using test::counted;
using test::gate;
using strings = std::vector<std::string>;

TEST_CASE("cancel runs no user code on the caller's stack", "[cancel-async]") {
    gate never;
    test::program program(test::any_loop());
    strings log;
    auto body = [&]() -> hob::task<> {
        const at_exit note(log, "unwound");
        co_await never.wait();
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(body());
        co_await test::settle();
        CHECK(handle.cancel());
        log.push_back("cancel returned");
        CHECK_FALSE(handle.done());
        co_await test::settle();
        CHECK(handle.done());
    };
    program.run(main());
    CHECK(log == strings{"cancel returned", "unwound"});
}

TEST_CASE("cancelling a task that has ended returns false and changes nothing", "[cancel-done]") {
    gate never;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        auto returned = hob::create_task(test::value_now(5));
        auto failed = hob::create_task(test::failure_now("x"));
        auto stopped = hob::create_task(test::value_after(never, 1));
        co_await test::settle();
        stopped.cancel();
        co_await test::settle();
        for (int round = 0; round != 2; ++round) {
            CHECK_FALSE(returned.cancel());
            CHECK_FALSE(failed.cancel());
            CHECK_FALSE(stopped.cancel());
            co_await test::settle();
            CHECK(co_await returned == 5);
            CHECK_FALSE(returned.cancelled());
            CHECK_THROWS_WITH(co_await failed, "x");
            CHECK_FALSE(failed.cancelled());
            CHECK(stopped.cancelled());
        }
    };
    program.run(main());
}

TEST_CASE("a task that is cancelled before its first step never runs", "[cancel-unstarted]") {
    test::program program(test::any_loop());
    int alive = 0;
    bool ran = false;
    auto body = [&](counted) -> hob::task<> {
        ran = true;
        co_return;
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(body(counted(alive)));
        CHECK(alive == 1);
        CHECK(handle.cancel());
        CHECK(handle.cancel());
        CHECK_FALSE(handle.done());
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
        CHECK(handle.cancelled());
        CHECK(alive == 0);
    };
    program.run(main());
    CHECK_FALSE(ran);
    CHECK(program.reports.empty());
}

TEST_CASE("a cancelled scope stays cancelled: every await that would suspend stops it",
          "[cancel-level]") {
    gate never;
    gate open;
    test::program program(test::any_loop());
    open.open();
    hob::task_handle<> self;
    int reached = 0;
    std::vector<hob::task<>> bodies;
    auto prologue = [&] {
        self.cancel();
        ++reached;
    };
    auto at_yield = [&]() -> hob::task<> {
        prologue();
        co_await hob::yield();
        reached += 100;
    };
    auto at_sleep = [&]() -> hob::task<> {
        prologue();
        co_await hob::sleep_for(0s);
        reached += 100;
    };
    auto at_gate = [&]() -> hob::task<> {
        prologue();
        co_await never.wait();
        reached += 100;
    };
    auto in_child = [&]() -> hob::task<> {
        prologue();
        co_await test::value_after(never, 1);
        reached += 100;
    };
    auto in_gather = [&]() -> hob::task<> {
        prologue();
        co_await hob::gather(test::value_now(1), hob::yield());
        reached += 100;
    };
    auto in_timeout = [&]() -> hob::task<> {
        prologue();
        co_await hob::timeout(1h, hob::yield());
        reached += 100;
    };
    auto at_ring = [&]() -> hob::task<> {
        prologue();
        [[maybe_unused]] const auto results = co_await test::nop();
        reached += 100;
    };
    auto at_join = [&]() -> hob::task<> {
        prologue();
        auto child = hob::create_task(test::settle());
        co_await child;
        reached += 100;
    };
    bodies.push_back(at_yield());
    bodies.push_back(at_sleep());
    bodies.push_back(at_gate());
    bodies.push_back(in_child());
    bodies.push_back(in_gather());
    bodies.push_back(in_timeout());
    bodies.push_back(at_ring());
    bodies.push_back(at_join());
    auto main = [&]() -> hob::task<> {
        int expected = 0;
        for (hob::task<>& each : bodies) {
            self = hob::create_task(std::move(each));
            co_await test::settle(20);
            INFO("body " << expected);
            CHECK(self.cancelled());
            CHECK(reached == ++expected);
        }
    };
    program.run(main());
}

TEST_CASE("an await that completes without suspending completes in a cancelled scope",
          "[cancel-ready]") {
    gate open;
    test::program program(test::any_loop());
    open.open();
    hob::task_handle<int> self;
    auto body = [&]() -> hob::task<int> {
        auto done = hob::create_task(test::value_now(10));
        co_await done;
        self.cancel();
        int sum = co_await test::value_now(1);
        co_await open.wait();
        sum += co_await done;
        sum += co_await test::value_after(open, 100);
        const auto [left, right] =
            co_await hob::gather(test::value_now(1000), test::value_after(open, 10'000));
        sum += left + right;
        sum += co_await hob::timeout(1h, test::value_now(100'000));
        sum += *co_await hob::try_timeout(0s, test::value_now(1'000'000));
        co_return sum;
    };
    auto main = [&]() -> hob::task<> {
        self = hob::create_task(body());
        CHECK(co_await self == 1'111'111);
        CHECK_FALSE(self.cancelled());
    };
    program.run(main());
}

TEST_CASE("a task that cancels itself is stopped at its next suspension", "[cancel-self]") {
    test::program program(test::any_loop());
    hob::task_handle<> self;
    strings log;
    auto body = [&]() -> hob::task<> {
        const at_exit note(log, "unwound");
        CHECK(self.cancel());
        CHECK(self.cancel());
        log.push_back("still running");
        co_await hob::yield();
        log.push_back("never");
    };
    auto main = [&]() -> hob::task<> {
        self = hob::create_task(body());
        CHECK_THROWS_AS(co_await self, hob::cancelled_error);
    };
    program.run(main());
    CHECK(log == strings{"still running", "unwound"});
}

TEST_CASE("a task that cancels itself and returns ends with its value", "[cancel-self-return]") {
    test::program program(test::any_loop());
    hob::task_handle<int> self;
    auto body = [&](bool suspend, bool fail) -> hob::task<int> {
        if (suspend)
            co_await hob::yield();
        self.cancel();
        if (fail)
            throw std::runtime_error("x");
        co_return 8;
    };
    auto main = [&]() -> hob::task<> {
        for (const bool suspend : {false, true}) {
            self = hob::create_task(body(suspend, false));
            CHECK(co_await self == 8);
            CHECK_FALSE(self.cancelled());
            CHECK_FALSE(self.cancel());
            self = hob::create_task(body(suspend, true));
            CHECK_THROWS_WITH(co_await self, "x");
        }
    };
    program.run(main());
}

TEST_CASE("a destructor that cancels the task as it returns does not take its value",
          "[cancel-self-return]") {
    test::program program(test::any_loop());
    hob::task_handle<int> self;
    class canceller {
      public:
        explicit canceller(hob::task_handle<int>& handle) : handle_(handle) {}
        ~canceller() { handle_.cancel(); }

      private:
        hob::task_handle<int>& handle_;
    };
    auto body = [&]() -> hob::task<int> {
        const canceller last(self);
        co_await hob::yield();
        co_return 3;
    };
    // As a parameter it is destroyed with the frame, after the end.
    auto late = [](std::unique_ptr<canceller>) -> hob::task<int> {
        co_await hob::yield();
        co_return 4;
    };
    auto main = [&]() -> hob::task<> {
        self = hob::create_task(body());
        CHECK(co_await self == 3);
        self = hob::create_task(late(std::make_unique<canceller>(self)));
        CHECK(co_await self == 4);
        CHECK_FALSE(self.cancelled());
    };
    program.run(main());
}

TEST_CASE("a second cancel before the first took effect changes nothing", "[cancel-twice]") {
    gate never;
    test::program program(test::any_loop());
    int alive = 0;
    auto body = [&](counted) -> hob::task<> { co_await hob::gather(never.wait(), never.wait()); };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(body(counted(alive)));
        co_await test::settle();
        for (int count = 0; count != 5; ++count)
            CHECK(handle.cancel());
        co_await hob::yield();
        handle.cancel();
        handle.cancel();
        co_await test::settle();
        CHECK(handle.cancelled());
        CHECK(alive == 0);
        CHECK_FALSE(handle.cancel());
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("joining a task that was cancelled throws, and the joiner goes on", "[join-cancelled]") {
    gate never;
    test::program program(test::any_loop());
    int went_on = 0;
    auto joiner = [&](hob::task_handle<int> target, bool give_away) -> hob::task<> {
        try {
            if (give_away)
                co_await std::move(target);
            else
                co_await target;
        } catch (const hob::cancelled_error& error) {
            CHECK_THAT(error.what(), test::contains("the victim"));
        }
        co_await hob::yield();
        ++went_on;
    };
    auto main = [&]() -> hob::task<> {
        auto victim = hob::create_task(test::value_after(never, 1));
        victim.set_name("the victim");
        auto first = hob::create_task(joiner(victim, false));
        auto second = hob::create_task(joiner(victim, true));
        co_await test::settle();
        victim.cancel();
        co_await first;
        co_await second;
        co_await joiner(victim, false);
    };
    program.run(main());
    CHECK(went_on == 3);
    CHECK(program.reports.empty());
}

TEST_CASE("a task that was cancelled leaves its loop without a deadlock", "[cancel-done]") {
    test::program program(test::any_loop());
    hob::task_handle<int> self;
    gate never;
    auto body = [&]() -> hob::task<int> { co_return co_await test::value_after(never, 1); };
    auto main = [&]() -> hob::task<> {
        self = hob::create_task(body());
        co_await hob::yield();
        program.loop().call_soon([&] { self.cancel(); });
        CHECK_THROWS_AS(co_await self, hob::cancelled_error);
    };
    program.run(main());
}

TEST_CASE("run throws cancelled_error when its main task was cancelled", "[cancel-done]") {
    gate never;
    test::program program(test::any_loop());
    auto body = [&]() -> hob::task<int> {
        auto group_body = [&](hob::task_group& group) -> hob::task<> {
            group.start(test::value_after(never, 1));
            program.loop().call_soon([&] { program.loop().stop(); });
            co_await never.wait();
        };
        co_await hob::with_task_group(group_body);
        co_return 1;
    };
    auto canceller = [&](hob::task_handle<int> target) -> hob::task<> {
        target.cancel();
        co_return;
    };
    auto main = [&]() -> hob::task<int> {
        auto handle = hob::create_task(body());
        hob::create_task(canceller(handle));
        co_return co_await handle;
    };
    CHECK_THROWS_AS(program.run(main()), hob::cancelled_error);
}
