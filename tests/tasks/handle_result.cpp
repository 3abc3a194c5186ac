// SPDX-License-Identifier: MIT
// The outcome of tasks and futures where nothing can be awaited.
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/current_task.hpp>
#include <hob/gather.hpp>
#include <hob/sync/future.hpp>
#include <hob/wait.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

using test::gate;
using test::make_pointer;

namespace {

hob::task<int&> refer_to(int& value) {
    co_return value;
}
hob::task<> do_nothing() {
    co_return;
}

} // namespace

TEST_CASE("a done-callback asks its task how it ended", "[callbacks][retrieved]") {
    gate never;
    test::program program(test::any_loop());
    std::vector<std::string> log;
    auto main = [&]() -> hob::task<> {
        const auto tell = [&](const hob::task_handle<int>& ended) {
            try {
                log.push_back(std::to_string(ended.result()));
            } catch (const std::exception& error) {
                log.emplace_back(error.what());
            }
        };
        const auto returns = hob::create_task(test::value_now(7));
        const auto fails = hob::create_task(test::failure_now("no soup"));
        const auto waits = hob::create_task(test::value_after(never, 1));
        waits.set_name("waits");
        for (const auto* each : {&returns, &fails, &waits})
            each->add_done_callback(tell);
        co_await test::settle();
        waits.cancel();
        co_await test::settle();
    };
    program.run(main());
    CHECK(log.size() == 3);
    CHECK(log[0] == "7");
    CHECK(log[1] == "no soup");
    CHECK_THAT(log[2], test::contains("cancelled: waits"));
    CHECK(program.reports.empty());
}

TEST_CASE("the exception of a task that is asked for is not reported", "[retrieved]") {
    gate never;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const auto returns = hob::create_task(test::value_now(1));
        const auto fails = hob::create_task(test::failure_now("no soup"));
        const auto stopped = hob::create_task(test::value_after(never, 1));
        CHECK_THROWS_AS(returns.result(), hob::usage_error);
        CHECK_THROWS_AS(returns.exception(), hob::usage_error);
        co_await test::settle();
        CHECK(returns.exception() == nullptr);
        CHECK(hob::exception_group::describe(fails.exception()) == "no soup");
        stopped.cancel();
        co_await test::settle();
        CHECK_THROWS_AS(stopped.exception(), hob::cancelled_error);
        CHECK_THROWS_AS(stopped.result(), hob::cancelled_error);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("asking whether a failed task is done does not retrieve its exception",
          "[detached-exc]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const auto fails = hob::create_task(test::failure_now("no soup"));
        co_await test::settle();
        CHECK(fails.done());
    };
    program.run(main());
    CHECK(program.reports.size() == 1);
}

TEST_CASE("a result is a reference to the value, or the value itself of a handle given away",
          "[value]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        auto made = hob::create_task(make_pointer(5));
        int number = 1;
        const auto referring = hob::create_task(refer_to(number));
        const auto nothing = hob::create_task(do_nothing());
        co_await test::settle();
        static_assert(std::is_same_v<decltype(made.result()), const std::unique_ptr<int>&>);
        CHECK(&made.result() == &made.result());
        const std::unique_ptr<int> taken = std::move(made).result();
        CHECK(*taken == 5);
        CHECK(&referring.result() == &number);
        nothing.result();
    };
    program.run(main());
}

TEST_CASE("an empty handle has no result", "[task-misuse]") {
    const hob::task_handle<int> empty;
    CHECK_THROWS_AS(empty.result(), hob::usage_error);
    CHECK_THROWS_AS(empty.exception(), hob::usage_error);
}

TEST_CASE("what wait gives is asked at once", "[wait-modes]") {
    gate never;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        std::vector<hob::task_handle<int>> tasks;
        tasks.push_back(hob::create_task(test::value_after(never, 1)));
        tasks.push_back(hob::create_task(test::value_now(2)));
        const auto [done, pending] = co_await hob::wait(tasks, hob::return_when::first_completed);
        CHECK(done.size() == 1);
        CHECK(done[0].result() == 2);
        pending[0].cancel();
    };
    program.run(main());
}

TEST_CASE("a callback asks its future for the outcome", "[callbacks][once-done][retrieved]") {
    test::program program(test::any_loop());
    std::vector<std::string> log;
    auto main = [&]() -> hob::task<> {
        const hob::future<int> value;
        const hob::future<int> failed;
        const hob::future<int> cancelled;
        const hob::future<> empty;
        CHECK_THROWS_AS(value.result(), hob::usage_error);
        CHECK_THROWS_AS(value.exception(), hob::usage_error);
        const auto tell = [&](const hob::future<int>& settled) {
            try {
                log.push_back(std::to_string(settled.result()));
            } catch (const std::exception& error) {
                log.emplace_back(error.what());
            }
        };
        for (const auto* each : {&value, &failed, &cancelled})
            each->add_done_callback(tell);
        value.set_result(7);
        failed.set_exception(std::make_exception_ptr(std::runtime_error("no soup")));
        cancelled.cancel();
        empty.set_result();
        co_await test::settle();
        CHECK(value.exception() == nullptr);
        CHECK(hob::exception_group::describe(failed.exception()) == "no soup");
        CHECK_THROWS_AS(cancelled.exception(), hob::cancelled_error);
        CHECK(empty.exception() == nullptr);
        empty.result();
    };
    program.run(main());
    CHECK(log.size() == 3);
    CHECK(log[0] == "7");
    CHECK(log[1] == "no soup");
    CHECK(program.reports.empty());
}

TEST_CASE("the exception of a future that is asked for is not reported", "[retrieved]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const hob::future<> failed;
        failed.set_exception(std::make_exception_ptr(std::runtime_error("no soup")));
        CHECK(failed.exception() != nullptr);
        co_return;
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a temporary future gives its value away before it goes", "[value]") {
    test::program program(test::any_loop());
    const std::string text(100, 'x');
    auto main = [&]() -> hob::task<> {
        const auto make = [&] {
            const hob::future<std::string> made;
            made.set_result(text);
            return made;
        };
        const auto [copy] = co_await hob::gather(make());
        CHECK(copy == text);

        int number = 1;
        hob::future<int&> reference;
        reference.set_result(number);
        int& found = co_await std::move(reference);
        CHECK(&found == &number);
    };
    program.run(main());
}

TEST_CASE("tasks are keys of tables", "[task-handle]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        std::unordered_map<hob::task_handle<int>, std::string> clients;
        std::unordered_set<hob::any_task_handle> tasks;
        const auto first = hob::create_task(test::value_now(1));
        const auto second = hob::create_task(test::value_now(2));
        clients[first] = "first";
        clients[second] = "second";
        CHECK(clients.size() == 2);
        CHECK(clients.at(second) == "second");
        tasks.insert(first);
        CHECK(tasks.contains(first));
        CHECK_FALSE(tasks.contains(second));
        first.add_done_callback([&](const hob::task_handle<int>& ended) { clients.erase(ended); });
        co_await test::settle();
        CHECK(clients.size() == 1);
    };
    program.run(main());
}
