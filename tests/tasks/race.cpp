// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/finally.hpp>
#include <hob/race.hpp>
#include <hob/shield.hpp>
#include <hob/timeout.hpp>

#include <array>
#include <memory>

using namespace std::chrono_literals;
using test::gate;

TEST_CASE("the first branch of a race to succeed wins", "[race]") {
    test::program program(test::any_loop());
    std::array<gate, 3> gates;
    auto main = [&]() -> hob::task<> {
        hob::event_loop::current().call_soon([&] { gates[1].open(); });
        auto winner =
            co_await hob::race(test::value_after(gates[0], 10), test::value_after(gates[1], 11),
                               test::value_after(gates[2], 12));
        CHECK(winner.index() == 1);
        CHECK(std::get<1>(winner) == 11);
    };
    program.run(main());
}

TEST_CASE("the losers of a race are cancelled and awaited before it returns", "[race]") {
    test::program program(test::any_loop());
    gate win;
    gate never;
    gate cleanup_gate;
    std::vector<std::string> log;
    auto loser = [&]() -> hob::task<> {
        const test::at_exit note(log, "loser unwound");
        co_await never.wait();
        log.push_back("never");
    };
    auto cleanup = [&]() -> hob::task<> {
        co_await cleanup_gate.wait();
        log.push_back("loser cleaned up");
    };
    auto racing = [&]() -> hob::task<> {
        auto winner =
            co_await hob::race(hob::finally(loser(), cleanup()), test::value_after(win, 1));
        log.push_back("winner " + std::to_string(winner.index()));
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(racing());
        co_await test::settle();
        win.open();
        co_await test::settle();
        CHECK(log == std::vector<std::string>{"loser unwound"});
        CHECK_FALSE(handle.done());
        cleanup_gate.open();
        co_await handle;
        CHECK(log == std::vector<std::string>{"loser unwound", "loser cleaned up", "winner 1"});
    };
    program.run(main());
}

TEST_CASE("a branch that finishes without suspending keeps the later ones from starting",
          "[race]") {
    test::program program(test::any_loop());
    int started = 0;
    int alive = 0;
    auto later = [&](test::counted) -> hob::task<int> {
        ++started;
        co_return 2;
    };
    auto main = [&]() -> hob::task<> {
        bool turned = false;
        hob::event_loop::current().call_soon([&] { turned = true; });
        test::counted first(alive);
        test::counted second(alive);
        auto winner = co_await hob::race(test::value_now(1), later(std::move(first)),
                                         later(std::move(second)));
        CHECK(winner.index() == 0);
        CHECK(started == 0);
        CHECK_FALSE(turned);
        CHECK(alive == 2);
        std::vector<hob::task<int>> range;
        range.push_back(test::value_now(7));
        range.push_back(later(test::counted(alive)));
        auto found = co_await hob::race(std::move(range));
        CHECK(found.index == 0);
        CHECK(found.value == 7);
        CHECK(started == 0);
        CHECK(alive == 2);
    };
    program.run(main());
    CHECK(alive == 0);
}

TEST_CASE("a branch that finishes at once beats one that was started before and waits", "[race]") {
    test::program program(test::any_loop());
    gate never;
    int alive = 0;
    auto waiting = [&]() -> hob::task<int> {
        const test::counted self(alive);
        co_await never.wait();
        co_return 0;
    };
    auto main = [&]() -> hob::task<> {
        auto winner = co_await hob::race(waiting(), waiting(), test::value_now(3), waiting());
        CHECK(winner.index() == 2);
        CHECK(alive == 0);
    };
    program.run(main());
}

TEST_CASE("a tie goes to the branch with the lower index", "[race]") {
    test::program program(test::any_loop());
    gate both;
    auto main = [&]() -> hob::task<> {
        hob::event_loop::current().call_soon([&] { both.open(); });
        auto winner = co_await hob::race(test::value_after(both, 1), test::value_after(both, 2),
                                         test::value_after(both, 3));
        CHECK(winner.index() == 0);
    };
    program.run(main());
}

TEST_CASE("a branch that fails leaves the race", "[race]") {
    test::program program(test::any_loop());
    std::array<gate, 2> gates;
    auto opener = [&]() -> hob::task<> {
        co_await test::settle();
        gates[0].open();
        co_await test::settle();
        gates[1].open();
    };
    auto main = [&]() -> hob::task<> {
        auto opening = hob::create_task(opener());
        auto winner =
            co_await hob::race(test::failure_now("at once"), test::failure_after(gates[0], "x"),
                               test::value_after(gates[1], 5));
        CHECK(winner.index() == 2);
        CHECK(std::get<2>(winner) == 5);
        co_await opening;
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a race in which everyone fails throws all exceptions in the order of the failures",
          "[race]") {
    test::program program(test::any_loop());
    std::array<gate, 2> gates;
    auto opener = [&]() -> hob::task<> {
        co_await test::settle();
        gates[1].open();
        co_await test::settle();
        gates[0].open();
    };
    auto main = [&]() -> hob::task<> {
        auto opening = hob::create_task(opener());
        std::vector<std::string> messages;
        try {
            co_await hob::race(test::failure_after(gates[0], "third"),
                               test::failure_after(gates[1], "second"), test::failure_now("first"));
        } catch (const hob::exception_group& group) {
            messages = test::messages(group);
        }
        CHECK(messages == std::vector<std::string>{"first", "second", "third"});
        co_await opening;
        CHECK_THROWS_AS(co_await hob::race(test::failure_now("only")), hob::exception_group);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a loser that fails in its cleanup is reported, and the winner's value delivered",
          "[race]") {
    test::program program(test::any_loop());
    gate win;
    gate never;
    auto bad_cleanup = []() -> hob::task<> {
        co_await hob::yield();
        throw std::runtime_error("cleanup");
    };
    auto stubborn = [&]() -> hob::task<> {
        co_await hob::shield(test::settle(20));
        throw std::logic_error("after the shield");
    };
    auto main = [&]() -> hob::task<> {
        hob::event_loop::current().call_soon([&] { win.open(); });
        auto winner = co_await hob::race(hob::finally(never.wait(), bad_cleanup()),
                                         test::value_after(win, 9), stubborn());
        CHECK(std::get<1>(winner) == 9);
    };
    program.run(main());
    REQUIRE(program.reports.size() == 2);
    CHECK(hob::exception_group::describe(program.reports[0].exception) == "cleanup");
    CHECK(hob::exception_group::describe(program.reports[1].exception) == "after the shield");
}

TEST_CASE("a loser that gives a value all the same does not replace the winner", "[race]") {
    test::program program(test::any_loop());
    gate win;
    auto stubborn = [&]() -> hob::task<std::unique_ptr<int>> {
        co_await hob::shield(test::settle(20));
        co_return std::make_unique<int>(1);
    };
    auto main = [&]() -> hob::task<> {
        hob::event_loop::current().call_soon([&] { win.open(); });
        auto winner = co_await hob::race(stubborn(), test::value_after(win, 9), stubborn());
        CHECK(winner.index() == 1);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("cancelling a race cancels and awaits every branch", "[race]") {
    test::program program(test::any_loop());
    gate never;
    gate cleanup_gate;
    int alive = 0;
    bool passed = false;
    auto branch = [&]() -> hob::task<> {
        const test::counted self(alive);
        co_await never.wait();
    };
    auto racing = [&]() -> hob::task<> {
        co_await hob::race(branch(), hob::finally(branch(), cleanup_gate.wait()), branch());
        passed = true;
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(racing());
        co_await test::settle();
        CHECK(alive == 3);
        handle.cancel();
        co_await test::settle();
        CHECK(alive == 0);
        CHECK_FALSE(handle.done());
        cleanup_gate.open();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
        CHECK_FALSE(passed);
    };
    program.run(main());
}

TEST_CASE("errors of a race that was cancelled are reported once each", "[race]") {
    test::program program(test::any_loop());
    gate never;
    auto stubborn = [&]() -> hob::task<> {
        co_await hob::shield(test::settle(20));
        throw std::runtime_error("late");
    };
    auto racing = [&]() -> hob::task<> {
        co_await hob::race(test::failure_now("early"), never.wait(), stubborn());
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(racing());
        co_await test::settle();
        handle.cancel();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
    };
    program.run(main());
    REQUIRE(program.reports.size() == 2);
    CHECK(hob::exception_group::describe(program.reports[0].exception) == "early");
    CHECK(hob::exception_group::describe(program.reports[1].exception) == "late");
}

TEST_CASE("a race that was won in the turn of its cancellation gives the value", "[race]") {
    test::program program(test::any_loop());
    gate win;
    gate never;
    bool delivered = false;
    bool passed = false;
    auto racing = [&]() -> hob::task<> {
        auto winner = co_await hob::race(never.wait(), test::value_after(win, 3));
        delivered = winner.index() == 1;
        co_await hob::yield();
        passed = true;
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(racing());
        co_await test::settle();
        win.open();
        handle.cancel();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
        CHECK(delivered);
        CHECK_FALSE(passed);
    };
    program.run(main());
}

TEST_CASE("in a cancelled scope a race is won only without suspending", "[race]") {
    test::program program(test::any_loop());
    hob::task_handle<> self;
    std::vector<std::string> log;
    auto suspending = [&]() -> hob::task<int> {
        log.push_back("started");
        co_await hob::yield();
        log.push_back("never");
        co_return 1;
    };
    auto racing = [&]() -> hob::task<> {
        self.cancel();
        auto winner = co_await hob::race(suspending(), test::value_now(2));
        log.push_back("winner " + std::to_string(winner.index()));
        co_await hob::race(suspending(), suspending());
        log.push_back("never");
    };
    auto main = [&]() -> hob::task<> {
        self = hob::create_task(racing());
        CHECK_THROWS_AS(co_await self, hob::cancelled_error);
    };
    program.run(main());
    // The race waits for its stopped branch, but being decided it is not itself stopped.
    CHECK(log == std::vector<std::string>{"started", "winner 1", "started", "started"});
}

TEST_CASE("a race over a range tells who won", "[race]") {
    test::program program(test::any_loop());
    constexpr std::size_t count = 2000;
    std::vector<gate> gates(count);
    int alive = 0;
    auto branch = [&](std::size_t index) -> hob::task<int> {
        const test::counted self(alive);
        co_await gates[index].wait();
        co_return static_cast<int>(index) * 2;
    };
    auto main = [&]() -> hob::task<> {
        std::vector<hob::task<int>> tasks;
        for (std::size_t index = 0; index != count; ++index)
            tasks.push_back(branch(index));
        // So many branches start over several turns: each turn has a budget.
        auto open_last = [&]() -> hob::task<> {
            while (alive != static_cast<int>(count))
                co_await hob::yield();
            gates[count - 1].open();
        };
        hob::create_task(open_last());
        const auto winner = co_await hob::race(std::move(tasks));
        CHECK(winner.index == count - 1);
        CHECK(winner.value == static_cast<int>(count - 1) * 2);
        CHECK(alive == 0);
    };
    program.run(main());
}

TEST_CASE("a race over nothing is refused", "[race]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        CHECK_THROWS_AS(co_await hob::race(std::vector<hob::task<int>>()), hob::usage_error);
        CHECK_THROWS_AS(co_await hob::race(std::vector<hob::task<>>()), hob::usage_error);
        hob::task<int> empty(nullptr);
        CHECK_THROWS_AS(co_await hob::race(test::value_now(1), std::move(empty)), hob::usage_error);
    };
    program.run(main());
}

TEST_CASE("a race does not cancel the task behind a losing handle", "[race]") {
    test::program program(test::any_loop());
    gate slow;
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(test::value_after(slow, 6));
        // A copy is given away, which is the form that moves the value out.
        auto winner = co_await hob::race(hob::task_handle<int>(handle), hob::sleep_for(1ms));
        CHECK(winner.index() == 1);
        CHECK_FALSE(handle.done());
        slow.open();
        const int value = co_await handle;
        CHECK(value == 6);
    };
    program.run(main());
}

TEST_CASE("races nest, and the losers of the inner one end before the outer returns", "[race]") {
    test::program program(test::any_loop());
    gate win;
    gate never;
    int alive = 0;
    auto waiting = [&]() -> hob::task<int> {
        const test::counted self(alive);
        co_await never.wait();
        co_return 0;
    };
    auto main = [&]() -> hob::task<> {
        hob::event_loop::current().call_soon([&] { win.open(); });
        auto winner =
            co_await hob::race(hob::race(waiting(), waiting()),
                               hob::race(waiting(), test::value_after(win, 4)), waiting());
        CHECK(winner.index() == 1);
        CHECK(std::get<1>(std::get<1>(winner)) == 4);
        CHECK(alive == 0);
    };
    program.run(main());
}

TEST_CASE("branches beyond the inline limit race in later turns", "[race]") {
    test::program program(test::any_loop());
    gate never;
    // Each level starts the next one inside its own step, as far as the stack allows.
    auto level = [&](auto& self, int depth) -> hob::task<int> {
        if (depth == 0)
            co_return 1;
        auto winner = co_await hob::race(never.wait(), self(self, depth - 1));
        co_return std::get<1>(winner) + 1;
    };
    auto main = [&]() -> hob::task<> {
        const int levels = co_await level(level, 1000);
        CHECK(levels == 1001);
    };
    program.run(main());
}
