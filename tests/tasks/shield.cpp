// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/finally.hpp>
#include <hob/gather.hpp>
#include <hob/shield.hpp>
#include <hob/task_group.hpp>
#include <hob/timeout.hpp>

#include <memory>

using namespace std::chrono_literals;
using test::gate;

TEST_CASE("a shield passes values, references and exceptions", "[shield-pass]") {
    test::program program(test::any_loop());
    int target = 0;
    gate open;
    auto refer = [&]() -> hob::task<int&> { co_return target; };
    auto make = [&]() -> hob::task<std::unique_ptr<int>> {
        co_await open.wait();
        co_return std::make_unique<int>(8);
    };
    auto main = [&]() -> hob::task<> {
        hob::event_loop::current().call_soon([&] { open.open(); });
        const auto pointer = co_await hob::shield(make());
        CHECK(*pointer == 8);
        int& reference = co_await hob::shield(refer());
        CHECK(&reference == &target);
        co_await hob::shield(hob::yield());
        CHECK_THROWS_WITH(co_await hob::shield(test::failure_now("now")), "now");
        CHECK_THROWS_WITH(co_await hob::shield(test::failure_after(open, "later")), "later");
    };
    program.run(main());
}

TEST_CASE("cancelling a task lets what it shields run to its end first", "[shield-outer]") {
    test::program program(test::any_loop());
    gate open;
    std::vector<std::string> log;
    auto inner = [&]() -> hob::task<int> {
        const test::at_exit note(log, "inner destroyed");
        co_await open.wait();
        co_await hob::yield();
        log.push_back("inner done");
        co_return 5;
    };
    auto outer = [&]() -> hob::task<> {
        const test::at_exit note(log, "outer unwound");
        const int value = co_await hob::shield(inner());
        log.push_back("got " + std::to_string(value));
        co_await hob::yield();
        log.push_back("never");
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(outer());
        co_await test::settle();
        CHECK(handle.cancel());
        co_await test::settle();
        CHECK_FALSE(handle.done());
        CHECK(log.empty());
        open.open();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
    };
    program.run(main());
    CHECK(log ==
          std::vector<std::string>{"inner done", "inner destroyed", "got 5", "outer unwound"});
}

TEST_CASE("a shield in a task that is cancelled already runs to its end", "[shield-outer]") {
    test::program program(test::any_loop());
    hob::task_handle<> self;
    bool shielded = false;
    bool passed = false;
    auto outer = [&]() -> hob::task<> {
        self.cancel();
        co_await hob::shield(test::settle());
        shielded = true;
        co_await hob::yield();
        passed = true;
    };
    auto main = [&]() -> hob::task<> {
        self = hob::create_task(outer());
        CHECK_THROWS_AS(co_await self, hob::cancelled_error);
    };
    program.run(main());
    CHECK(shielded);
    CHECK_FALSE(passed);
}

TEST_CASE("a task that only shields ends with its value although it was cancelled",
          "[shield-outer]") {
    test::program program(test::any_loop());
    gate open;
    auto outer = [&]() -> hob::task<int> {
        co_return co_await hob::shield(test::value_after(open, 3));
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(outer());
        co_await test::settle();
        handle.cancel();
        co_await test::settle();
        open.open();
        const int value = co_await handle;
        CHECK(value == 3);
        CHECK_FALSE(handle.cancelled());
    };
    program.run(main());
}

TEST_CASE("a shielded join of a task that was cancelled throws cancelled_error", "[shield-inner]") {
    test::program program(test::any_loop());
    gate never;
    auto main = [&]() -> hob::task<> {
        auto inner = hob::create_task(test::value_after(never, 1));
        hob::event_loop::current().call_soon([inner] { inner.cancel(); });
        CHECK_THROWS_AS(co_await hob::shield(inner), hob::cancelled_error);
        co_await hob::yield();
    };
    program.run(main());
}

TEST_CASE("a failure behind the shield of a cancelled task is seen exactly once",
          "[shield-late-exc]") {
    test::program program(test::any_loop());
    gate open;
    auto outer = [&]() -> hob::task<> { co_await hob::shield(test::failure_after(open, "late")); };
    SECTION("by the handler, if nobody awaits the task") {
        auto main = [&]() -> hob::task<> {
            {
                auto handle = hob::create_task(outer());
                co_await test::settle();
                handle.cancel();
            }
            co_await test::settle();
            open.open();
            co_await test::settle();
        };
        program.run(main());
        REQUIRE(program.reports.size() == 1);
        CHECK(hob::exception_group::describe(program.reports[0].exception) == "late");
    }
    SECTION("by whoever awaits it") {
        auto main = [&]() -> hob::task<> {
            auto handle = hob::create_task(outer());
            co_await test::settle();
            handle.cancel();
            co_await test::settle();
            open.open();
            CHECK_THROWS_WITH(co_await handle, "late");
        };
        program.run(main());
        CHECK(program.reports.empty());
    }
    SECTION("by the task itself, if it catches") {
        bool caught = false;
        auto catching = [&]() -> hob::task<> {
            try {
                co_await hob::shield(test::failure_after(open, "late"));
            } catch (const std::runtime_error&) {
                caught = true;
            }
            co_await hob::yield();
            caught = false;
        };
        auto main = [&]() -> hob::task<> {
            auto handle = hob::create_task(catching());
            co_await test::settle();
            handle.cancel();
            co_await test::settle();
            open.open();
            CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
        };
        program.run(main());
        CHECK(caught);
        CHECK(program.reports.empty());
    }
}

TEST_CASE("a shield around a gather protects all of it", "[shield-gather]") {
    test::program program(test::any_loop());
    gate open;
    int got = 0;
    auto outer = [&]() -> hob::task<> {
        auto [left, right] = co_await hob::shield(
            hob::gather(test::value_after(open, 1), test::value_after(open, 2)));
        got = left + right;
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(outer());
        co_await test::settle();
        handle.cancel();
        co_await test::settle();
        CHECK_FALSE(handle.done());
        open.open();
        co_await handle;
    };
    program.run(main());
    CHECK(got == 3);
}

TEST_CASE("a shield inside a gather protects exactly its branch", "[shield-gather]") {
    test::program program(test::any_loop());
    gate open;
    std::vector<std::string> log;
    auto waiting = [&](std::string name) -> hob::task<> {
        const test::at_exit note(log, name + " ended");
        co_await open.wait();
        log.push_back(name + " done");
    };
    auto outer = [&]() -> hob::task<> {
        co_await hob::gather(waiting("bare"), hob::shield(waiting("shielded")));
        log.push_back("never");
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(outer());
        co_await test::settle();
        handle.cancel();
        co_await test::settle();
        CHECK(log == std::vector<std::string>{"bare ended"});
        CHECK_FALSE(handle.done());
        open.open();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
    };
    program.run(main());
    CHECK(log == std::vector<std::string>{"bare ended", "shielded done", "shielded ended"});
}

TEST_CASE("a timeout inside a shield still cancels its own part", "[shield-outer]") {
    test::program program(test::any_loop());
    gate never;
    bool expired = false;
    auto outer = [&]() -> hob::task<> {
        expired = !(co_await hob::shield(hob::try_timeout(1ms, never.wait()))).has_value();
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(outer());
        co_await test::settle();
        handle.cancel();
        co_await handle;
    };
    program.run(main());
    CHECK(expired);
}

TEST_CASE("a timeout around a shield waits for it and then gives its value", "[shield-outer]") {
    test::program program(test::any_loop());
    gate open;
    auto opener = [&]() -> hob::task<> {
        co_await hob::sleep_for(5ms);
        open.open();
    };
    auto main = [&]() -> hob::task<> {
        auto opening = hob::create_task(opener());
        const int value = co_await hob::timeout(1ms, hob::shield(test::value_after(open, 2)));
        CHECK(value == 2);
        co_await opening;
    };
    program.run(main());
}

TEST_CASE("cancellation does not reach the children of a shielded group", "[shield-outer]") {
    test::program program(test::any_loop());
    gate open;
    int done = 0;
    auto child = [&]() -> hob::task<> {
        co_await open.wait();
        co_await hob::shield(hob::shield(hob::yield()));
        ++done;
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        group.start(child());
        group.start(child());
        co_await child();
    };
    auto outer = [&]() -> hob::task<> { co_await hob::shield(hob::with_task_group(body)); };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(outer());
        co_await test::settle();
        handle.cancel();
        co_await test::settle();
        open.open();
        co_await handle;
    };
    program.run(main());
    CHECK(done == 3);
}
