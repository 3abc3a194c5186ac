// SPDX-License-Identifier: MIT
// The loop's exception handler, callbacks that throw, and fatal exceptions.
#include "../catch.hpp"
#include "support/child_process.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/finally.hpp>
#include <hob/gather.hpp>
#include <hob/race.hpp>
#include <hob/task_group.hpp>
#include <hob/timeout.hpp>

#include <algorithm>
#include <memory>

using namespace std::chrono_literals;
using test::gate;

namespace {

hob::task<> fail(const char* message) {
    co_await hob::yield();
    throw std::runtime_error(message);
}
hob::task<> fail_fatally(gate& when) {
    co_await when.wait();
    throw hob::fatal_error("the end");
}

/// The reports that tell of the fatal exception.
long fatal_reports(const test::program& program) {
    return std::count_if(program.reports.begin(), program.reports.end(), [](const auto& each) {
        return each.exception && hob::detail::is_fatal(each.exception);
    });
}

} // namespace

TEST_CASE("a handler that throws falls back to standard error, and the loop goes on",
          "[handler-throws]") {
    const auto result = test::in_child([] {
        test::program program;
        program.loop().set_exception_handler(
            [](const hob::exception_context&) { throw std::runtime_error("from the handler"); });
        int after = 0;
        auto main = [&]() -> hob::task<> {
            hob::create_task(fail("first failure")).set_name("first");
            co_await test::settle();
            ++after;
            hob::create_task(fail("second failure"));
            co_await test::settle();
            ++after;
        };
        program.run(main());
        return after;
    });
    CHECK(result.code == 2);
    CHECK_THAT(result.errors, test::contains("first failure"));
    CHECK_THAT(result.errors, test::contains("task 'first'"));
    CHECK_THAT(result.errors, test::contains("from the handler"));
    CHECK_THAT(result.errors, test::contains("second failure"));
}

TEST_CASE("without a handler an error is one report on standard error", "[handler-throws]") {
    const auto result = test::in_child([] {
        hob::runner runner(test::program::with(hob::ring_mode::automatic));
        auto main = [&]() -> hob::task<> {
            hob::create_task(fail("unhandled")).set_name("some task");
            co_await test::settle();
        };
        runner.run(main());
        return 0;
    });
    CHECK(result.code == 0);
    CHECK_THAT(result.errors, Catch::Matchers::StartsWith("hob: "));
    CHECK_THAT(result.errors, test::contains("some task"));
    CHECK(result.errors.find("unhandled") == result.errors.rfind("unhandled"));
}

TEST_CASE("a handler may replace itself, spawn and cancel", "[handler-throws]") {
    test::program program(test::any_loop());
    gate never;
    hob::task_handle<int> victim;
    int first = 0;
    int second = 0;
    bool spawned = false;
    auto follow_up = [&]() -> hob::task<> {
        spawned = true;
        co_return;
    };
    program.loop().set_exception_handler([&](const hob::exception_context&) {
        ++first;
        victim.cancel();
        hob::create_task(follow_up());
        program.loop().set_exception_handler([&](const hob::exception_context&) { ++second; });
    });
    auto main = [&]() -> hob::task<> {
        victim = hob::create_task(test::value_after(never, 1));
        hob::create_task(fail("a"));
        co_await test::settle();
        hob::create_task(fail("b"));
        co_await test::settle();
        CHECK(victim.cancelled());
    };
    program.run(main());
    CHECK(first == 1);
    CHECK(second == 1);
    CHECK(spawned);
}

TEST_CASE("an exception of a callback is reported, and the rest of the turn runs",
          "[callback-exc]") {
    test::program program(test::any_loop());
    std::vector<int> ran;
    auto main = [&]() -> hob::task<> {
        hob::event_loop& loop = program.loop();
        loop.call_soon([&] { ran.push_back(1); });
        loop.call_soon([&] {
            ran.push_back(2);
            throw std::runtime_error("from a callback");
        });
        loop.call_soon([&] { ran.push_back(3); });
        loop.call_later(1us, [] { throw 1; });
        co_await hob::yield();
        CHECK(ran == std::vector<int>{1, 2, 3});
        co_await hob::sleep_for(2us);
        co_await test::settle();
    };
    program.run(main());
    REQUIRE(program.reports.size() == 2);
    CHECK(hob::exception_group::describe(program.reports[0].exception) == "from a callback");
    CHECK(program.reports[0].task.empty());
}

TEST_CASE("a fatal exception of a task leaves run at once", "[fatal-exc]") {
    gate now;
    now.open();
    gate never;
    int alive = 0;
    int after = 0;
    test::program program(test::any_loop());
    auto bystander = [&](test::counted) -> hob::task<> {
        co_await never.wait();
        ++after;
    };
    SECTION("of the main task") {
        auto main = [&]() -> hob::task<> {
            hob::create_task(bystander(test::counted(alive)));
            co_await hob::yield();
            co_await fail_fatally(now);
        };
        CHECK_THROWS_AS(program.run(main()), hob::fatal_error);
    }
    SECTION("of another task") {
        auto main = [&]() -> hob::task<> {
            hob::create_task(bystander(test::counted(alive)));
            hob::create_task(fail_fatally(now));
            co_await never.wait();
            ++after;
        };
        CHECK_THROWS_AS(program.run(main()), hob::fatal_error);
    }
    SECTION("of a callback") {
        auto main = [&]() -> hob::task<> {
            hob::create_task(bystander(test::counted(alive)));
            program.loop().call_soon([] { throw hob::fatal_error("the end"); });
            program.loop().call_soon([&] { ++after; });
            co_await never.wait();
        };
        CHECK_THROWS_AS(program.run(main()), hob::fatal_error);
        CHECK(after == 0);
        after = 0;
    }
    program.runner().close();
    CHECK(alive == 0);
    CHECK(fatal_reports(program) == 0);
}

TEST_CASE("a fatal exception is told once, also if somebody joins the task", "[fatal-exc]") {
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        auto failing = hob::create_task(fail_fatally(open));
        program.loop().call_soon([&] { open.open(); });
        co_await failing;
    };
    CHECK_THROWS_AS(program.run(main()), hob::fatal_error);
    program.runner().close();
    CHECK(fatal_reports(program) == 0);
}

TEST_CASE("a fatal exception of a group's child is told once", "[fatal-exc]") {
    gate open;
    gate never;
    test::program program(test::any_loop());
    auto body = [&](hob::task_group& group) -> hob::task<> {
        group.start(fail_fatally(open));
        program.loop().call_soon([&] { open.open(); });
        co_await never.wait();
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    CHECK_THROWS_AS(program.run(main()), hob::fatal_error);
    program.runner().close();
    CHECK(fatal_reports(program) == 0);
}

TEST_CASE("a fatal exception of a cleanup is told once, whichever way the body ended",
          "[fatal-exc]") {
    test::program program(test::any_loop());
    gate now;
    gate never;
    now.open();
    auto awaited = [&]() -> hob::task<> { co_await fail_fatally(now); };
    auto called = [] { throw hob::fatal_error("the end"); };
    auto not_made = [&]() {
        if (program.loop().is_running())
            throw hob::fatal_error("the end");
        return awaited();
    };
    const int way = GENERATE(0, 1, 2);
    INFO("way " << way);
    auto with = [&](auto& cleanup) -> hob::task<> {
        if (way == 0)
            co_await hob::finally(test::value_now(1), cleanup);
        else if (way == 1)
            co_await hob::finally(test::failure_now("body"), cleanup);
        else
            co_await hob::finally(never.wait(), cleanup);
    };
    const auto run = [&](auto& cleanup) {
        auto main = [&]() -> hob::task<> {
            auto handle = hob::create_task(with(cleanup));
            co_await test::settle();
            handle.cancel();
            co_await never.wait();
        };
        CHECK_THROWS_AS(program.run(main()), hob::fatal_error);
        program.runner().close();
        CHECK(fatal_reports(program) == 0);
    };
    SECTION("awaited") {
        run(awaited);
    }
    SECTION("called") {
        run(called);
    }
    SECTION("which could not be made") {
        run(not_made);
    }
}

TEST_CASE("a fatal exception of a branch does not wait for its siblings", "[fatal-exc]") {
    gate open;
    gate never;
    int after = 0;
    test::program program(test::any_loop());
    auto sibling = [&]() -> hob::task<> {
        co_await never.wait();
        ++after;
    };
    auto opener = [&]() { program.loop().call_soon([&] { open.open(); }); };
    // If it waits, the run ends with a deadlock_error.
    SECTION("of a gather") {
        auto main = [&]() -> hob::task<> {
            opener();
            co_await hob::gather(sibling(), fail_fatally(open));
        };
        CHECK_THROWS_AS(program.run(main()), hob::fatal_error);
    }
    SECTION("of a race") {
        auto main = [&]() -> hob::task<> {
            opener();
            co_await hob::race(sibling(), fail_fatally(open));
        };
        CHECK_THROWS_AS(program.run(main()), hob::fatal_error);
    }
    program.runner().close();
    CHECK(after == 0);
}

TEST_CASE("a race does not swallow a fatal exception", "[fatal-exc]") {
    gate first;
    gate second;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        program.loop().call_soon([&] {
            first.open();
            program.loop().call_soon([&] { second.open(); });
        });
        co_await hob::race(fail_fatally(first), test::value_after(second, 1));
        co_await test::settle();
    };
    CHECK_THROWS_AS(program.run(main()), hob::fatal_error);
}

TEST_CASE("a fatal exception of a cleanup during a stop leaves run", "[fatal-exc]") {
    gate now;
    now.open();
    gate never;
    test::program program(test::any_loop());
    auto body = [&]() -> hob::task<> { co_await hob::finally(never.wait(), fail_fatally(now)); };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(body());
        co_await test::settle();
        handle.cancel();
        co_await test::settle();
    };
    CHECK_THROWS_AS(program.run(main()), hob::fatal_error);
}

TEST_CASE("a loop can be used again after a fatal exception", "[fatal-exc]") {
    gate now;
    now.open();
    gate open;
    test::program program(test::any_loop());
    int ended = 0;
    auto survivor = [&]() -> hob::task<> {
        co_await open.wait();
        ++ended;
    };
    auto main = [&]() -> hob::task<> {
        hob::create_task(survivor());
        co_await hob::yield();
        co_await fail_fatally(now);
    };
    CHECK_THROWS_AS(program.run(main()), hob::fatal_error);
    auto second = [&]() -> hob::task<> {
        open.open();
        co_await test::settle();
        CHECK(ended == 1);
    };
    program.run(second());
}

TEST_CASE("a program tells the handler of errors of its own", "[exception-handler]") {
    test::program program(test::any_loop());
    program.loop().call_exception_handler(
        {"a client was rude", std::make_exception_ptr(std::runtime_error("no please")), {}, {}});
    CHECK(program.reports.size() == 1);
    CHECK(program.reports[0].message == "a client was rude");
    CHECK(hob::exception_group::describe(program.reports[0].exception) == "no please");
}

TEST_CASE("a handler does what the default one does, and more", "[exception-handler]") {
    const auto result = test::in_child([] {
        test::program program;
        hob::event_loop& loop = program.loop();
        int count = 0;
        loop.set_exception_handler([&](const hob::exception_context& context) {
            ++count;
            hob::event_loop::default_exception_handler(context);
        });
        const hob::exception_handler first = loop.get_exception_handler();
        loop.set_exception_handler([&](const hob::exception_context& context) {
            ++count;
            first(context);
        });
        loop.call_exception_handler({"a client was rude", nullptr, "reader", {}});
        loop.set_exception_handler({});
        return loop.get_exception_handler() ? -1 : count;
    });
    CHECK(result.code == 2);
    CHECK_THAT(result.errors, test::contains("hob: a client was rude (task 'reader')"));
}
