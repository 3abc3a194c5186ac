// SPDX-License-Identifier: MIT
// When a task runs, when it ends, and what is left of it.
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/gather.hpp>
#include <hob/timeout.hpp>

#include <memory>
#include <optional>

using namespace std::chrono_literals;
using test::counted;
using test::gate;
using test::keep_parameter;
using strings = std::vector<std::string>;

namespace {

hob::task<> keep_until(counted, gate& open) {
    co_await open.wait();
}
hob::task<int> pass_on(hob::task<int> inner) {
    const int value = co_await std::move(inner);
    co_return value;
}

} // namespace

TEST_CASE("a lazy task runs no code until it is awaited", "[lazy]") {
    test::program program(test::any_loop());
    bool ran = false;
    auto body = [&]() -> hob::task<> {
        ran = true;
        co_return;
    };
    auto main = [&]() -> hob::task<> {
        auto lazy = body();
        co_await test::settle();
        CHECK_FALSE(ran);
        auto moved = std::move(lazy);
        CHECK_FALSE(ran);
        CHECK(moved);
        co_await std::move(moved);
        CHECK(ran);
        CHECK_FALSE(moved);
    };
    program.run(main());
}

TEST_CASE("handing a lazy task around runs nothing of it", "[lazy]") {
    test::program program(test::any_loop());
    int runs = 0;
    auto body = [&]() -> hob::task<int> { co_return ++runs; };
    auto pass = [&](hob::task<int> inner) -> hob::task<int> {
        CHECK(runs == 0);
        co_await hob::yield();
        CHECK(runs == 0);
        co_return co_await std::move(inner);
    };
    auto main = [&]() -> hob::task<> {
        CHECK(co_await pass(body()) == 1);
        CHECK(runs == 1);
    };
    program.run(main());
}

TEST_CASE("a task that is destroyed before it starts runs nothing and frees its parameters",
          "[never-awaited]") {
    int alive = 0;
    {
        auto never = keep_parameter(counted(alive), 1);
        CHECK(alive == 1);
        auto moved = std::move(never);
        CHECK(alive == 1);
        never = keep_parameter(counted(alive), 2);
        CHECK(alive == 2);
        never = std::move(moved);
        CHECK(alive == 1);
    }
    CHECK(alive == 0);
}

TEST_CASE("in debug mode a task that nobody awaited is reported once, by name", "[never-awaited]") {
    test::program program(test::any_loop());
    int alive = 0;
    auto main = [&]() -> hob::task<> {
        {
            auto never = keep_parameter(counted(alive), 1);
            auto moved = std::move(never);
        }
        co_await keep_parameter(counted(alive), 2);
    };
    SECTION("silent otherwise") {
        program.run(main());
        CHECK(program.reports.empty());
    }
    SECTION("in debug mode") {
        program.loop().set_debug(true);
        program.run(main());
        REQUIRE(program.reports.size() == 1);
        CHECK_THAT(program.reports[0].message, test::contains("never awaited"));
        CHECK_THAT(program.reports[0].message, test::contains("keep_parameter"));
        CHECK_FALSE(program.reports[0].exception);
    }
    CHECK(alive == 0);
}

TEST_CASE("a task that was cancelled before it started is not reported as never awaited",
          "[never-awaited][cancel-unstarted]") {
    test::program program(test::any_loop());
    program.loop().set_debug(true);
    int alive = 0;
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(keep_parameter(counted(alive), 1));
        handle.cancel();
        co_await test::settle();
        CHECK(handle.cancelled());
        CHECK(alive == 0);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("what a coroutine that never began would have awaited is not reported as never awaited",
          "[never-awaited][cancel-unstarted]") {
    test::program program(test::any_loop());
    program.loop().set_debug(true);
    int alive = 0;
    auto main = [&]() -> hob::task<> {
        auto wrapped = hob::create_task(pass_on(pass_on(keep_parameter(counted(alive), 1))));
        auto limited = hob::create_task(hob::timeout(1h, keep_parameter(counted(alive), 1)));
        CHECK(alive == 2);
        wrapped.cancel();
        limited.cancel();
        co_await test::settle();
        CHECK(wrapped.cancelled());
        CHECK(limited.cancelled());
        CHECK(alive == 0);
        CHECK(program.reports.empty());
        // What is forgotten afterwards still is.
        static_cast<void>(pass_on(test::value_now(1)));
        CHECK(program.reports.size() == 2);
    };
    program.run(main());
}

TEST_CASE("a task whose await was stopped before it began is not reported as never awaited",
          "[never-awaited]") {
    const bool shifted = GENERATE(false, true);
    test::program program;
    program.loop().set_debug(true);
    int awaited = 0;
    hob::task_handle<> self;
    auto body = [&]() -> hob::task<> {
        self.cancel();
        // The budget of awaits that do not suspend ends somewhere in here, at either of the two.
        if (shifted)
            co_await test::value_now(1);
        for (;; ++awaited)
            co_await pass_on(test::value_now(1));
    };
    auto main = [&]() -> hob::task<> {
        self = hob::create_task(body());
        co_await test::settle();
        CHECK(self.cancelled());
    };
    program.run(main());
    CHECK(awaited > 0);
    CHECK(program.reports.empty());
}

TEST_CASE("create_task runs nothing before it returns, and first steps go in creation order",
          "[spawn-order]") {
    test::program program(test::any_loop());
    std::vector<int> order;
    auto child = [&](int number) -> hob::task<> {
        order.push_back(number);
        co_await hob::yield();
        order.push_back(number + 100);
    };
    auto main = [&]() -> hob::task<> {
        for (int number = 0; number != 5; ++number)
            hob::create_task(child(number));
        CHECK(order.empty());
        co_await hob::yield();
        CHECK(order == std::vector<int>{0, 1, 2, 3, 4});
        co_await hob::yield();
        CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 100, 101, 102, 103, 104});
    };
    program.run(main());
}

TEST_CASE("spawning, callbacks and yields keep one order", "[spawn-order]") {
    test::program program(test::any_loop());
    std::vector<int> order;
    auto child = [&](int number) -> hob::task<> {
        order.push_back(number);
        co_return;
    };
    auto main = [&]() -> hob::task<> {
        hob::create_task(child(1));
        program.loop().call_soon([&] { order.push_back(2); });
        hob::create_task(child(3));
        co_await hob::yield();
        order.push_back(4);
    };
    program.run(main());
    CHECK(order == std::vector<int>{1, 2, 3, 4});
}

TEST_CASE("awaiting what has ended does not suspend", "[done-await]") {
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(test::value_now(4));
        co_await test::settle();
        CHECK(handle.done());
        open.open();
        bool turned = false;
        program.loop().call_soon([&] { turned = true; });
        CHECK(co_await handle == 4);
        co_await open.wait();
        CHECK(co_await std::move(handle) == 4);
        CHECK_FALSE(turned);
    };
    program.run(main());
}

TEST_CASE("all waiters of a handle wake in the order of their awaits with the same value",
          "[multi-await]") {
    gate open;
    test::program program(test::any_loop());
    std::vector<int> order;
    std::vector<const std::unique_ptr<int>*> seen;
    auto make = [&]() -> hob::task<std::unique_ptr<int>> {
        co_await open.wait();
        co_return std::make_unique<int>(6);
    };
    auto wait = [&](hob::task_handle<std::unique_ptr<int>> handle, int number) -> hob::task<> {
        const std::unique_ptr<int>& value = co_await handle;
        order.push_back(number);
        seen.push_back(&value);
        CHECK(*value == 6);
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(make());
        std::vector<hob::task_handle<>> waiters;
        for (int number = 0; number != 6; ++number)
            waiters.push_back(hob::create_task(wait(handle, number)));
        co_await test::settle();
        waiters[2].cancel();
        co_await test::settle();
        open.open();
        co_await test::settle();
        CHECK(order == std::vector<int>{0, 1, 3, 4, 5});
        for (const auto* each : seen)
            CHECK(each == seen[0]);
        CHECK(co_await handle == *seen[0]);
    };
    program.run(main());
}

TEST_CASE("all waiters of a handle get its exception", "[multi-await]") {
    gate open;
    test::program program(test::any_loop());
    int caught = 0;
    auto wait = [&](hob::task_handle<int> handle) -> hob::task<> {
        try {
            co_await handle;
        } catch (const std::runtime_error& error) {
            CHECK(error.what() == std::string("shared"));
            ++caught;
        }
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(test::failure_after(open, "shared"));
        auto first = hob::create_task(wait(handle));
        auto second = hob::create_task(wait(handle));
        co_await test::settle();
        open.open();
        co_await first;
        co_await second;
        co_await wait(handle);
    };
    program.run(main());
    CHECK(caught == 3);
    CHECK(program.reports.empty());
}

TEST_CASE("a task that awaits itself gets an error", "[self-await]") {
    test::program program(test::any_loop());
    hob::task_handle<> self;
    int caught = 0;
    auto body = [&]() -> hob::task<> {
        try {
            co_await self;
        } catch (const std::logic_error&) {
            ++caught;
        }
        auto deeper = [&]() -> hob::task<> {
            co_await hob::yield();
            co_await self;
        };
        try {
            co_await deeper();
        } catch (const hob::usage_error&) {
            ++caught;
        }
        try {
            co_await hob::gather(hob::yield(), self);
        } catch (const hob::usage_error&) {
            ++caught;
        }
        try {
            co_await hob::timeout(1h, self);
        } catch (const hob::usage_error&) {
            ++caught;
        }
        co_await hob::yield();
    };
    auto main = [&]() -> hob::task<> {
        self = hob::create_task(body());
        co_await self;
    };
    program.run(main());
    CHECK(caught == 4);
}

TEST_CASE("dropping every handle neither destroys nor cancels a task", "[strong-ref]") {
    gate open;
    test::program program(test::any_loop());
    bool ended = false;
    int alive = 0;
    auto body = [&](counted) -> hob::task<> {
        co_await open.wait();
        co_await hob::yield();
        ended = true;
    };
    auto main = [&]() -> hob::task<> {
        {
            auto handle = hob::create_task(body(counted(alive)));
            auto copy = handle;
            co_await hob::yield();
        }
        CHECK(alive == 1);
        open.open();
        co_await test::settle();
        CHECK(ended);
        CHECK(alive == 0);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("what is left when run returns is stopped by the closing of the loop",
          "[strong-ref][loop-close]") {
    gate never;
    int alive = 0;
    {
        test::program program(test::any_loop());
        auto main = [&]() -> hob::task<> {
            hob::create_task(keep_until(counted(alive), never));
            co_await test::settle();
            hob::create_task(keep_until(counted(alive), never)); // does not start any more
        };
        program.run(main());
        CHECK(alive == 2);
    }
    CHECK(alive == 0);
}

TEST_CASE("locals and parameters are gone when the awaiter sees the result", "[frame-first]") {
    test::program program(test::any_loop());
    strings log;
    gate open;
    open.open();
    auto value = [&](std::unique_ptr<test::at_exit>, bool suspend) -> hob::task<int> {
        const test::at_exit local(log, "local");
        if (suspend)
            co_await hob::yield();
        co_return 1;
    };
    auto failure = [&](std::unique_ptr<test::at_exit>, bool suspend) -> hob::task<int> {
        const test::at_exit local(log, "local");
        if (suspend)
            co_await hob::yield();
        throw std::runtime_error("x");
    };
    auto parameter = [&] { return std::make_unique<test::at_exit>(log, "parameter"); };
    const strings expected{"local", "parameter", "seen"};
    auto main = [&]() -> hob::task<> {
        for (const bool suspend : {false, true}) {
            log.clear();
            auto task = value(parameter(), suspend);
            co_await std::move(task);
            log.push_back("seen");
            CHECK(log == expected);

            log.clear();
            try {
                auto failing = failure(parameter(), suspend);
                co_await std::move(failing);
            } catch (const std::runtime_error&) {
                log.push_back("seen");
            }
            CHECK(log == expected);

            log.clear();
            auto handle = hob::create_task(value(parameter(), suspend));
            co_await handle;
            log.push_back("seen");
            CHECK(log == expected);

            log.clear();
            co_await hob::gather(value(parameter(), suspend));
            log.push_back("seen");
            CHECK(log == expected);

            log.clear();
            co_await hob::timeout(1h, value(parameter(), suspend));
            log.push_back("seen");
            CHECK(log == expected);
        }
    };
    program.run(main());
}
