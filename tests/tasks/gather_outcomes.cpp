// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/gather_outcomes.hpp>
#include <hob/timeout.hpp>

#include <memory>
#include <stdexcept>
#include <vector>

using namespace std::chrono_literals;
using test::gate;

TEST_CASE("gather_outcomes fills every place with a value or an exception", "[gather-collect]") {
    gate open;
    int target = 7;
    test::program program(test::any_loop());
    auto fail = [&]() -> hob::task<> {
        co_await open.wait();
        throw std::runtime_error("failed");
    };
    auto refer = [&]() -> hob::task<int&> { co_return target; };
    auto move_only = []() -> hob::task<std::unique_ptr<int>> {
        co_return std::make_unique<int>(3);
    };
    auto main = [&]() -> hob::task<> {
        hob::event_loop::current().call_soon([&] { open.open(); });
        auto [value, failed, nothing, reference, moved] = co_await hob::gather_outcomes(
            test::value_after(open, 1), fail(), open.wait(), refer(), move_only());
        CHECK(value.value() == 1);
        CHECK_FALSE(failed.has_value());
        CHECK_THROWS_WITH(failed.value(), "failed");
        CHECK(failed.exception() != nullptr);
        CHECK(nothing.has_value());
        CHECK(&reference.value().get() == &target);
        const std::unique_ptr<int> taken = std::move(moved).value();
        CHECK(*taken == 3);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("gather_outcomes of a range keeps the order, and of none is empty", "[gather-collect]") {
    test::program program(test::simulated_loop());
    auto after = [](int time) -> hob::task<int> {
        co_await hob::sleep_for(1ms * time);
        if (time % 2 == 1)
            throw std::runtime_error(std::to_string(time));
        co_return time;
    };
    auto main = [&]() -> hob::task<> {
        std::vector<hob::task<int>> tasks;
        for (const int time : {4, 3, 2, 1})
            tasks.push_back(after(time));
        const auto outcomes = co_await hob::gather_outcomes(std::move(tasks));
        REQUIRE(outcomes.size() == 4);
        CHECK(outcomes[0].value() == 4);
        CHECK_THROWS_WITH(outcomes[1].value(), "3");
        CHECK(outcomes[2].value() == 2);
        CHECK_THROWS_WITH(outcomes[3].value(), "1");
        const auto none = co_await hob::gather_outcomes(std::vector<hob::task<int>>());
        CHECK(none.empty());
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a joined task that was cancelled is a cancelled_error of its place",
          "[gather-collect]") {
    gate never;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const auto joined = hob::create_task(test::value_after(never, 1));
        joined.cancel();
        const auto [outcome] = co_await hob::gather_outcomes(joined);
        CHECK_THROWS_AS(outcome.value(), hob::cancelled_error);
    };
    program.run(main());
}

TEST_CASE("cancelling gather_outcomes stops every branch and then the task", "[gather-collect]") {
    gate never;
    int alive = 0;
    test::program program(test::any_loop());
    auto counted = [&]() -> hob::task<> {
        const test::counted self(alive);
        co_await never.wait();
    };
    auto main = [&]() -> hob::task<> {
        auto gathering = [&]() -> hob::task<> {
            co_await hob::gather_outcomes(counted(), counted());
            FAIL("went on");
        };
        const auto task = hob::create_task(gathering());
        co_await test::settle();
        CHECK(alive == 2);
        task.cancel();
        co_await test::settle();
        CHECK(alive == 0);
        CHECK(task.cancelled());
    };
    program.run(main());
}

TEST_CASE("a fatal error is collected by nobody", "[fatal-exc]") {
    test::program program(test::any_loop());
    auto fatal = []() -> hob::task<> {
        co_await hob::yield();
        throw hob::fatal_error("the end");
    };
    auto main = [&]() -> hob::task<> {
        [[maybe_unused]] const auto outcome = co_await hob::gather_outcomes(fatal());
    };
    CHECK_THROWS_AS(program.run(main()), hob::fatal_error);
}
