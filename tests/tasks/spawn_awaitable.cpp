// SPDX-License-Identifier: MIT
// create_task and the start of a group with what is no task, but can be awaited.
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/executor/run_in_executor.hpp>
#include <hob/gather.hpp>
#include <hob/race.hpp>
#include <hob/sync/event.hpp>
#include <hob/sync/future.hpp>
#include <hob/sync/mutex.hpp>
#include <hob/sync/queue.hpp>
#include <hob/task_group.hpp>
#include <hob/timeout.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

using namespace std::chrono_literals;

TEST_CASE("an operation runs as a task while its maker goes on", "[create-task]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        hob::queue<std::unique_ptr<int>> items(1);
        auto item = hob::create_task(items.get());
        const auto job = hob::create_task(hob::to_thread([] { return 3; }));
        co_await items.put(std::make_unique<int>(5));
        const std::unique_ptr<int> got = co_await std::move(item);
        CHECK(*got == 5);
        CHECK(co_await job == 3);
    };
    program.run(main());
}

TEST_CASE("an operation that runs as a task is cancelled like one", "[create-task]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const auto sleeping = hob::create_task(hob::sleep_for(1h));
        co_await test::settle();
        CHECK_FALSE(sleeping.done());
        sleeping.cancel();
        co_await test::settle();
        CHECK(sleeping.cancelled());
    };
    program.run(main());
}

TEST_CASE("a cancelled task of an operation takes nothing", "[q-get-cancel]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        hob::queue<int> items(1);
        const auto getting = hob::create_task(items.get());
        co_await test::settle();
        getting.cancel();
        co_await test::settle();
        co_await items.put(1);
        co_await test::settle();
        CHECK(getting.cancelled());
        CHECK(items.size() == 1);
    };
    program.run(main());
}

TEST_CASE("a lock is held by the task's result", "[create-task]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        hob::mutex lock;
        auto locking = hob::create_task(lock.lock());
        co_await test::settle();
        CHECK(lock.is_locked());
        {
            const hob::mutex_guard guard = co_await std::move(locking);
            CHECK(guard.owns_lock());
        }
        CHECK_FALSE(lock.is_locked());
    };
    program.run(main());
}

TEST_CASE("a task keeps the value that its awaitable refers to", "[value]") {
    test::program program(test::any_loop());
    const std::string text(100, 'x');
    auto main = [&]() -> hob::task<> {
        hob::task_handle<std::string> of_future;
        hob::task_handle<std::string> of_handle;
        {
            const hob::future<std::string> value;
            value.set_result(text);
            of_future = hob::create_task(value);
            auto make = [](const std::string& made) -> hob::task<std::string> { co_return made; };
            const auto first = hob::create_task(make(text));
            of_handle = hob::create_task(first);
        }
        co_await test::settle();
        CHECK(of_future.result() == text);
        CHECK(of_handle.result() == text);
    };
    program.run(main());
}

TEST_CASE("an operation runs eagerly to where it has to wait", "[eager]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        hob::event happened;
        const auto waiting = hob::create_task(happened.wait(), hob::eager);
        CHECK_FALSE(waiting.done());
        happened.set();
        const auto passing = hob::create_task(happened.wait(), hob::eager);
        CHECK(passing.done());
        co_await waiting;
    };
    program.run(main());
}

TEST_CASE("combinators are spawned like operations", "[create-task]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const auto both = hob::create_task(hob::gather(test::value_now(1), test::value_now(2)));
        const auto limited = hob::create_task(hob::try_timeout(1h, test::value_now(3)));
        const auto [first, second] = co_await both;
        CHECK(first + second == 3);
        CHECK(co_await limited == 3);
    };
    program.run(main());
}

TEST_CASE("a group's children are operations too", "[tg-join]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        hob::event happened;
        hob::queue<int> items(1);
        co_await hob::with_task_group([&](hob::task_group& group) -> hob::task<> {
            group.start(happened.wait());
            group.start(hob::sleep_for(1ms));
            const auto item = group.create_task(items.get());
            CHECK(group.size() == 3);
            happened.set();
            co_await items.put(4);
            CHECK(co_await item == 4);
        });
    };
    program.run(main());
}

TEST_CASE("the failure of a group's operation is the group's", "[tg-sibling]") {
    test::program program(test::any_loop());
    bool was_stopped = true;
    auto main = [&]() -> hob::task<> {
        hob::future<> failed;
        try {
            co_await hob::with_task_group([&](hob::task_group& group) -> hob::task<> {
                group.start(failed);
                group.start(hob::sleep_for(1h));
                failed.set_exception(std::make_exception_ptr(std::runtime_error("no soup")));
                co_await hob::sleep_for(1h);
                was_stopped = false;
            });
            FAIL("the group did not fail");
        } catch (const hob::exception_group& group) {
            CHECK(test::messages(group) == std::vector<std::string>{"no soup"});
        }
    };
    program.run(main());
    CHECK(was_stopped);
    CHECK(program.reports.empty());
}
