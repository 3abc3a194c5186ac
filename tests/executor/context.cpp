// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/context_variable.hpp>
#include <hob/executor/run_in_executor.hpp>
#include <hob/run.hpp>
#include <hob/sleep.hpp>

#include <chrono>
#include <string>
#include <vector>

using namespace std::chrono_literals;

TEST_CASE("a callback sees the context variables of what scheduled it", "[context]") {
    hob::context_variable<std::string> user("user", "nobody");
    std::vector<std::string> seen;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        auto& loop = hob::event_loop::current();
        const auto look = [&] { seen.push_back(user.get()); };
        user.set("first");
        loop.call_soon(look);
        loop.call_later(1ms, look);
        CHECK(loop.call_soon_threadsafe(look));
        user.set("second");
        co_await hob::sleep_for(2ms);
        CHECK(seen == std::vector<std::string>(3, "first"));
        CHECK(user.get() == "second");
    };
    program.run(main());
}

TEST_CASE("what a callback sets is its own, and goes to what it starts", "[context]") {
    hob::context_variable<std::string> user("user", "nobody");
    std::vector<std::string> seen;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        auto& loop = hob::event_loop::current();
        const auto look = [&] { seen.push_back(user.get()); };
        auto look_in_task = [&]() -> hob::task<> {
            seen.push_back(user.get() + " in a task");
            co_return;
        };
        user.set("outer");
        loop.call_soon([&] {
            user.set("inner");
            look();
            loop.call_soon(look);
            hob::create_task(look_in_task());
            hob::create_task(look_in_task(), hob::eager);
        });
        loop.call_soon(look);
        co_await test::settle();
        CHECK(seen == std::vector<std::string>{"inner", "inner in a task", "outer", "inner",
                                               "inner in a task"});
        CHECK(user.get() == "outer");
    };
    program.run(main());
}

TEST_CASE("a done callback sees the context of who added it", "[context]") {
    hob::context_variable<int> number("number", 0);
    int seen = -1;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        number.set(1);
        auto change = [&]() -> hob::task<> {
            number.set(2);
            co_return;
        };
        const auto task = hob::create_task(change());
        task.add_done_callback([&](const auto&) { seen = number.get(); });
        co_await test::settle();
        CHECK(seen == 1);
    };
    program.run(main());
}

TEST_CASE("a job of a thread pool sees the context variables of its task", "[context]") {
    hob::context_variable<std::string> user("user", "nobody");
    hob::thread_pool pool;
    auto main = [&]() -> hob::task<> {
        const auto look = [&] { return user.get(); };
        CHECK(co_await hob::run_in_executor(pool, look) == "nobody");
        user.set("somebody");
        CHECK(co_await hob::run_in_executor(pool, look) == "somebody");
        CHECK(co_await hob::run_in_executor(pool, hob::abandon_on_cancel, look) == "somebody");
        CHECK(co_await hob::to_thread(look) == "somebody");
        const auto change = [&] {
            user.set("a thread");
            return user.get();
        };
        CHECK(co_await hob::run_in_executor(pool, change) == "a thread");
        CHECK(co_await hob::run_in_executor(pool, look) == "somebody");
    };
    hob::run(main());
}

TEST_CASE("a loop inside a job begins with the context of the job", "[context]") {
    hob::context_variable<int> number("number", 0);
    auto main = [&]() -> hob::task<> {
        number.set(7);
        const auto run_inside = [&] {
            auto inside = [&]() -> hob::task<int> {
                const int found = number.get();
                number.set(8);
                co_return found;
            };
            const int found = hob::run(inside());
            return found * 10 + number.get();
        };
        CHECK(co_await hob::to_thread(run_inside) == 77);
    };
    hob::run(main());
}

TEST_CASE("a context variable cannot be set where nothing runs", "[context]") {
    hob::context_variable<int> number("number", 0);
    CHECK_THROWS_AS(number.set(1), hob::usage_error);
    CHECK(number.get() == 0);
}
