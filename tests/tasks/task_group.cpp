// SPDX-License-Identifier: MIT
// Task groups whose tasks do not fail.
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/finally.hpp>
#include <hob/gather.hpp>
#include <hob/task_group.hpp>
#include <hob/timeout.hpp>

#include <algorithm>
#include <functional>
#include <memory>

using namespace std::chrono_literals;
using test::gate;

TEST_CASE("a task group waits for all of its children", "[tg-join]") {
    test::program program(test::any_loop());
    gate open;
    int done = 0;
    auto child = [&]() -> hob::task<> {
        co_await open.wait();
        ++done;
    };
    auto body = [&](hob::task_group& group) -> hob::task<int> {
        for (int index = 0; index != 5; ++index)
            group.start(child());
        CHECK(group.size() == 5);
        CHECK(done == 0);
        co_return 42;
    };
    auto main = [&]() -> hob::task<> {
        hob::event_loop::current().call_soon(
            [&] { hob::event_loop::current().call_soon([&] { open.open(); }); });
        const int value = co_await hob::with_task_group(body);
        CHECK(value == 42);
        CHECK(done == 5);
    };
    program.run(main());
}

TEST_CASE("a task group without children is over with its body", "[tg-join]") {
    test::program program(test::any_loop());
    auto body = [](hob::task_group&) -> hob::task<> { co_return; };
    auto main = [&]() -> hob::task<> {
        bool turned = false;
        hob::event_loop::current().call_soon([&] { turned = true; });
        co_await hob::with_task_group(body);
        CHECK_FALSE(turned);
    };
    program.run(main());
}

TEST_CASE("a body that outlives its children ends its group", "[tg-join]") {
    test::program program(test::any_loop());
    gate open;
    auto body = [&](hob::task_group& group) -> hob::task<int> {
        group.start(test::value_now(1));
        co_await test::settle();
        CHECK(group.size() == 0);
        hob::event_loop::current().call_soon([&] { open.open(); });
        co_await open.wait();
        co_return 3;
    };
    auto main = [&]() -> hob::task<> {
        const int value = co_await hob::with_task_group(body);
        CHECK(value == 3);
    };
    program.run(main());
}

TEST_CASE("children may refer to what the body has captured", "[tg-join]") {
    test::program program(test::any_loop());
    int seen = 0;
    auto main = [&]() -> hob::task<> {
        auto shared = std::make_shared<int>(7);
        auto body = [shared = std::move(shared), &seen](hob::task_group& group) -> hob::task<> {
            auto child = [](const int& value, int& out) -> hob::task<> {
                co_await test::settle();
                out = value;
            };
            group.start(child(*shared, seen));
            co_return;
        };
        co_await hob::with_task_group(body);
        CHECK(seen == 7);
    };
    program.run(main());
}

TEST_CASE("children start in the order of their creation and not inside start", "[tg-join]") {
    test::program program(test::any_loop());
    std::vector<int> order;
    auto child = [&](int number) -> hob::task<> {
        order.push_back(number);
        co_return;
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        for (int number = 0; number != 10; ++number)
            group.start(child(number));
        CHECK(order.empty());
        co_return;
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    program.run(main());
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
}

TEST_CASE("a child with a handle gives its value inside and after its group", "[tg-join]") {
    test::program program(test::any_loop());
    hob::task_handle<int> kept;
    auto body = [&](hob::task_group& group) -> hob::task<> {
        kept = group.create_task(test::value_now(4));
        auto other = group.create_task(test::value_now(5));
        const int value = co_await other;
        CHECK(value == 5);
    };
    auto main = [&]() -> hob::task<> {
        co_await hob::with_task_group(body);
        CHECK(kept.done());
        const int value = co_await kept;
        CHECK(value == 4);
        CHECK_FALSE(kept.cancel());
    };
    program.run(main());
}

TEST_CASE("cancelling one child does not fail its group", "[tg-cancel-one]") {
    test::program program(test::any_loop());
    gate never;
    gate open;
    int done = 0;
    auto sibling = [&]() -> hob::task<> {
        co_await open.wait();
        ++done;
    };
    auto body = [&](hob::task_group& group) -> hob::task<int> {
        auto victim = group.create_task(test::value_after(never, 1));
        group.start(sibling());
        co_await test::settle();
        victim.cancel();
        CHECK_THROWS_AS(co_await victim, hob::cancelled_error);
        CHECK(group.size() == 1);
        open.open();
        co_return 2;
    };
    auto main = [&]() -> hob::task<> {
        const int value = co_await hob::with_task_group(body);
        CHECK(value == 2);
        CHECK(done == 1);
        co_await hob::yield();
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("children start siblings", "[tg-join]") {
    test::program program(test::any_loop());
    int ran = 0;
    auto body = [&](hob::task_group& group) -> hob::task<> {
        auto spawning = [&ran](auto& self, hob::task_group& owner, int depth) -> hob::task<> {
            ++ran;
            if (depth == 0)
                co_return;
            owner.start(self(self, owner, depth - 1));
            co_await hob::yield();
            owner.start(self(self, owner, depth - 1));
        };
        // The closure has to outlive the body: children await after it has ended.
        group.start(spawning(spawning, group, 10));
        while (group.size() != 0)
            co_await hob::yield();
    };
    auto main = [&]() -> hob::task<> {
        co_await hob::with_task_group(body);
        CHECK(ran == (1 << 11) - 1);
    };
    program.run(main());
}

TEST_CASE("a hundred thousand short children take the memory of those that are alive",
          "[tg-bounded]") {
    test::program program(test::any_loop());
    constexpr int concurrency = 16;
    const int count = 100'000;
    int alive = 0;
    int most = 0;
    int done = 0;
    auto child = [&]() -> hob::task<> {
        const test::counted self(alive);
        most = std::max(most, alive);
        co_await hob::yield();
        ++done;
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        long before = 0;
        for (int index = 0; index != count; ++index) {
            while (group.size() >= concurrency)
                co_await hob::yield();
            group.start(child());
            if (index == count / 10)
                before = test::resident_kib();
        }
        if (!test::sanitized)
            CHECK(test::resident_kib() - before < 512);
    };
    auto main = [&]() -> hob::task<> {
        co_await hob::with_task_group(body);
        CHECK(done == count);
        CHECK(most <= 2 * concurrency);
        CHECK(alive == 0);
    };
    program.run(main());
}

TEST_CASE("a thousand groups nest", "[tg-nest]") {
    test::program program(test::any_loop());
    int deepest = 0;
    std::function<hob::task<>(int)> level = [&](int depth) -> hob::task<> {
        deepest = std::max(deepest, depth);
        if (depth == 1000)
            co_return;
        auto body = [&, depth](hob::task_group& group) -> hob::task<> {
            group.start(level(depth + 1));
            co_return;
        };
        co_await hob::with_task_group(body);
    };
    auto main = [&]() -> hob::task<> { co_await level(0); };
    program.run(main());
    CHECK(deepest == 1000);
}

TEST_CASE("a body that is no coroutine may start children", "[tg-join]") {
    test::program program(test::any_loop());
    int done = 0;
    auto child = [&]() -> hob::task<> {
        co_await hob::yield();
        ++done;
    };
    auto body = [&](hob::task_group& group) {
        group.start(child());
        group.start(child());
        return test::value_now(6);
    };
    auto main = [&]() -> hob::task<> {
        const int value = co_await hob::with_task_group(body);
        CHECK(value == 6);
        CHECK(done == 2);
    };
    program.run(main());
}

TEST_CASE("a task group refuses a task that was moved from", "[tg-misuse]") {
    test::program program(test::any_loop());
    auto body = [&](hob::task_group& group) -> hob::task<> {
        CHECK_THROWS_AS(group.start(hob::task<>(nullptr)), hob::usage_error);
        CHECK(group.size() == 0);
        co_return;
    };
    auto empty_body = [](hob::task_group&) { return hob::task<>(nullptr); };
    auto main = [&]() -> hob::task<> {
        co_await hob::with_task_group(body);
        CHECK_THROWS_AS(co_await hob::with_task_group(empty_body), hob::exception_group);
    };
    program.run(main());
}

TEST_CASE("starting a task in a group that has ended throws and destroys the task",
          "[tg-late-create]") {
    test::program program(test::any_loop());
    int alive = 0;
    bool tried = false;
    auto late = [](test::counted) -> hob::task<> { co_return; };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        auto child = [](hob::task_group&) -> hob::task<> { co_return; };
        group.start(child(group));
        // Runs in the turn of the child's end, before the group's caller is resumed.
        hob::event_loop::current().call_soon([&] {
            tried = true;
            test::counted argument(alive);
            CHECK_THROWS_AS(group.start(late(std::move(argument))), hob::usage_error);
        });
        co_return;
    };
    auto main = [&]() -> hob::task<> {
        co_await hob::with_task_group(body);
        CHECK(tried);
        CHECK(alive == 0);
    };
    program.run(main());
}

TEST_CASE("a timeout around a task group leaves no child alive", "[tg-ext-cancel][to-group]") {
    test::program program(test::any_loop());
    gate never;
    int alive = 0;
    auto child = [&]() -> hob::task<> {
        const test::counted self(alive);
        co_await never.wait();
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        for (int index = 0; index != 10; ++index)
            group.start(child());
        co_await child();
    };
    auto main = [&]() -> hob::task<> {
        CHECK_THROWS_AS(co_await hob::timeout(1ms, hob::with_task_group(body)), hob::timeout_error);
        CHECK(alive == 0);
        co_await hob::yield();
    };
    program.run(main());
    CHECK(program.reports.empty());
}
