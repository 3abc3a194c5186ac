// SPDX-License-Identifier: MIT
// What becomes of an async generator between two calls of `next`, when nobody waits for it.
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/async_generator.hpp>
#include <hob/current_task.hpp>
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

hob::task<> give(hob::generator_output<int>& out, int last) {
    for (int each = 1; each <= last; ++each)
        co_await out.yield(each);
}
hob::task<> fail_after(gate& broken) {
    co_await broken.wait();
    throw std::runtime_error("the producer broke");
}

/// Fails when `broken` is opened, wherever it stands.
hob::async_generator<int> count_until(gate& broken) {
    auto& out = co_await hob::this_generator;
    auto body = [&](hob::task_group& group) -> hob::task<> {
        group.start(fail_after(broken));
        co_await give(out, 3);
    };
    co_await hob::with_task_group(body);
}

hob::async_generator<int> count_for(std::chrono::milliseconds limit) {
    auto& out = co_await hob::this_generator;
    co_await hob::timeout(limit, give(out, 3));
}

/// Starts it, and lets it fail while nobody waits.
hob::task<hob::async_generator<int>> make_failed() {
    gate broken;
    auto numbers = count_until(broken);
    const auto first = co_await numbers.next();
    CHECK(first == 1);
    broken.open();
    co_await test::settle();
    co_return numbers;
}

hob::task<hob::async_generator<int>> make_stopped() {
    auto numbers = []() -> hob::async_generator<int> {
        hob::current_task().set_name("the stopped one");
        co_yield 1;
        co_yield 2;
    }();
    [[maybe_unused]] const auto first = co_await numbers.next();
    for (const hob::any_task_handle& each : hob::all_tasks())
        if (each.name() == "the stopped one")
            each.cancel();
    co_await test::settle();
    co_return numbers;
}

} // namespace

TEST_CASE("a generator that fails while nobody waits tells the next call of next, once",
          "[async-gen]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        auto numbers = co_await make_failed();
        CHECK_THROWS_WITH(co_await numbers.next(), contains("the producer broke"));
        const auto after = co_await numbers.next();
        CHECK_FALSE(after.has_value());
        co_await numbers.close();
    };
    program.run(main());
    program.runner().close();
    CHECK(program.reports.empty());
}

TEST_CASE("a time limit around a yield that passes while nobody waits is told by next",
          "[async-gen]") {
    test::program program(test::simulated_loop());
    auto main = [&]() -> hob::task<> {
        auto numbers = count_for(5ms);
        const auto first = co_await numbers.next();
        CHECK(first == 1);
        co_await hob::sleep_for(20ms);
        CHECK_THROWS_AS(co_await numbers.next(), hob::timeout_error);
        const auto after = co_await numbers.next();
        CHECK_FALSE(after.has_value());
    };
    program.run(main());
    program.runner().close();
    CHECK(program.reports.empty());
}

TEST_CASE("close throws the exception that no next has thrown", "[async-gen]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        auto numbers = co_await make_failed();
        CHECK_THROWS_WITH(co_await numbers.close(), contains("the producer broke"));
        co_await numbers.close();
        const auto after = co_await numbers.next();
        CHECK_FALSE(after.has_value());
    };
    program.run(main());
    program.runner().close();
    CHECK(program.reports.empty());
}

TEST_CASE("a failed generator that is dropped unasked is reported once, with its name and stack",
          "[async-gen]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        auto named = []() -> hob::async_generator<int> {
            hob::current_task().set_name("the counting one");
            gate broken;
            auto& out = co_await hob::this_generator;
            hob::event_loop::current().call_soon([&] { broken.open(); });
            auto body = [&](hob::task_group& group) -> hob::task<> {
                group.start(fail_after(broken));
                co_await give(out, 3);
            };
            co_await hob::with_task_group(body);
        };
        {
            auto numbers = named();
            [[maybe_unused]] const auto first = co_await numbers.next();
            co_await test::settle();
            CHECK(program.reports.empty());
            auto moved = std::move(numbers);
            CHECK(program.reports.empty());
        }
        CHECK(program.reports.size() == 1);
    };
    program.run(main());
    program.runner().close();
    REQUIRE(program.reports.size() == 1);
    const hob::exception_context& report = program.reports[0];
    CHECK_THAT(hob::exception_group::describe(report.exception), contains("the producer broke"));
    CHECK_THAT(report.message, contains("an exception left an async generator"));
    CHECK(report.task == "the counting one");
    CHECK_THAT(report.stack, contains("async_generator_unasked.cpp"));
}

TEST_CASE("a generator that fails after it was dropped is reported at once, and once",
          "[async-gen]") {
    test::program program(test::simulated_loop());
    gate go;
    auto fails_at_last = [&]() -> hob::async_generator<int> {
        auto& out = co_await hob::this_generator;
        static_cast<void>(co_await hob::try_timeout(5ms, give(out, 1)));
        co_await go.wait();
        throw std::runtime_error("too late");
    };
    auto main = [&]() -> hob::task<> {
        {
            auto numbers = fails_at_last();
            [[maybe_unused]] const auto first = co_await numbers.next();
            co_await hob::sleep_for(20ms);
            // What is waited for comes before the stop, and has its effect.
            go.open();
        }
        co_await test::settle();
        CHECK(program.reports.size() == 1);
    };
    program.run(main());
    program.runner().close();
    REQUIRE(program.reports.size() == 1);
    CHECK(hob::exception_group::describe(program.reports[0].exception) == "too late");
    CHECK_THAT(program.reports[0].stack, contains("async_generator_unasked.cpp"));
}

TEST_CASE("who waits in next is told of a failure of a generator that is destroyed meanwhile",
          "[async-gen]") {
    test::program program(test::any_loop());
    gate go;
    auto fails_at_last = [&]() -> hob::async_generator<int> {
        co_await go.wait();
        throw std::runtime_error("too late");
        co_yield 1;
    };
    auto main = [&]() -> hob::task<> {
        std::optional<hob::async_generator<int>> numbers(fails_at_last());
        auto ask = [&]() -> hob::task<> {
            CHECK_THROWS_WITH(co_await numbers->next(), "too late");
        };
        const auto asking = hob::create_task(ask());
        co_await test::settle();
        go.open();
        numbers.reset();
        co_await asking;
    };
    program.run(main());
    program.runner().close();
    CHECK(program.reports.empty());
}

TEST_CASE("a failed generator that outlives its loop is reported when the loop closes, once",
          "[async-gen]") {
    std::optional<hob::async_generator<int>> kept;
    std::vector<hob::exception_context> reports;
    {
        test::program program(test::any_loop());
        auto main = [&]() -> hob::task<> { kept.emplace(co_await make_failed()); };
        program.run(main());
        CHECK(program.reports.empty());
        program.runner().close();
        reports = program.reports;
    }
    REQUIRE(reports.size() == 1);
    CHECK_THAT(hob::exception_group::describe(reports[0].exception),
               contains("the producer broke"));
    test::program later;
    auto ask = [&]() -> hob::task<> {
        const auto after = co_await kept->next();
        CHECK_FALSE(after.has_value());
    };
    later.run(ask());
    kept.reset();
    later.runner().close();
    CHECK(later.reports.empty());
}

TEST_CASE("a failed generator may be dropped between two runs, and by the exception handler",
          "[async-gen]") {
    test::program program(test::any_loop());
    std::optional<hob::async_generator<int>> kept;
    auto main = [&]() -> hob::task<> { kept.emplace(co_await make_failed()); };
    program.run(main());
    SECTION("between two runs") {
        kept.reset();
        CHECK(program.reports.size() == 1);
        program.runner().close();
        CHECK(program.reports.size() == 1);
    }
    SECTION("by the handler") {
        int calls = 0;
        program.loop().set_exception_handler([&](const hob::exception_context&) {
            ++calls;
            kept.reset();
        });
        program.runner().close();
        CHECK(calls == 1);
    }
}

TEST_CASE("another loop is not told of an exception that the first one still holds",
          "[async-gen]") {
    test::program first(test::any_loop());
    std::optional<hob::async_generator<int>> kept;
    auto main = [&]() -> hob::task<> { kept.emplace(co_await make_failed()); };
    first.run(main());
    {
        test::program second;
        auto ask = [&]() -> hob::task<> {
            CHECK_THROWS_AS(co_await kept->next(), hob::usage_error);
            CHECK_THROWS_AS(co_await kept->close(), hob::usage_error);
        };
        second.run(ask());
    }
    auto ask_again = [&]() -> hob::task<> {
        CHECK_THROWS_WITH(co_await kept->next(), contains("the producer broke"));
    };
    first.run(ask_again());
    kept.reset();
    first.runner().close();
    CHECK(first.reports.empty());
}

TEST_CASE("a fatal error ends the run at once, and is not reported as well", "[async-gen]") {
    test::program program(test::any_loop());
    gate broken;
    std::optional<hob::async_generator<int>> kept;
    auto fatal = [&]() -> hob::async_generator<int> {
        auto& out = co_await hob::this_generator;
        auto breaks = [&]() -> hob::task<> {
            co_await broken.wait();
            throw hob::fatal_error("the end");
        };
        auto body = [&](hob::task_group& group) -> hob::task<> {
            group.start(breaks());
            co_await give(out, 3);
        };
        co_await hob::with_task_group(body);
    };
    auto main = [&]() -> hob::task<> {
        kept.emplace(fatal());
        [[maybe_unused]] const auto first = co_await kept->next();
        broken.open();
        co_await test::settle();
        FAIL("went on");
    };
    CHECK_THROWS_AS(program.run(main()), hob::fatal_error);
    kept.reset();
    program.runner().close();
    CHECK(program.reports.empty());
}

TEST_CASE("a generator that was stopped while nobody waits does not pretend to be complete",
          "[async-gen]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        auto numbers = co_await make_stopped();
        CHECK_THROWS_AS(co_await numbers.next(), hob::cancelled_error);
        const auto after = co_await numbers.next();
        CHECK_FALSE(after.has_value());
        // Whoever closes it wants it stopped.
        auto closed = co_await make_stopped();
        co_await closed.close();
        const auto after_close = co_await closed.next();
        CHECK_FALSE(after_close.has_value());
        [[maybe_unused]] const auto dropped = co_await make_stopped();
    };
    program.run(main());
    program.runner().close();
    CHECK(program.reports.empty());
}

TEST_CASE("who is being cancelled as well is stopped rather than told of a stopped generator",
          "[async-gen]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        auto consume = [&]() -> hob::task<> {
            auto numbers = co_await make_stopped();
            hob::current_task().cancel();
            static_cast<void>(co_await numbers.next());
            FAIL("went on");
        };
        const auto consumer = hob::create_task(consume());
        co_await test::settle(30);
        CHECK(consumer.cancelled());
        // An exception is told all the same: nobody else would be.
        auto consume_failed = [&]() -> hob::task<> {
            auto numbers = co_await make_failed();
            hob::current_task().cancel();
            static_cast<void>(co_await numbers.next());
            FAIL("went on");
        };
        const auto told = hob::create_task(consume_failed());
        CHECK_THROWS_WITH(co_await told, contains("the producer broke"));
    };
    program.run(main());
    program.runner().close();
    CHECK(program.reports.empty());
}

TEST_CASE("a generator that ends while nobody waits has just ended", "[async-gen]") {
    test::program program(test::simulated_loop());
    auto gives_up = []() -> hob::async_generator<int> {
        auto& out = co_await hob::this_generator;
        [[maybe_unused]] const bool in_time =
            (co_await hob::try_timeout(5ms, give(out, 3))).has_value();
    };
    auto main = [&]() -> hob::task<> {
        auto numbers = gives_up();
        const auto first = co_await numbers.next();
        CHECK(first == 1);
        co_await hob::sleep_for(20ms);
        const auto after = co_await numbers.next();
        CHECK_FALSE(after.has_value());
    };
    program.run(main());
    program.runner().close();
    CHECK(program.reports.empty());
}

TEST_CASE("a value that a generator comes to while nobody waits is kept for the next call",
          "[async-gen]") {
    test::program program(test::simulated_loop());
    std::vector<int> late;
    auto patient = [&]() -> hob::async_generator<std::unique_ptr<int>> {
        auto& out = co_await hob::this_generator;
        for (int round = 1; round <= 2; ++round) {
            bool in_time = true;
            try {
                co_await hob::timeout(5ms, out.yield(std::make_unique<int>(round)));
            } catch (const hob::timeout_error&) {
                in_time = false;
            }
            if (!in_time)
                co_yield std::make_unique<int>(100 + round);
            late.push_back(round);
        }
    };
    auto main = [&]() -> hob::task<> {
        auto numbers = patient();
        std::vector<int> seen;
        while (auto number = co_await numbers.next()) {
            seen.push_back(**number);
            co_await hob::sleep_for(20ms);
        }
        CHECK(seen == std::vector{1, 101, 2, 102});
        CHECK(late == std::vector{1, 2});

        // One that waits with a value is closed, and dropped, like any other.
        auto closed = patient();
        [[maybe_unused]] const auto first = co_await closed.next();
        co_await hob::sleep_for(20ms);
        co_await closed.close();
        const auto after = co_await closed.next();
        CHECK_FALSE(after.has_value());
        auto dropped = patient();
        [[maybe_unused]] const auto second = co_await dropped.next();
        co_await hob::sleep_for(20ms);
        CHECK(late == std::vector{1, 2});
    };
    program.run(main());
    program.runner().close();
    CHECK(program.reports.empty());
}

TEST_CASE("a value that waits is given whatever is left of the asking task's budget",
          "[async-gen]") {
    test::program program(test::simulated_loop());
    auto patient = []() -> hob::async_generator<int> {
        auto& out = co_await hob::this_generator;
        static_cast<void>(co_await hob::try_timeout(5ms, give(out, 1)));
        co_yield 2;
    };
    auto others = []() -> hob::async_generator<int> {
        for (int each = 0;; ++each)
            co_yield each;
    };
    auto main = [&]() -> hob::task<> {
        for (int spent = 120; spent != 135; ++spent) {
            auto numbers = patient();
            const auto first = co_await numbers.next();
            CHECK(first == 1);
            co_await hob::sleep_for(20ms);
            auto spending = others();
            for (int each = 0; each != spent; ++each)
                static_cast<void>(co_await spending.next());
            const auto second = co_await numbers.next();
            CHECK(second == 2);
            const auto after = co_await numbers.next();
            CHECK_FALSE(after.has_value());
        }
    };
    program.run(main());
    program.runner().close();
    CHECK(program.reports.empty());
}

TEST_CASE("a value that nobody came for in its time limit is given to nobody", "[async-gen]") {
    test::program program(test::simulated_loop());
    auto patient = []() -> hob::async_generator<int> {
        auto& out = co_await hob::this_generator;
        for (int each = 1;; ++each)
            static_cast<void>(co_await hob::try_timeout(5ms, out.yield(each)));
    };
    auto main = [&]() -> hob::task<> {
        auto numbers = patient();
        const auto first = co_await numbers.next();
        CHECK(first == 1);
        // Its values come and go: each has its time.
        co_await hob::sleep_for(22ms);
        const auto fifth = co_await numbers.next();
        CHECK(fifth == 5);
        const auto sixth = co_await numbers.next();
        CHECK(sixth == 6);
        CHECK_THAT(hob::dump_tasks(), contains("somebody to ask for the next value"));
        co_await numbers.close();
    };
    program.run(main());
    program.runner().close();
    CHECK(program.reports.empty());
}

TEST_CASE("a value that cannot be handed over is the asking task's exception, and stays",
          "[async-gen]") {
    class stubborn {
      public:
        stubborn(int number, int& refusals) noexcept : number_(number), refusals_(&refusals) {}
        stubborn(stubborn&& other) : number_(other.number_), refusals_(other.refusals_) {
            if (*refusals_ != 0 && --*refusals_ == 0)
                throw std::runtime_error("not yet");
        }
        [[nodiscard]] int number() const noexcept { return number_; }

      private:
        int number_;
        int* refusals_;
    };
    test::program program(test::simulated_loop());
    int refusals = 0;
    auto patient = [&]() -> hob::async_generator<stubborn> {
        auto& out = co_await hob::this_generator;
        bool late = false;
        try {
            co_await hob::timeout(5ms, out.yield(stubborn(1, refusals)));
        } catch (const hob::timeout_error&) {
            late = true;
        }
        co_yield stubborn(late ? 2 : 3, refusals);
    };
    auto main = [&]() -> hob::task<> {
        auto numbers = patient();
        [[maybe_unused]] const auto first = co_await numbers.next();
        co_await hob::sleep_for(20ms);
        refusals = 1;
        CHECK_THROWS_WITH(co_await numbers.next(), "not yet");
        const auto second = co_await numbers.next();
        const int number = second.has_value() ? second->number() : 0;
        CHECK(number == 2);
        const auto after = co_await numbers.next();
        CHECK_FALSE(after.has_value());
    };
    program.run(main());
    program.runner().close();
    CHECK(program.reports.empty());
}

TEST_CASE("the cleanup of a generator that is being stopped can give no value", "[async-gen]") {
    test::program program(test::any_loop());
    gate never;
    int refused = 0;
    auto talkative = [&]() -> hob::async_generator<int> {
        auto& out = co_await hob::this_generator;
        auto cleanup = [&]() -> hob::task<> {
            try {
                co_await out.yield(9);
            } catch (const hob::usage_error&) {
                ++refused;
            }
        };
        auto body = [&]() -> hob::task<> {
            co_await out.yield(1);
            co_await never.wait();
        };
        co_await hob::finally(body(), cleanup);
    };
    auto main = [&]() -> hob::task<> {
        {
            auto dropped = talkative();
            [[maybe_unused]] const auto first = co_await dropped.next();
        }
        co_await test::settle();
        CHECK(refused == 1);
        auto closed = talkative();
        [[maybe_unused]] const auto second = co_await closed.next();
        co_await closed.close();
        CHECK(refused == 2);
        auto consume = [&]() -> hob::task<> {
            auto numbers = talkative();
            while (co_await numbers.next())
                ;
            FAIL("went on");
        };
        const auto consumer = hob::create_task(consume());
        co_await test::settle();
        consumer.cancel();
        co_await test::settle();
        CHECK(refused == 3);
        CHECK(consumer.cancelled());
    };
    program.run(main());
    program.runner().close();
    CHECK(program.reports.empty());
}

TEST_CASE("a generator may be moved, and destroyed, while a task waits in next", "[async-gen]") {
    const bool destroyed = GENERATE(true, false);
    gate never;
    test::program program(test::any_loop());
    auto waits = [&]() -> hob::async_generator<int> {
        hob::current_task().set_name("the waiting one");
        co_await never.wait();
        co_yield 1;
    };
    auto main = [&]() -> hob::task<> {
        auto numbers = std::make_unique<hob::async_generator<int>>(waits());
        auto ask = [&]() -> hob::task<> {
            [[maybe_unused]] const auto value = co_await numbers->next();
        };
        const auto asking = hob::create_task(ask());
        co_await test::settle();
        std::optional<hob::async_generator<int>> moved;
        if (!destroyed)
            moved.emplace(std::move(*numbers));
        numbers.reset();
        CHECK_THAT(hob::dump_tasks(),
                   contains("the next value of the async generator 'the waiting one'"));
        if (destroyed) {
            CHECK_THROWS_AS(co_await asking, hob::cancelled_error);
            CHECK_FALSE(asking.cancelled());
        } else {
            asking.cancel();
            co_await test::settle();
            CHECK(asking.cancelled());
        }
    };
    program.run(main());
    program.runner().close();
    CHECK(program.reports.empty());
}

TEST_CASE("a generator may be moved, and destroyed, while a task waits in close", "[async-gen]") {
    const bool destroyed = GENERATE(true, false);
    gate clean;
    test::program program(test::any_loop());
    auto slow = [&]() -> hob::async_generator<int> {
        hob::current_task().set_name("the slow one");
        auto& out = co_await hob::this_generator;
        co_await hob::finally(out.yield(1), clean.wait());
    };
    auto main = [&]() -> hob::task<> {
        auto numbers = std::make_unique<hob::async_generator<int>>(slow());
        [[maybe_unused]] const auto first = co_await numbers->next();
        auto close = [&]() -> hob::task<> { co_await numbers->close(); };
        const auto closing = hob::create_task(close());
        co_await test::settle();
        std::optional<hob::async_generator<int>> moved;
        if (!destroyed)
            moved.emplace(std::move(*numbers));
        numbers.reset();
        CHECK_THAT(hob::dump_tasks(), contains("the end of the async generator 'the slow one'"));
        clean.open();
        co_await closing;
    };
    program.run(main());
    program.runner().close();
    CHECK(program.reports.empty());
}
