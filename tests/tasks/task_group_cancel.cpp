// SPDX-License-Identifier: MIT
// Task groups that are cancelled, from outside or by `task_group::cancel`.
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/finally.hpp>
#include <hob/shield.hpp>
#include <hob/task_group.hpp>
#include <hob/timeout.hpp>

using namespace std::chrono_literals;
using strings = std::vector<std::string>;
using test::gate;

TEST_CASE("a group that is cancelled from outside awaits its children, then its caller is stopped",
          "[tg-ext-cancel]") {
    test::program program(test::any_loop());
    gate never;
    gate cleanup_gate;
    strings log;
    auto child = [&](std::string name) -> hob::task<> {
        const test::at_exit note(log, name + " unwound");
        co_await never.wait();
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        group.start(child("a"));
        group.start(child("b"));
        co_await hob::finally(child("body"), cleanup_gate.wait());
    };
    auto outer = [&]() -> hob::task<> {
        const test::at_exit note(log, "caller unwound");
        co_await hob::with_task_group(body);
        log.push_back("never");
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(outer());
        co_await test::settle();
        handle.cancel();
        co_await test::settle();
        CHECK(log.size() == 3);
        CHECK_FALSE(handle.done());
        cleanup_gate.open();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
        REQUIRE(log.size() == 4);
        CHECK(log.back() == "caller unwound");
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a caller is stopped at its group if a child was, although the body had ended",
          "[tg-ext-cancel]") {
    test::program program(test::any_loop());
    gate never;
    bool passed = false;
    auto child = [&]() -> hob::task<> { co_await never.wait(); };
    auto returning = [&](hob::task_group& group) -> hob::task<> {
        group.start(child());
        co_return;
    };
    auto outer = [&]() -> hob::task<> {
        co_await hob::with_task_group(returning);
        // The child was interrupted: what follows it must not run.
        passed = true;
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(outer());
        co_await test::settle();
        handle.cancel();
        co_await test::settle();
        CHECK(handle.done());
        CHECK(handle.cancelled());
        CHECK_FALSE(passed);
    };
    program.run(main());
}

TEST_CASE("a group whose tasks had all ended when it was cancelled gives its value",
          "[tg-ext-cancel]") {
    test::program program(test::any_loop());
    gate open;
    int value = 0;
    bool passed = false;
    auto child = [&]() -> hob::task<> { co_await open.wait(); };
    auto body = [&](hob::task_group& group) -> hob::task<int> {
        group.start(child());
        co_return co_await test::value_after(open, 5);
    };
    auto outer = [&]() -> hob::task<> {
        value = co_await hob::with_task_group(body);
        co_await hob::yield();
        passed = true;
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(outer());
        co_await test::settle();
        open.open();
        handle.cancel();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
        CHECK(value == 5);
        CHECK_FALSE(passed);
    };
    program.run(main());
}

TEST_CASE("errors of children of a cancelled group are reported once, and its caller is stopped",
          "[tg-ext-cancel-err]") {
    test::program program(test::any_loop());
    gate never;
    gate slow;
    bool passed = false;
    auto stubborn = [&](const char* message) -> hob::task<> {
        co_await hob::shield(slow.wait());
        throw std::runtime_error(message);
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        group.start(stubborn("one"));
        group.start(stubborn("two"));
        co_await never.wait();
    };
    auto outer = [&]() -> hob::task<> {
        try {
            co_await hob::with_task_group(body);
            passed = true;
        } catch (...) {
            passed = true;
        }
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(outer());
        co_await test::settle();
        handle.cancel();
        co_await test::settle();
        CHECK_FALSE(handle.done());
        slow.open();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
    };
    program.run(main());
    CHECK_FALSE(passed);
    REQUIRE(program.reports.size() == 2);
    CHECK(hob::exception_group::describe(program.reports[0].exception) == "one");
    CHECK(hob::exception_group::describe(program.reports[1].exception) == "two");
}

TEST_CASE("a group that is cancelled from outside in the turn of a child's failure",
          "[tg-ext-cancel-err]") {
    test::program program(test::any_loop());
    gate never;
    gate failing;
    const bool cancel_first = GENERATE(true, false);
    bool passed = false;
    auto body = [&](hob::task_group& group) -> hob::task<> {
        group.start(test::failure_after(failing, "boom"));
        co_await never.wait();
    };
    auto outer = [&]() -> hob::task<> {
        try {
            co_await hob::with_task_group(body);
        } catch (...) {
        }
        passed = true;
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(outer());
        co_await test::settle();
        if (cancel_first)
            handle.cancel();
        failing.open();
        if (!cancel_first)
            handle.cancel();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
    };
    program.run(main());
    CHECK_FALSE(passed);
    REQUIRE(program.reports.size() == 1);
    CHECK(hob::exception_group::describe(program.reports[0].exception) == "boom");
}

TEST_CASE("a child that is started in a group that is being cancelled is born cancelled",
          "[tg-create-in-abort]") {
    test::program program(test::any_loop());
    gate never;
    strings log;
    auto newborn = [&]() -> hob::task<> {
        const test::at_exit note(log, "newborn stopped");
        log.push_back("newborn started");
        co_await hob::yield();
        log.push_back("never");
    };
    const bool from_outside = GENERATE(true, false);
    hob::task_group* found = nullptr;
    auto body = [&](hob::task_group& group) -> hob::task<> {
        found = &group;
        auto cleanup = [&]() -> hob::task<> {
            group.start(newborn());
            auto handle = group.create_task(newborn());
            co_await test::settle();
            CHECK(handle.cancelled());
        };
        co_await hob::finally(never.wait(), cleanup());
    };
    auto outer = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(outer());
        co_await test::settle();
        if (from_outside)
            handle.cancel();
        else
            found->cancel();
        co_await test::settle(30);
        CHECK(handle.done());
        CHECK(handle.cancelled() == from_outside);
    };
    program.run(main());
    CHECK(log ==
          strings{"newborn started", "newborn started", "newborn stopped", "newborn stopped"});
}

TEST_CASE("task_group::cancel ends the group without an error", "[tg-cancel-one]") {
    test::program program(test::any_loop());
    gate never;
    int alive = 0;
    auto child = [&]() -> hob::task<> {
        const test::counted self(alive);
        co_await never.wait();
    };
    SECTION("from a child") {
        auto body = [&](hob::task_group& group) -> hob::task<> {
            auto canceller = [](hob::task_group& owner) -> hob::task<> {
                co_await test::settle();
                owner.cancel();
                owner.cancel();
                // The canceller itself is stopped at its next suspension.
                co_await hob::yield();
                FAIL("not stopped");
            };
            group.start(child());
            group.start(canceller(group));
            co_await child();
        };
        auto main = [&]() -> hob::task<> {
            co_await hob::with_task_group(body);
            CHECK(alive == 0);
            co_await hob::yield();
        };
        program.run(main());
    }
    SECTION("from the body, which then returns") {
        auto body = [&](hob::task_group& group) -> hob::task<int> {
            group.start(child());
            co_await test::settle();
            group.cancel();
            co_return 4;
        };
        auto main = [&]() -> hob::task<> {
            const int value = co_await hob::with_task_group(body);
            CHECK(value == 4);
            CHECK(alive == 0);
        };
        program.run(main());
    }
    SECTION("a body that owes a value") {
        auto body = [&](hob::task_group& group) -> hob::task<int> {
            group.cancel();
            co_await hob::yield();
            co_return 4;
        };
        auto main = [&]() -> hob::task<> {
            CHECK_THROWS_AS(co_await hob::with_task_group(body), hob::cancelled_error);
        };
        program.run(main());
    }
    SECTION("children that have not started never do") {
        bool started = false;
        auto marking = [&]() -> hob::task<> {
            started = true;
            co_return;
        };
        auto body = [&](hob::task_group& group) -> hob::task<> {
            group.start(marking());
            group.cancel();
            co_return;
        };
        auto main = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
        program.run(main());
        CHECK_FALSE(started);
    }
    CHECK(alive == 0);
    CHECK(program.reports.empty());
}

TEST_CASE("a child that joins one which never started is cancelled with it, and no error",
          "[tg-cancel-one]") {
    test::program program(test::any_loop());
    gate open;
    auto stop = [&](hob::task_group& group) -> hob::task<> {
        co_await open.wait();
        co_await hob::yield();
        group.cancel();
    };
    auto ask = [&](hob::task_group& group) -> hob::task<> {
        co_await open.wait();
        const auto helper = group.create_task(test::nap(1h));
        co_await helper;
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        group.start(stop(group));
        group.start(ask(group));
        co_await test::settle();
        open.open();
        co_await hob::sleep_for(1h);
    };
    auto main = [&]() -> hob::task<> {
        auto group = hob::with_task_group(body);
        co_await std::move(group);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a body that shields when its group is cancelled finishes what it shields",
          "[tg-cancel-one]") {
    test::program program(test::any_loop());
    gate open;
    gate never;
    strings log;
    auto body = [&](hob::task_group& group) -> hob::task<> {
        group.cancel();
        co_await hob::shield(open.wait());
        log.push_back("shielded");
        co_await never.wait();
        log.push_back("never");
    };
    auto main = [&]() -> hob::task<> {
        hob::event_loop::current().call_soon([&] { open.open(); });
        co_await hob::with_task_group(body);
        log.push_back("after");
    };
    program.run(main());
    CHECK(log == strings{"shielded", "after"});
}

TEST_CASE("a group that is cancelled in the turn of a child's failure throws the failure",
          "[tg-aggregate]") {
    test::program program(test::any_loop());
    gate never;
    gate failing;
    const bool cancel_first = GENERATE(true, false);
    auto body = [&](hob::task_group& group) -> hob::task<> {
        group.start(test::failure_after(failing, "boom"));
        co_await test::settle();
        if (cancel_first)
            group.cancel();
        failing.open();
        group.cancel();
        co_await never.wait();
    };
    auto main = [&]() -> hob::task<> {
        strings found;
        try {
            co_await hob::with_task_group(body);
        } catch (const hob::exception_group& group) {
            found = test::messages(group);
        }
        CHECK(found == strings{"boom"});
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a body that cancels its group before it is a coroutine is itself cancelled",
          "[tg-create-in-abort]") {
    test::program program(test::any_loop());
    gate never;
    bool passed = false;
    auto waiting = [&]() -> hob::task<> {
        co_await hob::yield();
        passed = true;
    };
    auto body = [&](hob::task_group& group) {
        group.cancel();
        return waiting();
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    program.run(main());
    CHECK_FALSE(passed);
}

TEST_CASE("a group in a cancelled scope runs its body to the first suspension",
          "[tg-create-in-abort]") {
    test::program program(test::any_loop());
    hob::task_handle<> self;
    strings log;
    auto child = [&]() -> hob::task<> {
        log.push_back("child started");
        co_await hob::yield();
        log.push_back("never");
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        group.start(child());
        log.push_back("body started");
        co_await hob::yield();
        log.push_back("never");
    };
    auto outer = [&]() -> hob::task<> {
        self.cancel();
        co_await hob::with_task_group(body);
        log.push_back("never");
    };
    auto main = [&]() -> hob::task<> {
        self = hob::create_task(outer());
        CHECK_THROWS_AS(co_await self, hob::cancelled_error);
    };
    program.run(main());
    CHECK(log == strings{"body started", "child started"});
}

TEST_CASE("cancelling an outer group stops the children of a thousand nested ones",
          "[tg-ext-cancel]") {
    test::program program(test::any_loop());
    gate never;
    int alive = 0;
    auto level = [&](auto& self, int depth) -> hob::task<> {
        const test::counted here(alive);
        if (depth == 0) {
            co_await never.wait();
            co_return;
        }
        auto body = [&](hob::task_group& group) -> hob::task<> {
            group.start(self(self, depth - 1));
            co_await never.wait();
        };
        co_await hob::with_task_group(body);
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        group.start(level(level, 1000));
        co_await test::settle(2010);
        CHECK(alive == 1001);
        group.cancel();
    };
    auto main = [&]() -> hob::task<> {
        co_await hob::with_task_group(body);
        CHECK(alive == 0);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("children that start siblings while being cancelled do not keep the group alive",
          "[tg-hydra]") {
    test::program program(test::any_loop());
    gate never;
    int generations = 0;
    // A child that is born cancelled may start another one before it is stopped, for a while.
    auto head = [&](auto& self, hob::task_group& group, int more) -> hob::task<> {
        ++generations;
        if (more != 0)
            group.start(self(self, group, more - 1));
        co_await never.wait();
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        group.cancel();
        group.start(head(head, group, 10'000));
        co_return;
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    program.run(main());
    CHECK(generations == 10'001);
}
