// SPDX-License-Identifier: MIT
// hob::finally: cleanup that awaits, whichever way its body ends.
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/current_task.hpp>
#include <hob/finally.hpp>
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

namespace {

hob::task<> note_after(strings& log, std::string text, int turns) {
    co_await test::settle(turns);
    log.push_back(std::move(text));
}
hob::task<> fail_after(const char* message, int turns) {
    co_await test::settle(turns);
    throw std::runtime_error(message);
}
std::string reported(const test::program& program) {
    return program.reports.size() == 1
               ? hob::exception_group::describe(program.reports[0].exception)
               : std::to_string(program.reports.size()) + " reports";
}

} // namespace

TEST_CASE("a cleanup runs after a value and an exception", "[cancel-finally]") {
    test::program program(test::any_loop());
    strings log;
    auto main = [&]() -> hob::task<> {
        for (const int turns : {0, 3}) {
            log.clear();
            CHECK(co_await hob::finally(test::value_now(5), note_after(log, "cleaned", turns)) ==
                  5);
            CHECK(log == strings{"cleaned"});
            CHECK_THROWS_WITH(
                co_await hob::finally(fail_after("body", turns), note_after(log, "again", turns)),
                "body");
            CHECK(log == strings{"cleaned", "again"});
            CHECK_THROWS_WITH(
                co_await hob::finally(test::value_now(5), fail_after("cleanup", turns)), "cleanup");
        }
        auto make = []() -> hob::task<std::unique_ptr<int>> { co_return std::make_unique<int>(6); };
        int target = 0;
        auto refer = [&]() -> hob::task<int&> { co_return target; };
        CHECK(*co_await hob::finally(make(), hob::yield()) == 6);
        CHECK(&co_await hob::finally(refer(), hob::yield()) == &target);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a cleanup callable is called when the body has ended", "[cancel-finally]") {
    test::program program(test::any_loop());
    strings log;
    gate open;
    auto cleanup = [&]() {
        log.push_back("called");
        return note_after(log, "cleaned", 2);
    };
    auto main = [&]() -> hob::task<> {
        program.loop().call_soon([&] {
            CHECK(log.empty());
            open.open();
        });
        co_await hob::finally(test::value_after(open, 1), cleanup);
        CHECK(log == strings{"called", "cleaned"});
    };
    program.run(main());
}

TEST_CASE("a cleanup may be a plain function, called whichever way the body ends",
          "[cancel-finally]") {
    gate never;
    test::program program(test::any_loop());
    strings log;
    auto clean = [&] { log.push_back("cleaned in " + hob::current_task().name()); };
    auto body = [&](int way) -> hob::task<> {
        auto fail = fail_after("body", 1);
        if (way == 0) {
            auto with_value = hob::finally(test::value_now(5), clean);
            const int value = co_await std::move(with_value);
            CHECK(value == 5);
        } else if (way == 1) {
            co_await hob::finally(std::move(fail), clean);
        } else {
            co_await hob::finally(never.wait(), [&log] { log.push_back("cleaned in cleaner"); });
        }
        fail.discard();
    };
    auto main = [&]() -> hob::task<> {
        for (const int way : {0, 1, 2}) {
            log.clear();
            auto handle = hob::create_task(body(way));
            handle.set_name("cleaner");
            co_await test::settle();
            if (way == 2) {
                CHECK(log.empty());
                handle.cancel();
                co_await test::settle();
                CHECK(handle.cancelled());
            }
            CHECK(handle.done());
            CHECK(log == strings{"cleaned in cleaner"});
            if (way == 1)
                CHECK(hob::exception_group::describe(handle.exception()) == "body");
        }
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("the exception of a plain function counts as that of an awaited cleanup",
          "[cancel-finally][cancel-cleanup-throws]") {
    gate never;
    test::program program(test::any_loop());
    auto clean = [] { throw std::runtime_error("cleanup"); };
    auto main = [&]() -> hob::task<> {
        auto after_value = hob::create_task(hob::finally(test::value_now(5), clean));
        auto after_failure = hob::create_task(hob::finally(fail_after("body", 1), clean));
        auto after_stop = hob::create_task(hob::finally(never.wait(), clean));
        co_await test::settle();
        CHECK(hob::exception_group::describe(after_value.exception()) == "cleanup");
        CHECK(hob::exception_group::describe(after_failure.exception()) == "body");
        CHECK(reported(program) == "cleanup");
        program.reports.clear();
        after_stop.cancel();
        co_await test::settle();
        CHECK(after_stop.cancelled());
        CHECK(reported(program) == "cleanup");
    };
    program.run(main());
    CHECK(program.reports.size() == 1);
}

TEST_CASE("a cleanup that cannot be made counts as one that failed", "[cancel-finally]") {
    test::program program(test::any_loop());
    auto cleanup = [&]() -> hob::task<> { throw std::logic_error("in the coroutine"); };
    auto broken = [&]() {
        if (program.loop().is_running())
            throw std::logic_error("before it");
        return cleanup();
    };
    auto main = [&]() -> hob::task<> {
        CHECK_THROWS_WITH(co_await hob::finally(test::value_now(1), cleanup), "in the coroutine");
        CHECK_THROWS_WITH(co_await hob::finally(test::value_now(1), broken), "before it");
    };
    program.run(main());
}

TEST_CASE("a stop runs the cleanup, which the cancellation does not reach, and goes on",
          "[cancel-finally]") {
    gate never;
    gate open;
    test::program program(test::any_loop());
    strings log;
    auto inner = [&]() -> hob::task<> {
        const at_exit note(log, "body unwound");
        co_await never.wait();
    };
    auto cleanup = [&]() -> hob::task<> {
        const at_exit note(log, "cleanup gone");
        co_await open.wait();
        co_await hob::yield();
        co_await hob::sleep_for(1us);
        log.push_back("cleaned");
    };
    auto body = [&]() -> hob::task<> {
        const at_exit note(log, "outer unwound");
        co_await hob::finally(inner(), cleanup());
        log.push_back("never");
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(body());
        co_await test::settle();
        handle.cancel();
        co_await test::settle();
        CHECK(log == strings{"body unwound"});
        CHECK(handle.cancel());
        co_await test::settle();
        CHECK_FALSE(handle.done());
        open.open();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
        CHECK(log == strings{"body unwound", "cleaned", "cleanup gone", "outer unwound"});
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("cleanups of nested scopes run from the inside out", "[cancel-finally]") {
    gate never;
    test::program program(test::any_loop());
    strings log;
    auto innermost = [&]() -> hob::task<> {
        co_await hob::finally(never.wait(), note_after(log, "1", 3));
    };
    auto middle = [&]() -> hob::task<> {
        co_await hob::finally(hob::timeout(1h, innermost()), note_after(log, "2", 0));
    };
    auto outer = [&]() -> hob::task<> { co_await hob::finally(middle(), note_after(log, "3", 1)); };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(outer());
        co_await test::settle();
        handle.cancel();
        co_await test::settle(20);
        CHECK(handle.cancelled());
    };
    program.run(main());
    CHECK(log == strings{"1", "2", "3"});
}

TEST_CASE("a finally that begins in a cancelled task still cleans up", "[cancel-finally]") {
    test::program program(test::any_loop());
    strings log;
    hob::task_handle<> self;
    auto inner = [&]() -> hob::task<> {
        log.push_back("body");
        co_await hob::yield();
        log.push_back("never");
    };
    auto body = [&]() -> hob::task<> {
        self.cancel();
        co_await hob::finally(inner(), note_after(log, "cleaned", 3));
        log.push_back("never");
    };
    auto main = [&]() -> hob::task<> {
        self = hob::create_task(body());
        co_await test::settle(20);
        CHECK(self.cancelled());
    };
    program.run(main());
    CHECK(log == strings{"body", "cleaned"});
}

TEST_CASE("a cancellation during the cleanup lets the body's value through", "[cancel-finally]") {
    test::program program(test::any_loop());
    strings log;
    auto body = [&]() -> hob::task<> {
        const int value = co_await hob::finally(test::value_now(7), note_after(log, "cleaned", 5));
        log.push_back("got " + std::to_string(value));
        co_await hob::yield();
        log.push_back("never");
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(body());
        co_await hob::yield();
        co_await hob::yield();
        handle.cancel();
        co_await test::settle(20);
        CHECK(handle.cancelled());
    };
    program.run(main());
    CHECK(log == strings{"cleaned", "got 7"});
}

TEST_CASE("an exception of a cleanup during a stop is reported once, and the stop goes on",
          "[cancel-cleanup-throws]") {
    gate never;
    test::program program(test::any_loop());
    bool passed = false;
    for (const int turns : {0, 3}) {
        program.reports.clear();
        auto body = [&]() -> hob::task<> {
            try {
                co_await hob::finally(never.wait(), fail_after("cleanup", turns));
            } catch (...) {
                passed = true;
            }
            passed = true;
        };
        auto main = [&]() -> hob::task<> {
            auto handle = hob::create_task(body());
            handle.set_name("cleaner");
            co_await test::settle();
            handle.cancel();
            CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
        };
        program.run(main());
        CHECK(reported(program) == "cleanup");
        CHECK(program.reports.at(0).task == "cleaner");
        CHECK_FALSE(passed);
    }
}

TEST_CASE("if body and cleanup fail, the body's exception goes on and the other is reported",
          "[cancel-cleanup-throws]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        CHECK_THROWS_WITH(co_await hob::finally(fail_after("body", 1), fail_after("cleanup", 1)),
                          "body");
    };
    program.run(main());
    CHECK(reported(program) == "cleanup");
}

TEST_CASE("a cleanup that cannot be called during a stop is reported, and the stop goes on",
          "[cancel-cleanup-throws]") {
    gate never;
    test::program program(test::any_loop());
    auto broken = []() -> hob::task<> { throw std::runtime_error("not made"); };
    auto function = [&]() {
        if (program.loop().is_running())
            throw std::runtime_error("not made");
        return broken();
    };
    auto body = [&]() -> hob::task<> { co_await hob::finally(never.wait(), function); };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(body());
        co_await test::settle();
        handle.cancel();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
    };
    program.run(main());
    CHECK(reported(program) == "not made");
}

TEST_CASE("a cleanup waits for its own tasks, and cancels them as it likes", "[cancel-finally]") {
    gate never;
    test::program program(test::any_loop());
    strings log;
    int alive = 0;
    auto child = [&](counted) -> hob::task<> { co_await never.wait(); };
    auto group_body = [&](hob::task_group& group) -> hob::task<> {
        group.start(child(counted(alive)));
        co_await note_after(log, "worked", 3);
        group.cancel();
    };
    auto cleanup = [&]() -> hob::task<> {
        co_await hob::with_task_group(group_body);
        log.push_back(alive == 0 ? "all gone" : "left behind");
    };
    auto body = [&]() -> hob::task<> { co_await hob::finally(never.wait(), cleanup()); };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(body());
        co_await test::settle();
        handle.cancel();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
    };
    program.run(main());
    CHECK(log == strings{"worked", "all gone"});
}

TEST_CASE("a handle given as the cleanup stays the caller's", "[cancel-finally]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const auto kept = hob::create_task(test::settle(3));
        auto handle = kept;
        co_await hob::finally(test::value_now(1), handle);
        CHECK(handle);
        CHECK(kept.done());
    };
    program.run(main());
}

TEST_CASE("the closing of the loop runs cleanups", "[cancel-finally][loop-close]") {
    strings log;
    gate never;
    auto body = [&]() -> hob::task<> {
        co_await hob::finally(never.wait(), note_after(log, "cleaned", 5));
    };
    {
        test::program program(test::any_loop());
        auto main = [&]() -> hob::task<> {
            hob::create_task(body());
            co_await test::settle();
        };
        program.run(main());
        CHECK(log.empty());
    }
    CHECK(log == strings{"cleaned"});
}

TEST_CASE("ten thousand nested cleanups run on a constant stack", "[cancel-finally]") {
    gate never;
    test::program program;
    int depth_reached = 0;
    int cleaned = 0;
    auto cleanup = [&]() -> hob::task<> {
        ++cleaned;
        co_return;
    };
    std::function<hob::task<>(int)> nest = [&](int depth) -> hob::task<> {
        depth_reached = depth;
        if (depth == 0)
            co_await never.wait();
        else
            co_await hob::finally(nest(depth - 1), cleanup());
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(nest(10'000));
        depth_reached = 1;
        while (depth_reached != 0)
            co_await hob::yield();
        co_await test::settle();
        handle.cancel();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
    };
    program.run(main());
    CHECK(cleaned == 10'000);
}
