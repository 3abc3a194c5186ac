// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/async_generator.hpp>
#include <hob/debug/task_dump.hpp>
#include <hob/finally.hpp>
#include <hob/sleep.hpp>
#include <hob/task_group.hpp>
#include <hob/timeout.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using test::contains;
using test::gate;

namespace {

hob::async_generator<int> count(int last) {
    for (int each = 1; each <= last; ++each)
        co_yield each;
}

hob::async_generator<int> count_slowly(int last) {
    for (int each = 1; each <= last; ++each) {
        co_await hob::yield();
        co_yield each;
    }
}

/// Counts for ever; says when it is cleaned up, which takes until `clean` is open.
hob::async_generator<int> count_with_cleanup(gate& clean, std::string& log) {
    auto& out = co_await hob::this_generator;
    auto body = [&]() -> hob::task<> {
        for (int each = 1;; ++each)
            co_await out.yield(each);
    };
    auto cleanup = [&]() -> hob::task<> {
        log += "cleaning ";
        co_await clean.wait();
        log += "clean ";
    };
    co_await hob::finally(body(), cleanup);
}

} // namespace

TEST_CASE("a generator gives its values in order and then nothing", "[generator]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        for (const bool slow : {false, true}) {
            auto numbers = slow ? count_slowly(3) : count(3);
            std::string log;
            while (auto number = co_await numbers.next())
                log += std::to_string(*number);
            CHECK(log == "123");
            const auto after = co_await numbers.next();
            CHECK_FALSE(after.has_value());
        }
    };
    program.run(main());
}

TEST_CASE("a generator is lazy, and moves only while somebody waits", "[generator]") {
    test::program program(test::any_loop());
    std::string log;
    auto logged = [&]() -> hob::async_generator<int> {
        log += "a";
        co_yield 1;
        log += "b";
        co_yield 2;
        log += "c";
    };
    auto main = [&]() -> hob::task<> {
        auto numbers = logged();
        co_await test::settle();
        CHECK(log.empty());
        const auto first = co_await numbers.next();
        CHECK(first == 1);
        co_await test::settle();
        CHECK(log == "a");
        auto moved = std::move(numbers);
        const auto second = co_await moved.next();
        CHECK(second == 2);
        CHECK(log == "ab");
        CHECK_THROWS_AS(co_await numbers.next(), hob::usage_error);
    };
    program.run(main());
    // Dropped before the third part.
    CHECK(log == "ab");
}

TEST_CASE("a generator gives move-only values", "[generator]") {
    test::program program(test::any_loop());
    auto boxes = []() -> hob::async_generator<std::unique_ptr<int>> {
        co_yield std::make_unique<int>(1);
        co_await hob::yield();
        co_yield std::make_unique<int>(2);
    };
    auto main = [&]() -> hob::task<> {
        auto generator = boxes();
        int sum = 0;
        while (auto box = co_await generator.next())
            sum += **box;
        CHECK(sum == 3);
    };
    program.run(main());
}

TEST_CASE("an exception leaves the generator once, at the next value", "[generator]") {
    test::program program(test::any_loop());
    int alive = 0;
    auto failing = [&](bool late) -> hob::async_generator<int> {
        const test::counted self(alive);
        co_yield 1;
        if (late)
            co_await hob::yield();
        throw std::runtime_error("no second one");
    };
    auto main = [&]() -> hob::task<> {
        for (const bool late : {false, true}) {
            auto generator = failing(late);
            const auto first = co_await generator.next();
            CHECK(first == 1);
            CHECK_THROWS_WITH(co_await generator.next(), "no second one");
            CHECK(alive == 0);
            const auto after = co_await generator.next();
            CHECK_FALSE(after.has_value());
        }
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a generator that was never asked is destroyed with its parameters", "[generator]") {
    test::program program(test::any_loop());
    int alive = 0;
    auto with = [](test::counted) -> hob::async_generator<int> { co_yield 1; };
    auto main = [&]() -> hob::task<> {
        {
            auto generator = with(test::counted(alive));
            CHECK(alive == 1);
        }
        CHECK(alive == 0);
        auto closed = with(test::counted(alive));
        co_await closed.close();
        CHECK(alive == 0);
        CHECK_THROWS_AS(co_await closed.next(), hob::usage_error);
    };
    program.run(main());
}

TEST_CASE("a dropped generator is cleaned up by the loop", "[generator]") {
    gate clean;
    std::string log;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        {
            auto numbers = count_with_cleanup(clean, log);
            const auto first = co_await numbers.next();
            const auto second = co_await numbers.next();
            CHECK(*first + *second == 3);
        }
        CHECK(log.empty());
        co_await test::settle();
        CHECK(log == "cleaning ");
        clean.open();
        co_await test::settle();
        CHECK(log == "cleaning clean ");
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("close waits for the cleanup, twice if need be, and gives its exception", "[generator]") {
    gate clean;
    std::string log;
    test::program program(test::any_loop());
    auto failing_cleanup = [&]() -> hob::async_generator<int> {
        auto& out = co_await hob::this_generator;
        auto cleanup = []() -> hob::task<> {
            co_await hob::yield();
            throw std::runtime_error("unclean");
        };
        co_await hob::finally(out.yield(1), cleanup);
    };
    auto main = [&]() -> hob::task<> {
        auto numbers = count_with_cleanup(clean, log);
        [[maybe_unused]] const auto first = co_await numbers.next();
        hob::event_loop::current().call_soon([&] { clean.open(); });
        co_await numbers.close();
        CHECK(log == "cleaning clean ");
        co_await numbers.close();
        const auto after = co_await numbers.next();
        CHECK_FALSE(after.has_value());
        auto failing = failing_cleanup();
        [[maybe_unused]] const auto one = co_await failing.next();
        co_await failing.close();
    };
    program.run(main());
    // The generator was being stopped, so the stop goes on and the exception is reported.
    REQUIRE(program.reports.size() == 1);
    CHECK(hob::exception_group::describe(program.reports[0].exception) == "unclean");
}

TEST_CASE("cancelling a task in next stops the generator with its cleanup first", "[generator]") {
    gate never;
    gate clean;
    std::string log;
    test::program program(test::any_loop());
    auto waits = [&]() -> hob::async_generator<int> {
        auto cleanup = [&]() -> hob::task<> {
            log += "cleaning ";
            co_await clean.wait();
            log += "clean ";
        };
        co_await hob::finally(never.wait(), cleanup);
        co_yield 1;
    };
    auto main = [&]() -> hob::task<> {
        auto generator = waits();
        auto consume = [&]() -> hob::task<> {
            [[maybe_unused]] const auto value = co_await generator.next();
            FAIL("went on");
        };
        const auto consumer = hob::create_task(consume());
        co_await test::settle();
        consumer.cancel();
        co_await test::settle();
        CHECK(log == "cleaning ");
        CHECK_FALSE(consumer.done());
        clean.open();
        co_await test::settle();
        CHECK(log == "cleaning clean ");
        CHECK(consumer.cancelled());
        const auto after = co_await generator.next();
        CHECK_FALSE(after.has_value());
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a timeout around next ends the generator, and a value in time wins", "[generator]") {
    gate never;
    test::program program(test::simulated_loop());
    auto main = [&]() -> hob::task<> {
        auto slow = [&]() -> hob::async_generator<int> {
            co_await hob::sleep_for(5ms);
            co_yield 1;
            co_await never.wait();
        };
        auto generator = slow();
        const auto value = co_await hob::timeout(10ms, generator.next());
        CHECK(value == 1);
        CHECK_THROWS_AS(co_await hob::timeout(10ms, generator.next()), hob::timeout_error);
        const auto after = co_await generator.next();
        CHECK_FALSE(after.has_value());
    };
    program.run(main());
}

TEST_CASE("a consumer that is cancelled while the generator runs loses no value", "[generator]") {
    test::program program(test::any_loop());
    hob::task_handle<> consumer;
    auto cancels = [&]() -> hob::async_generator<int> {
        consumer.cancel();
        co_yield 1;
        FAIL("went on");
    };
    auto main = [&]() -> hob::task<> {
        int seen = 0;
        auto consume = [&]() -> hob::task<> {
            auto generator = cancels();
            seen = (co_await generator.next()).value_or(0);
            co_await hob::yield();
            FAIL("went on");
        };
        consumer = hob::create_task(consume());
        co_await test::settle();
        CHECK(consumer.cancelled());
        CHECK(seen == 1);
    };
    program.run(main());
    consumer = {};
}

TEST_CASE("two tasks at once, and a value for nobody, are refused", "[generator]") {
    gate open;
    test::program program(test::any_loop());
    auto waits = [&]() -> hob::async_generator<int> {
        co_await open.wait();
        auto& out = co_await hob::this_generator;
        auto twice = [&]() -> hob::task<> { co_await out.yield(2); };
        bool refused = false;
        auto second = hob::create_task(twice());
        co_yield 1;
        try {
            co_await second;
        } catch (const hob::usage_error&) {
            refused = true;
        }
        co_yield refused ? 10 : 20;
    };
    auto main = [&]() -> hob::task<> {
        auto generator = waits();
        auto consume = [&]() -> hob::task<int> { co_return (co_await generator.next()).value(); };
        const auto first = hob::create_task(consume());
        co_await test::settle();
        CHECK_THROWS_AS(co_await generator.next(), hob::usage_error);
        CHECK_THROWS_AS(co_await generator.close(), hob::usage_error);
        open.open();
        const int one = co_await first;
        CHECK(one == 1);
        co_await test::settle();
        const auto ten = co_await generator.next();
        CHECK(ten == 10);
    };
    program.run(main());
}

TEST_CASE("a generator left over is cleaned up when its loop closes", "[generator]") {
    std::string log;
    gate clean;
    clean.open();
    std::optional<hob::async_generator<int>> kept;
    {
        test::program program(test::any_loop());
        auto main = [&]() -> hob::task<> {
            kept.emplace(count_with_cleanup(clean, log));
            [[maybe_unused]] const auto first = co_await kept->next();
        };
        program.run(main());
        CHECK(log.empty());
    }
    CHECK(log == "cleaning clean ");
    kept.reset();
}

TEST_CASE("a million values at once take a constant stack and leave others their turns",
          "[generator]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        int turns = 0;
        auto other = [&]() -> hob::task<> {
            for (;;) {
                ++turns;
                co_await hob::yield();
            }
        };
        const auto background = hob::create_task(other());
        auto numbers = count(1'000'000);
        long sum = 0;
        while (auto number = co_await numbers.next())
            sum += *number;
        CHECK(sum == 500'000'500'000);
        CHECK(turns > 1000);
        background.cancel();
        co_await test::settle();
    };
    program.run(main());
}

TEST_CASE("generators of generators, a thousand deep", "[generator]") {
    test::program program(test::any_loop());
    auto add_one = [](hob::async_generator<int> inner) -> hob::async_generator<int> {
        while (auto value = co_await inner.next())
            co_yield *value + 1;
    };
    auto main = [&]() -> hob::task<> {
        auto numbers = count(3);
        for (int depth = 0; depth != 1000; ++depth)
            numbers = add_one(std::move(numbers));
        int sum = 0;
        while (auto number = co_await numbers.next())
            sum += *number;
        CHECK(sum == 3006);
        auto dropped = count(3);
        for (int depth = 0; depth != 1000; ++depth)
            dropped = add_one(std::move(dropped));
        const auto first = co_await dropped.next();
        CHECK(first == 1001);
    };
    program.run(main());
}

TEST_CASE("a dump names a generator and who waits for it", "[generator][dump]") {
    gate never;
    test::program program(test::any_loop());
    auto waits = [&]() -> hob::async_generator<int> {
        co_yield 1;
        co_await never.wait();
    };
    auto main = [&]() -> hob::task<> {
        auto generator = waits();
        [[maybe_unused]] const auto first = co_await generator.next();
        CHECK_THAT(hob::dump_tasks(), contains("waiting for somebody to ask for the next value"));
        auto consume = [&]() -> hob::task<> {
            [[maybe_unused]] const auto value = co_await generator.next();
        };
        const auto consumer = hob::create_task(consume());
        co_await test::settle();
        CHECK_THAT(hob::dump_tasks(),
                   contains("waiting for the next value of the async generator"));
        consumer.cancel();
        co_await test::settle();
    };
    program.run(main());
}

TEST_CASE("a generator whose first value was refused can be closed, and dropped", "[async-gen]") {
    const bool closes = GENERATE(true, false);
    test::program program;
    auto numbers = []() -> hob::async_generator<int> { co_yield 1; };
    auto main = [&]() -> hob::task<> {
        auto generator = numbers();
        auto refused = hob::try_timeout(0ms, generator.next());
        const auto nothing = co_await std::move(refused);
        CHECK_FALSE(nothing.has_value());
        if (closes)
            co_await generator.close();
    };
    program.run(main());
    program.runner().close();
    CHECK(program.reports.empty());
}

TEST_CASE("who waits for a generator that the closing loop ends before him has not failed",
          "[async-gen][run-leftover]") {
    std::vector<hob::exception_context> reports;
    hob::async_generator<int> numbers = count_slowly(5);
    {
        test::program program;
        gate go;
        auto use = [&]() -> hob::task<> {
            co_await go.wait();
            static_cast<void>(co_await numbers.next());
        };
        auto body = [&](hob::task_group& group) -> hob::task<> {
            group.start(use());
            co_await hob::sleep_for(1h);
        };
        auto use_in_group = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
        auto main = [&]() -> hob::task<> {
            CHECK(co_await numbers.next() == 1);
            hob::create_task(use_in_group());
            co_await test::settle();
            go.open();
        };
        program.run(main());
        program.runner().close();
        reports = program.reports;
    }
    CHECK(reports.empty());
}
