// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/as_completed.hpp>
#include <hob/timeout.hpp>
#include <hob/wait.hpp>

#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using hob::return_when;
using test::gate;

namespace {

hob::task<int> fail_after(gate& open, const char* what) {
    co_await open.wait();
    throw std::runtime_error(what);
}

} // namespace

TEST_CASE("wait returns at the first end, the first exception, or the last end", "[wait-modes]") {
    gate first;
    gate second;
    gate third;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const std::vector<hob::task_handle<int>> tasks{
            hob::create_task(test::value_after(first, 1)),
            hob::create_task(fail_after(second, "second")),
            hob::create_task(test::value_after(third, 3))};
        first.open();
        const auto one = co_await hob::wait(tasks, return_when::first_completed);
        CHECK(one.done == std::vector<hob::task_handle<int>>{tasks[0]});
        CHECK(one.pending == std::vector<hob::task_handle<int>>{tasks[1], tasks[2]});

        second.open();
        const auto two = co_await hob::wait(tasks, return_when::first_exception);
        CHECK(two.done == std::vector<hob::task_handle<int>>{tasks[0], tasks[1]});
        CHECK(two.pending == std::vector<hob::task_handle<int>>{tasks[2]});
        CHECK_THROWS_WITH(co_await tasks[1], "second");

        third.open();
        const auto all = co_await hob::wait(tasks);
        CHECK(all.done == tasks);
        CHECK(all.pending.empty());
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a cancelled task is done for wait, but no exception", "[wait-modes]") {
    gate never;
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const std::vector<hob::task_handle<int>> tasks{
            hob::create_task(test::value_after(never, 1)),
            hob::create_task(test::value_after(open, 2))};
        tasks[0].cancel();
        const auto first = co_await hob::wait(tasks, return_when::first_completed);
        CHECK(first.done.size() == 1);
        hob::event_loop::current().call_soon([&] { open.open(); });
        const auto all = co_await hob::wait(tasks, return_when::first_exception);
        CHECK(all.done.size() == 2);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("wait counts tasks that have ended before anybody was told", "[wait-modes]") {
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const std::vector<hob::task_handle<int>> tasks{
            hob::create_task(test::value_after(open, 1)),
            hob::create_task(test::value_after(open, 2)),
            hob::create_task(test::value_after(open, 3))};
        co_await test::settle();
        open.open();
        // All end in the turn in which the first one wakes the waiter.
        const auto result = co_await hob::wait(tasks, return_when::first_completed);
        CHECK(result.done.size() == 3);
        CHECK(result.pending.empty());
    };
    program.run(main());
}

TEST_CASE("at its limit wait gives what is there and cancels nothing", "[wait-modes]") {
    gate open;
    test::program program(test::simulated_loop());
    auto main = [&]() -> hob::task<> {
        const std::vector<hob::task_handle<int>> tasks{
            hob::create_task(test::value_after(open, 1)),
            hob::create_task(hob::detail::as_task(test::value_after(open, 2)))};
        const auto before = hob::event_loop::current().time();
        const auto late = co_await hob::wait(tasks, return_when::all_completed, 50ms);
        CHECK(late.done.empty());
        CHECK(late.pending == tasks);
        CHECK(hob::event_loop::current().time() - before == 50ms);
        CHECK(hob::detail::reactor::here().timers().empty());
        const auto look = co_await hob::wait(tasks, return_when::all_completed, 0s);
        CHECK(look.pending == tasks);
        open.open();
        const auto all = co_await hob::wait(tasks, return_when::all_completed, 1h);
        CHECK(all.done == tasks);
        CHECK(hob::detail::reactor::here().timers().empty());
    };
    program.run(main());
}

TEST_CASE("cancelling a task in wait leaves the tasks and no trace", "[wait-modes]") {
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const std::vector<hob::task_handle<int>> tasks{
            hob::create_task(test::value_after(open, 1)),
            hob::create_task(test::value_after(open, 2))};
        auto waiting = [&]() -> hob::task<> {
            co_await hob::wait(tasks, return_when::all_completed, 1h);
            FAIL("went on");
        };
        const auto waiter = hob::create_task(waiting());
        co_await test::settle();
        waiter.cancel();
        co_await test::settle();
        CHECK(waiter.cancelled());
        CHECK_FALSE(tasks[0].done());
        CHECK(hob::detail::reactor::here().timers().empty());
        open.open();
        const int value = co_await tasks[1];
        CHECK(value == 2);
    };
    program.run(main());
}

TEST_CASE("wait takes a task twice, and refuses none and an empty handle", "[wait-modes]") {
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const auto task = hob::create_task(test::value_after(open, 1));
        std::vector<hob::task_handle<int>> twice{task, task};
        hob::event_loop::current().call_soon([&] { open.open(); });
        const auto result = co_await hob::wait(twice);
        CHECK(result.done == twice);
        CHECK_THROWS_AS(co_await hob::wait(std::vector<hob::task_handle<int>>()), hob::usage_error);
        std::vector<hob::task_handle<int>> empty(1);
        CHECK_THROWS_AS(co_await hob::wait(empty), hob::usage_error);
    };
    program.run(main());
}

TEST_CASE("as_completed gives tasks in the order of their ends", "[as-completed]") {
    test::program program(test::simulated_loop());
    auto after = [](int time) -> hob::task<int> {
        co_await hob::sleep_for(std::chrono::milliseconds(time));
        if (time == 20)
            throw std::runtime_error("twenty");
        co_return time;
    };
    auto main = [&]() -> hob::task<> {
        std::vector<hob::task_handle<int>> tasks{
            hob::create_task(after(30)), hob::create_task(after(10)), hob::create_task(after(20))};
        co_await hob::sleep_for(15ms); // one has ended before
        auto ended = hob::as_completed(tasks);
        CHECK(ended.remaining() == 3);
        std::string order;
        while (auto next = co_await ended.next()) {
            CHECK(next->done());
            try {
                order += std::to_string(co_await *next) + " ";
            } catch (const std::runtime_error& error) {
                order += std::string(error.what()) + " ";
            }
        }
        CHECK(order == "10 twenty 30 ");
        CHECK(ended.remaining() == 0);
        const auto over = co_await ended.next();
        CHECK_FALSE(over.has_value());
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("as_completed honours its limit for all tasks together", "[as-completed]") {
    gate never;
    test::program program(test::simulated_loop());
    auto after = [](int time) -> hob::task<int> {
        co_await hob::sleep_for(std::chrono::milliseconds(time));
        co_return time;
    };
    auto main = [&]() -> hob::task<> {
        std::vector<hob::task_handle<int>> tasks{hob::create_task(after(5)),
                                                 hob::create_task(test::value_after(never, 1)),
                                                 hob::create_task(after(50))};
        auto ended = hob::as_completed(tasks, 20ms);
        const auto first = co_await ended.next();
        CHECK(*first == tasks[0]);
        CHECK_THROWS_AS(co_await ended.next(), hob::timeout_error);
        CHECK_FALSE(tasks[1].done());
        // What has ended all the same is given.
        co_await hob::sleep_for(100ms);
        const auto second = co_await ended.next();
        CHECK(*second == tasks[2]);
        CHECK_THROWS_AS(co_await ended.next(), hob::timeout_error);
        tasks[1].cancel();
    };
    program.run(main());
}

TEST_CASE("several tasks share one as_completed", "[as-completed]") {
    std::vector<gate> gates(4);
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        std::vector<hob::task_handle<int>> tasks;
        for (int index = 0; index != 3; ++index)
            tasks.push_back(
                hob::create_task(test::value_after(gates[static_cast<std::size_t>(index)], index)));
        auto ended = hob::as_completed(tasks);
        std::string log;
        auto taking = [&](char name) -> hob::task<> {
            while (auto next = co_await ended.next())
                log += name + std::to_string(co_await *next) + " ";
            log += std::string(1, name) + "- ";
        };
        const auto first = hob::create_task(taking('a'));
        const auto second = hob::create_task(taking('b'));
        co_await test::settle();
        // Cancelled while it waits, it takes nothing away.
        const auto third = hob::create_task(taking('c'));
        co_await test::settle();
        third.cancel();
        for (const std::size_t index : {2U, 0U, 1U}) {
            gates[index].open();
            co_await test::settle();
        }
        co_await first;
        co_await second;
        CHECK(log == "a2 b0 a1 a- b- ");
    };
    program.run(main());
}

TEST_CASE("as_completed of unstarted tasks cancels what has not ended", "[as-completed]") {
    gate open;
    gate never;
    int alive = 0;
    test::program program(test::any_loop());
    auto counted = [&](gate& until) -> hob::task<int> {
        const test::counted self(alive);
        co_await until.wait();
        co_return 1;
    };
    auto main = [&]() -> hob::task<> {
        std::vector<hob::task<int>> tasks;
        tasks.push_back(counted(never));
        tasks.push_back(counted(open));
        {
            auto ended = hob::as_completed(std::move(tasks));
            open.open();
            const auto first = co_await ended.next();
            CHECK(first.has_value());
            CHECK(alive == 1);
        }
        co_await test::settle();
        CHECK(alive == 0);
    };
    program.run(main());
}

TEST_CASE("as_completed starts no task if one of them cannot be started", "[as-completed]") {
    int started = 0;
    test::program program(test::any_loop());
    auto count = [&]() -> hob::task<int> {
        ++started;
        co_return 1;
    };
    auto main = [&]() -> hob::task<> {
        std::vector<hob::task<int>> tasks;
        tasks.push_back(count());
        tasks.push_back(count());
        const auto taken = std::move(tasks.back());
        CHECK_THROWS_AS(hob::as_completed(std::move(tasks)), hob::usage_error);
        co_await test::settle();
        CHECK(started == 0);
    };
    program.run(main());
}

TEST_CASE("a wait for very many tasks looks at each of them once", "[wait]") {
    constexpr int count = 100'000;
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        std::vector<hob::task_handle<int>> handles;
        for (int number = 0; number != count; ++number)
            handles.push_back(hob::create_task(test::value_after(open, number)));
        co_await hob::yield();
        open.open();
        const auto result = co_await hob::wait(std::move(handles));
        CHECK(result.done.size() == count);
        CHECK(result.pending.empty());
    };
    program.run(main());
}
