// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/as_completed.hpp>
#include <hob/async_generator.hpp>
#include <hob/current_task.hpp>
#include <hob/task_group.hpp>
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

TEST_CASE("wait takes tasks with results of several types", "[wait-modes]") {
    gate first;
    gate second;
    test::program program(test::any_loop());
    auto wait_only = [&]() -> hob::task<> { co_await second.wait(); };
    auto main = [&]() -> hob::task<> {
        const auto number = hob::create_task(test::value_after(first, 1));
        const auto nothing = hob::create_task(wait_only());
        const auto failing = hob::create_task(fail_after(second, "second"));
        const std::vector<hob::any_task_handle> tasks{number, nothing, failing};
        first.open();
        const auto one = co_await hob::wait(tasks, return_when::first_completed);
        CHECK(one.done == std::vector<hob::any_task_handle>{number});
        CHECK(one.pending == std::vector<hob::any_task_handle>{nothing, failing});
        CHECK(number.result() == 1);

        one.pending[0].cancel();
        co_await test::settle();
        second.open();
        const auto all = co_await hob::wait(tasks);
        CHECK(all.done == tasks);
        CHECK(all.pending.empty());
        CHECK(all.done[1].cancelled());
        CHECK(hob::exception_group::describe(failing.exception()) == "second");
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("all other tasks can be cancelled and waited for", "[wait-modes][all-tasks]") {
    gate never;
    test::program program(test::any_loop());
    int alive = 0;
    auto values = [&]() -> hob::async_generator<int> {
        const test::counted here(alive);
        co_yield 1;
        co_await never.wait();
    };
    auto sleeper = [&]() -> hob::task<> {
        const test::counted here(alive);
        co_await never.wait();
    };
    auto consumer = [&]() -> hob::task<> {
        auto generator = values();
        while (co_await generator.next())
            ;
    };
    auto group = [&](hob::task_group& children) -> hob::task<> {
        children.start(sleeper());
        co_await never.wait();
    };
    auto grouped = [&]() -> hob::task<> { co_await hob::with_task_group(group); };
    auto main = [&]() -> hob::task<> {
        hob::create_task(consumer());
        hob::create_task(sleeper());
        hob::create_task(grouped());
        co_await test::settle();
        CHECK(alive == 3);
        const hob::any_task_handle self = hob::current_task();
        std::vector<hob::any_task_handle> others;
        for (const hob::any_task_handle& each : hob::all_tasks())
            if (each != self)
                others.push_back(each);
        CHECK(others.size() == 5); // the generator is one
        for (const hob::any_task_handle& each : others)
            each.cancel();
        const auto ended = co_await hob::wait(others);
        CHECK(ended.pending.empty());
        CHECK(alive == 0);
    };
    program.run(main());
}

TEST_CASE("a task that waits for its own end is told so, unless there is another way out",
          "[self-await]") {
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const auto other = hob::create_task(test::value_after(open, 1));
        const std::vector<hob::any_task_handle> both{hob::current_task(), other};
        CHECK_THROWS_WITH(co_await hob::wait(both), "a task awaits itself");
        const auto limited = co_await hob::wait(both, return_when::all_completed, 0s);
        CHECK(limited.pending == both);
        open.open();
        const auto first = co_await hob::wait(both, return_when::first_completed);
        CHECK(first.done == std::vector<hob::any_task_handle>{other});
        CHECK(first.pending == std::vector<hob::any_task_handle>{hob::current_task()});
    };
    program.run(main());
}

TEST_CASE("a child without a handle can be waited for, and its failure counts", "[wait-modes]") {
    gate first;
    gate never;
    test::program program(test::any_loop());
    auto waits = [&](gate& open) -> hob::task<> { co_await open.wait(); };
    auto fails = [&]() -> hob::task<> {
        co_await first.wait();
        throw std::runtime_error("the child's");
    };
    std::vector<hob::any_task_handle> children;
    auto body = [&](hob::task_group& group) -> hob::task<> {
        group.start(waits(never));
        group.start(fails());
        group.start(waits(never));
        const hob::any_task_handle self = hob::current_task();
        for (const hob::any_task_handle& each : hob::all_tasks())
            if (each != self)
                children.push_back(each);
        co_await never.wait();
    };
    auto grouped = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    auto main = [&]() -> hob::task<> {
        const auto owner = hob::create_task(grouped());
        co_await test::settle();
        std::erase(children, hob::any_task_handle(owner));
        std::erase(children, hob::current_task());
        CHECK(children.size() == 3);
        hob::event_loop::current().call_soon([&] { first.open(); });
        const auto failed = co_await hob::wait(children, return_when::first_exception);
        CHECK(failed.done == std::vector<hob::any_task_handle>{children[1]});
        // The others are cancelled, and end without having failed.
        const auto all = co_await hob::wait(children);
        CHECK(all.done == children);
        CHECK(children[0].cancelled());
        CHECK_FALSE(children[1].cancelled());
        const auto again = co_await hob::wait(children, return_when::first_exception, 0s);
        CHECK(again.done == children);
        CHECK_THROWS_AS(co_await owner, hob::exception_group);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a wait for children without handles that is cancelled leaves no trace", "[wait-modes]") {
    gate open;
    gate never;
    test::program program(test::any_loop());
    auto waits = [&](gate& until) -> hob::task<> { co_await until.wait(); };
    auto main = [&]() -> hob::task<> {
        auto body = [&](hob::task_group& group) -> hob::task<> {
            group.start(waits(open));
            std::vector<hob::any_task_handle> children;
            for (const hob::any_task_handle& each : hob::all_tasks())
                if (each != hob::current_task())
                    children.push_back(each);
            auto waiting = [&]() -> hob::task<> { co_await hob::wait(children); };
            const auto first = group.create_task(waiting());
            const auto second = group.create_task(waiting());
            co_await test::settle();
            first.cancel();
            co_await test::settle();
            CHECK(first.cancelled());
            open.open();
            co_await second;
        };
        co_await hob::with_task_group(body);
    };
    program.run(main());
}

TEST_CASE("an empty any_task_handle cannot be waited for", "[wait-modes]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const std::vector<hob::any_task_handle> empty(1);
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

TEST_CASE("as_completed takes no task of another loop", "[as-completed][wrong-thread]") {
    test::program program;
    gate never;
    hob::task_handle<int> foreign;
    auto make = [&]() -> hob::task<> {
        foreign = hob::create_task(test::value_after(never, 1));
        co_return;
    };
    program.run(make());
    auto take = [&]() -> hob::task<> {
        const std::vector<hob::task_handle<int>> handles{foreign};
        CHECK_THROWS_AS(hob::as_completed(handles), hob::usage_error);
        co_return;
    };
    test::program().run(take());
    program.runner().close();
}
