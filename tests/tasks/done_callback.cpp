// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/gather.hpp>
#include <hob/sync/future.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

using test::gate;

TEST_CASE("a future is settled once, and refuses a second outcome", "[once-done]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const hob::future<int> value;
        CHECK_FALSE(value.done());
        value.set_result(1);
        CHECK(value.done());
        CHECK_THROWS_AS(value.set_result(2), hob::usage_error);
        CHECK_THROWS_AS(value.set_exception(std::make_exception_ptr(3)), hob::usage_error);
        CHECK_FALSE(value.cancel());
        const int result = co_await value;
        CHECK(result == 1);

        const hob::future<> cancelled;
        CHECK(cancelled.cancel());
        CHECK(cancelled.cancelled());
        CHECK_FALSE(cancelled.cancel());
        CHECK_THROWS_AS(cancelled.set_result(), hob::usage_error);
        CHECK_THROWS_AS(co_await cancelled, hob::cancelled_error);

        const hob::future<std::unique_ptr<int>> failed;
        failed.set_exception(std::make_exception_ptr(std::runtime_error("failed")));
        CHECK_THROWS_WITH(co_await failed, "failed");
        CHECK_THROWS_WITH(co_await failed, "failed");
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("any number of tasks await one future, and wake in order", "[multi-await]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const hob::future<std::string> value;
        std::string log;
        auto wait = [&](char name) -> hob::task<> {
            const std::string& seen = co_await value;
            log += name + seen;
        };
        const auto first = hob::create_task(wait('a'));
        const auto second = hob::create_task(wait('b'));
        const auto third = hob::create_task(wait('c'));
        co_await test::settle();
        second.cancel();
        value.set_result("!");
        CHECK(log.empty());
        co_await hob::gather(first, third);
        CHECK(log.substr(0, 2) == "a!");
        CHECK(log.ends_with("c!"));
        CHECK(value.done());
    };
    program.run(main());
}

TEST_CASE("done-callbacks run through the ready queue in the order of registration",
          "[callbacks]") {
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        std::string log;
        const hob::future<int> value;
        value.add_done_callback([&](const hob::future<int>& done) {
            CHECK(done == value);
            CHECK(done.done());
            log += "1";
        });
        auto second = value.add_done_callback([&](const hob::future<int>&) { log += "2"; });
        value.add_done_callback([&](const hob::future<int>&) { log += "3"; });
        CHECK(second.cancel());
        value.set_result(7);
        CHECK(log.empty());
        value.add_done_callback([&](const hob::future<int>&) { log += "4"; });
        CHECK(log.empty());
        co_await test::settle();
        CHECK(log == "134");

        log.clear();
        const auto task = hob::create_task(test::value_after(open, 1));
        task.add_done_callback([&](const hob::task_handle<int>& done) {
            CHECK(done == task);
            log += "a";
        });
        task.add_done_callback([&](const hob::task_handle<int>&) { log += "b"; });
        open.open();
        co_await task;
        task.add_done_callback([&](const hob::task_handle<int>&) { log += "c"; });
        co_await test::settle();
        CHECK(log == "abc");
    };
    program.run(main());
}

TEST_CASE("callbacks may add, cancel and drop callbacks", "[callbacks-mutate]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        std::string log;
        std::optional<hob::future<>> value;
        value.emplace();
        std::vector<hob::call_handle> handles;
        handles.push_back(value->add_done_callback([&](hob::future<> self) {
            log += "a";
            CHECK(handles[1].cancel());
            CHECK_FALSE(handles[0].cancel());
            handles.push_back(self.add_done_callback([&](const hob::future<>&) { log += "d"; }));
            handles.clear();
        }));
        handles.push_back(value->add_done_callback([&](const hob::future<>&) { log += "b"; }));
        value->add_done_callback([&](const hob::future<>&) { log += "c"; });
        value->set_result();
        co_await test::settle();
        CHECK(log == "acd");
    };
    program.run(main());
}

TEST_CASE("the last reference may go from inside a callback", "[destroy-in-cb]") {
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        int ran = 0;
        auto value = std::make_unique<hob::future<int>>();
        value->add_done_callback([&](const hob::future<int>&) {
            value.reset();
            ++ran;
        });
        value->set_result(1);
        auto task =
            std::make_unique<hob::task_handle<int>>(hob::create_task(test::value_after(open, 1)));
        task->add_done_callback([&](const hob::task_handle<int>&) {
            task.reset();
            ++ran;
        });
        open.open();
        while (ran != 2)
            co_await hob::yield();
        // A callback that the loop's closing overtakes, and one of a future that nobody settles.
        hob::future<> never;
        never.add_done_callback([kept = std::make_shared<int>(1)](const hob::future<>&) {});
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a callback that throws is reported, and the others run", "[callback-exc]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const hob::future<> value;
        bool ran = false;
        value.add_done_callback([](const hob::future<>&) { throw std::runtime_error("callback"); });
        value.add_done_callback([&](const hob::future<>&) { ran = true; });
        value.set_result();
        co_await test::settle();
        CHECK(ran);
    };
    program.run(main());
    REQUIRE(program.reports.size() == 1);
    CHECK(hob::exception_group::describe(program.reports[0].exception) == "callback");
}

TEST_CASE("an exception in a future that nobody retrieves is reported once", "[detached-exc]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        {
            const hob::future<int> lost;
            const auto copy = lost;
            copy.set_exception(std::make_exception_ptr(std::runtime_error("lost")));
        }
        co_return;
    };
    program.run(main());
    REQUIRE(program.reports.size() == 1);
    CHECK(hob::exception_group::describe(program.reports[0].exception) == "lost");
}

TEST_CASE("a future belongs to the first loop that awaits it", "[prim-loop]") {
    const hob::future<> value;
    auto wait = [&]() -> hob::task<> { co_await value; };
    test::program first;
    auto main = [&]() -> hob::task<> {
        hob::create_task(wait());
        co_await test::settle();
    };
    first.run(main());
    {
        test::program second;
        CHECK_THROWS_AS(second.run(wait()), hob::usage_error);
    }
    value.set_result();
    first.run(wait());
}
