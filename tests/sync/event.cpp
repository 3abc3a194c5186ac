// SPDX-License-Identifier: MIT
// Events and latches.
#include "../catch.hpp"
#include "support/program.hpp"

#include <hob/sync/event.hpp>
#include <hob/sync/latch.hpp>

#include <vector>

namespace {
template <class Gate> hob::task<> wait_and_note(Gate& gate, std::vector<int>& order, int number) {
    co_await gate.wait();
    order.push_back(number);
}
} // namespace

TEST_CASE("a set event is waited for without a turn of the loop", "[done-await]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::event event;
        CHECK_FALSE(event.is_set());
        event.set();
        CHECK(event.is_set());
        bool turned = false;
        hob::event_loop::current().call_soon([&] { turned = true; });
        co_await event.wait();
        CHECK_FALSE(turned);
    };
    program.run(main());
}

TEST_CASE("setting an event wakes all who wait, though it is cleared at once", "[event-set]") {
    test::program program;
    std::vector<int> order;
    auto main = [&]() -> hob::task<> {
        hob::event event;
        for (int number = 0; number != 3; ++number)
            hob::create_task(wait_and_note(event, order, number));
        co_await test::settle();
        event.set();
        event.clear();
        auto late = hob::create_task(wait_and_note(event, order, 3));
        co_await test::settle();
        CHECK(order == std::vector<int>{0, 1, 2});
        CHECK_FALSE(late.done());
        event.set();
        co_await late;
    };
    program.run(main());
}

TEST_CASE("a cancelled waiter of an event leaves no trace", "[event-cancel][waiter-unlink]") {
    test::program program;
    std::vector<int> order;
    auto main = [&]() -> hob::task<> {
        hob::event event;
        auto cancelled = hob::create_task(wait_and_note(event, order, 1));
        auto waiting = hob::create_task(wait_and_note(event, order, 2));
        co_await test::settle();
        cancelled.cancel();
        co_await test::settle();
        CHECK(cancelled.cancelled());
        event.set();
        co_await waiting;
    };
    program.run(main());
    CHECK(order == std::vector<int>{2});
}

TEST_CASE("a woken waiter of an event passes though it is cancelled", "[completion-wins]") {
    test::program program;
    std::vector<int> order;
    auto main = [&]() -> hob::task<> {
        hob::event event;
        auto woken = hob::create_task(wait_and_note(event, order, 1));
        co_await test::settle();
        event.set();
        woken.cancel();
        co_await test::settle();
        CHECK_FALSE(woken.cancelled());
    };
    program.run(main());
    CHECK(order == std::vector<int>{1});
}

TEST_CASE("a latch opens with the last step, for good", "[done-await]") {
    test::program program;
    std::vector<int> order;
    auto main = [&]() -> hob::task<> {
        hob::latch latch(3);
        auto first = hob::create_task(wait_and_note(latch, order, 1));
        auto cancelled = hob::create_task(wait_and_note(latch, order, 2));
        co_await test::settle();
        cancelled.cancel();
        latch.count_down(2);
        co_await test::settle();
        CHECK(cancelled.cancelled());
        CHECK_FALSE(latch.is_open());
        CHECK(order.empty());
        CHECK_THROWS_AS(latch.count_down(2), hob::usage_error);
        CHECK(latch.count() == 1);
        latch.count_down();
        CHECK(latch.is_open());
        co_await latch.wait();
        co_await first;
        CHECK_THROWS_AS(latch.count_down(), hob::usage_error);
        latch.count_down(0);
        co_await hob::latch(0).wait();
    };
    program.run(main());
    CHECK(order == std::vector<int>{1});
}
