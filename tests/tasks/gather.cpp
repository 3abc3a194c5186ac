// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/finally.hpp>
#include <hob/gather.hpp>
#include <hob/race.hpp>
#include <hob/sleep.hpp>
#include <hob/timeout.hpp>

#include <algorithm>
#include <array>
#include <memory>
#include <random>
#include <tuple>

using namespace std::chrono_literals;
using test::gate;

TEST_CASE("the results of a gather are in the order of its arguments", "[gather-order]") {
    test::program program(test::any_loop());
    std::array<gate, 3> gates;
    auto opener = [&]() -> hob::task<> {
        for (int index : {2, 0, 1}) {
            co_await test::settle(3);
            gates[static_cast<std::size_t>(index)].open();
        }
    };
    auto main = [&]() -> hob::task<> {
        auto opening = hob::create_task(opener());
        auto results =
            co_await hob::gather(test::value_after(gates[0], 10), test::value_after(gates[1], 11),
                                 test::value_after(gates[2], 12), test::value_now(13));
        CHECK(results == std::tuple(10, 11, 12, 13));
        co_await opening;
    };
    program.run(main());
}

TEST_CASE("the results of a gathered range are in its order", "[gather-order]") {
    test::program program(test::any_loop());
    constexpr std::size_t count = 1000;
    std::vector<gate> gates(count);
    auto opener = [&]() -> hob::task<> {
        std::vector<std::size_t> order(count);
        for (std::size_t index = 0; index != count; ++index)
            order[index] = index;
        std::shuffle(order.begin(), order.end(), std::mt19937(42));
        for (const std::size_t index : order) {
            gates[index].open();
            if (index % 7 == 0)
                co_await hob::yield();
        }
    };
    auto main = [&]() -> hob::task<> {
        auto opening = hob::create_task(opener());
        std::vector<hob::task<int>> tasks;
        for (std::size_t index = 0; index != count; ++index)
            tasks.push_back(test::value_after(gates[index], static_cast<int>(index)));
        const std::vector<int> results = co_await hob::gather(std::move(tasks));
        REQUIRE(results.size() == count);
        for (std::size_t index = 0; index != count; ++index)
            REQUIRE(results[index] == static_cast<int>(index));
        co_await opening;
    };
    program.run(main());
}

TEST_CASE("an empty gather completes at once", "[gather-order]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        bool turned = false;
        hob::event_loop::current().call_soon([&] { turned = true; });
        co_await hob::gather();
        co_await hob::gather(std::vector<hob::task<>>());
        const auto none = co_await hob::gather(std::vector<hob::task<int>>());
        CHECK(none.empty());
        CHECK_FALSE(turned);
    };
    program.run(main());
}

TEST_CASE("a gather of branches that do not suspend takes no turn", "[gather-order]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        bool turned = false;
        hob::event_loop::current().call_soon([&] { turned = true; });
        const auto results = co_await hob::gather(test::value_now(1), test::value_now(2));
        CHECK(results == std::tuple(1, 2));
        CHECK_FALSE(turned);
    };
    program.run(main());
}

TEST_CASE("void stands as monostate among the results of a gather", "[gather-order]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        std::tuple<std::monostate, int> mixed =
            co_await hob::gather(hob::yield(), test::value_now(2));
        CHECK(std::get<1>(mixed) == 2);
        using all_void = decltype(hob::gather(hob::yield(), hob::sleep_for(0s)));
        static_assert(std::is_void_v<hob::detail::await_result_t<all_void>>);
        co_await hob::gather(hob::yield(), hob::sleep_for(0s));
    };
    program.run(main());
}

TEST_CASE("a gather passes move-only values and references", "[gather-order]") {
    test::program program(test::any_loop());
    int target = 1;
    auto make = [](int value) -> hob::task<std::unique_ptr<int>> {
        co_await hob::yield();
        co_return std::make_unique<int>(value);
    };
    auto refer = [&]() -> hob::task<int&> {
        co_await hob::yield();
        co_return target;
    };
    auto main = [&]() -> hob::task<> {
        auto [pointer, reference] = co_await hob::gather(make(5), refer());
        CHECK(*pointer == 5);
        CHECK(&reference == &target);
        std::vector<hob::task<std::unique_ptr<int>>> tasks;
        tasks.push_back(make(6));
        tasks.push_back(make(7));
        auto pointers = co_await hob::gather(std::move(tasks));
        CHECK(*pointers[1] == 7);
    };
    program.run(main());
}

TEST_CASE("the first exception of a gather is thrown after all siblings have ended",
          "[gather-first-exc][gather-second-exc]") {
    test::program program(test::any_loop());
    std::array<gate, 3> gates;
    bool sibling_ended = false;
    auto sibling = [&]() -> hob::task<> {
        co_await gates[2].wait();
        sibling_ended = true;
    };
    auto opener = [&]() -> hob::task<> {
        co_await test::settle();
        gates[1].open(); // fails first
        co_await test::settle();
        gates[0].open(); // fails second
        co_await test::settle();
        CHECK_FALSE(sibling_ended);
        gates[2].open();
    };
    auto main = [&]() -> hob::task<> {
        auto opening = hob::create_task(opener());
        std::string message;
        try {
            co_await hob::gather(test::failure_after(gates[0], "second"),
                                 test::failure_after(gates[1], "first"), sibling());
        } catch (const std::runtime_error& error) {
            message = error.what();
        }
        CHECK(message == "first");
        CHECK(sibling_ended);
        co_await opening;
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a synchronous failure does not keep later branches of a gather from running",
          "[gather-first-exc]") {
    test::program program(test::any_loop());
    bool ran = false;
    auto late = [&]() -> hob::task<> {
        co_await hob::yield();
        ran = true;
    };
    auto main = [&]() -> hob::task<> {
        CHECK_THROWS_WITH(
            co_await hob::gather(test::failure_now("a"), test::failure_now("b"), late()), "a");
        CHECK(ran);
        std::vector<hob::task<int>> tasks;
        tasks.push_back(test::value_now(1));
        tasks.push_back(test::failure_now("c"));
        CHECK_THROWS_WITH(co_await hob::gather(std::move(tasks)), "c");
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a gathered handle whose task was cancelled makes the gather throw cancelled_error",
          "[gather-child-cancel]") {
    test::program program(test::any_loop());
    gate never;
    gate other;
    auto main = [&]() -> hob::task<> {
        auto victim = hob::create_task(test::value_after(never, 1));
        auto sibling = hob::create_task(test::value_after(other, 2));
        hob::event_loop::current().call_soon([&, victim] {
            victim.cancel();
            hob::event_loop::current().call_soon([&] { other.open(); });
        });
        CHECK_THROWS_AS(co_await hob::gather(victim, sibling), hob::cancelled_error);
        CHECK(sibling.done());
        // The caller itself goes on.
        co_await hob::yield();
        co_await test::settle();
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("cancelling a gather cancels every branch and waits for all cleanups",
          "[gather-cancel]") {
    test::program program(test::any_loop());
    gate never;
    gate cleanup_gate;
    std::vector<std::string> log;
    auto branch = [&](std::string name) -> hob::task<> {
        const test::at_exit note(log, name + " unwound");
        co_await never.wait();
        log.push_back("never");
    };
    auto cleanup = [&]() -> hob::task<> {
        co_await cleanup_gate.wait();
        log.push_back("cleaned");
    };
    auto gathering = [&]() -> hob::task<> {
        const test::at_exit note(log, "gatherer unwound");
        co_await hob::gather(branch("a"), hob::finally(branch("b"), cleanup()), branch("c"));
        log.push_back("never");
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(gathering());
        co_await test::settle();
        CHECK(handle.cancel());
        CHECK(log.empty()); // nothing runs on the stack of the canceller
        co_await test::settle();
        std::sort(log.begin(), log.end());
        CHECK(log == std::vector<std::string>{"a unwound", "b unwound", "c unwound"});
        CHECK_FALSE(handle.done());
        CHECK(handle.cancel()); // a second time: true, and changes nothing
        cleanup_gate.open();
        co_await test::settle();
        CHECK(handle.done());
        CHECK(handle.cancelled());
        CHECK_FALSE(handle.cancel());
        CHECK(log == std::vector<std::string>{"a unwound", "b unwound", "c unwound", "cleaned",
                                              "gatherer unwound"});
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a gather that had finished when it was cancelled gives its values", "[gather-cancel]") {
    test::program program(test::any_loop());
    gate both;
    bool delivered = false;
    bool passed = false;
    auto gathering = [&]() -> hob::task<> {
        auto results = co_await hob::gather(test::value_after(both, 1), test::value_after(both, 2));
        delivered = results == std::tuple(1, 2);
        co_await hob::yield();
        passed = true;
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(gathering());
        co_await test::settle();
        both.open();
        handle.cancel();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
        CHECK(delivered);
        CHECK_FALSE(passed);
    };
    program.run(main());
}

TEST_CASE("an exception of a branch of a cancelled gather is reported once", "[gather-cancel]") {
    test::program program(test::any_loop());
    gate never;
    gate slow;
    auto shielded_failure = [&]() -> hob::task<> {
        co_await hob::finally(never.wait(), test::settle());
    };
    // Cannot be stopped, and then fails.
    auto stubborn = [&]() -> hob::task<> {
        auto cleanup = [&]() -> hob::task<> { co_await slow.wait(); };
        co_await hob::finally(test::settle(1), cleanup());
        throw std::runtime_error("late");
    };
    auto gathering = [&]() -> hob::task<> { co_await hob::gather(shielded_failure(), stubborn()); };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(gathering());
        co_await test::settle();
        handle.cancel();
        co_await test::settle();
        CHECK_FALSE(handle.done());
        slow.open();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
    };
    program.run(main());
    REQUIRE(program.reports.size() == 1);
    CHECK(hob::exception_group::describe(program.reports[0].exception) == "late");
}

TEST_CASE("the same handle may stand twice in one gather", "[gather-dup]") {
    test::program program(test::any_loop());
    gate open;
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(test::value_after(open, 4));
        hob::event_loop::current().call_soon([&] { open.open(); });
        auto [first, second, third] = co_await hob::gather(handle, handle, handle);
        CHECK(first + second + third == 12);
        // And when it has ended already.
        auto [again, once_more] = co_await hob::gather(handle, handle);
        CHECK(again + once_more == 8);
    };
    program.run(main());
}

TEST_CASE("in a cancelled scope a gather runs its branches to their first suspension",
          "[gather-cancel]") {
    test::program program(test::any_loop());
    std::vector<std::string> log;
    auto suspending = [&]() -> hob::task<> {
        log.push_back("started");
        const test::at_exit note(log, "stopped");
        co_await hob::yield();
        log.push_back("never");
    };
    hob::task_handle<> self;
    auto gathering = [&]() -> hob::task<> {
        self.cancel();
        // Nothing here suspends, so nothing is stopped.
        const auto results = co_await hob::gather(test::value_now(1), test::value_now(2));
        CHECK(results == std::tuple(1, 2));
        co_await hob::gather(suspending(), suspending());
        log.push_back("never");
    };
    auto main = [&]() -> hob::task<> {
        self = hob::create_task(gathering());
        CHECK_THROWS_AS(co_await self, hob::cancelled_error);
    };
    program.run(main());
    CHECK(log == std::vector<std::string>{"started", "started", "stopped", "stopped"});
}

TEST_CASE("a gather refuses a task that was moved from, and starts none", "[gather-order]") {
    test::program program(test::any_loop());
    bool ran = false;
    auto branch = [&]() -> hob::task<> {
        ran = true;
        co_return;
    };
    auto main = [&]() -> hob::task<> {
        hob::task<> empty(nullptr);
        CHECK_THROWS_AS(co_await hob::gather(branch(), std::move(empty)), hob::usage_error);
        std::vector<hob::task<>> tasks;
        tasks.push_back(branch());
        tasks.emplace_back(nullptr);
        CHECK_THROWS_AS(co_await hob::gather(std::move(tasks)), hob::usage_error);
        CHECK_FALSE(ran);
    };
    program.run(main());
}

namespace {
hob::task<int> nested(int depth, gate& at_bottom) {
    if (depth == 0) {
        co_await at_bottom.wait();
        co_return 1;
    }
    auto [left, right] = co_await hob::gather(nested(depth - 1, at_bottom), test::value_now(1));
    co_return left + right;
}
} // namespace

TEST_CASE("gathers nest far deeper than the inline limit", "[gather-order]") {
    test::program program(test::any_loop());
    gate open;
    auto main = [&]() -> hob::task<> {
        hob::event_loop::current().call_soon([&] { open.open(); });
        const int sum = co_await nested(20'000, open);
        CHECK(sum == 20'001);
    };
    program.run(main());
}

TEST_CASE("a deep nest of gathers is cancelled", "[gather-cancel]") {
    test::program program(test::any_loop());
    gate never;
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(nested(20'000, never));
        co_await test::settle(2000);
        handle.cancel();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
    };
    program.run(main());
}

namespace {
struct throws_when_moved {
    throws_when_moved() = default;
    throws_when_moved(throws_when_moved&& other) {
        if (other.armed)
            throw std::runtime_error("moved");
    }
    bool armed = false;
};
} // namespace

TEST_CASE("a result that cannot be moved fails its branch", "[gather-first-exc]") {
    test::program program(test::any_loop());
    auto branch = []() -> hob::task<throws_when_moved> {
        throws_when_moved value;
        value.armed = true;
        co_await hob::yield();
        co_return std::move(value);
    };
    auto main = [&]() -> hob::task<> {
        CHECK_THROWS_WITH(co_await hob::gather(branch(), test::value_now(1)), "moved");
    };
    program.run(main());
}

TEST_CASE("a gather under a timeout leaves no branch alive", "[gather-cancel]") {
    test::program program(test::any_loop());
    gate never;
    int alive = 0;
    auto branch = [&]() -> hob::task<> {
        const test::counted self(alive);
        co_await never.wait();
    };
    auto main = [&]() -> hob::task<> {
        const auto result =
            co_await hob::try_timeout(1ms, hob::gather(branch(), branch(), branch()));
        CHECK_FALSE(result.has_value());
        CHECK(alive == 0);
    };
    program.run(main());
}

TEST_CASE("a million gathers one after the other keep memory flat", "[gather-loop]") {
    test::program program(test::any_loop());
    const int count = test::sanitized ? 100'000 : 1'000'000;
    auto main = [&]() -> hob::task<> {
        long before = 0;
        long long sum = 0;
        for (int round = 0; round != count; ++round) {
            auto [left, right] = co_await hob::gather(test::value_now(1), test::value_now(2));
            sum += left + right;
            if (round == count / 10)
                before = test::resident_kib();
        }
        CHECK(sum == 3LL * count);
        if (!test::sanitized)
            CHECK(test::resident_kib() - before < 1024);
    };
    program.run(main());
}
