// SPDX-License-Identifier: MIT
// Who gets a unit of a semaphore, and how many there are.
#include "../catch.hpp"
#include "support/program.hpp"

#include <hob/sync/semaphore.hpp>

#include <limits>
#include <vector>

namespace {
hob::task<> acquire_and_note(hob::semaphore& semaphore, std::vector<int>& order, int number) {
    auto permit = co_await semaphore.acquire();
    order.push_back(number);
    permit.detach();
}
} // namespace

TEST_CASE("as many tasks as there are units get one without a turn", "[sem-fifo][done-await]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::semaphore semaphore(2);
        bool turned = false;
        hob::event_loop::current().call_soon([&] { turned = true; });
        {
            const auto first = co_await semaphore.acquire();
            auto second = co_await semaphore.acquire();
            CHECK(semaphore.value() == 0);
            CHECK_FALSE(semaphore.try_acquire());
            second.release();
            CHECK_FALSE(second);
            CHECK(semaphore.try_acquire());
            CHECK(semaphore.value() == 1);
        }
        CHECK(semaphore.value() == 2);
        CHECK_FALSE(turned);
    };
    program.run(main());
}

TEST_CASE("a semaphore serves those who wait in their order", "[sem-fifo]") {
    test::program program;
    std::vector<int> order;
    auto main = [&]() -> hob::task<> {
        hob::semaphore semaphore(0);
        for (int number = 0; number != 5; ++number)
            hob::create_task(acquire_and_note(semaphore, order, number));
        co_await test::settle();
        semaphore.release(2);
        co_await test::settle();
        CHECK(order == std::vector<int>{0, 1});
        semaphore.release(4);
        CHECK(semaphore.value() == 1);
        co_await test::settle();
    };
    program.run(main());
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4});
}

TEST_CASE("who releases and acquires again stands behind those who wait", "[sem-fifo]") {
    test::program program;
    std::vector<int> order;
    auto main = [&]() -> hob::task<> {
        hob::semaphore semaphore(1);
        auto permit = co_await semaphore.acquire();
        hob::create_task(acquire_and_note(semaphore, order, 1));
        co_await test::settle();
        permit.release();
        CHECK(semaphore.value() == 0);
        CHECK_FALSE(semaphore.try_acquire());
        auto again = hob::create_task(acquire_and_note(semaphore, order, 2));
        co_await test::settle();
        CHECK_FALSE(again.done());
        semaphore.release();
        co_await again;
    };
    program.run(main());
    CHECK(order == std::vector<int>{1, 2});
}

TEST_CASE("a cancelled waiter of a semaphore neither takes nor loses a unit",
          "[sem-cancel][waiter-unlink]") {
    test::program program;
    std::vector<int> order;
    auto main = [&]() -> hob::task<> {
        hob::bounded_semaphore semaphore(1);
        auto permit = co_await semaphore.acquire();
        auto cancelled = hob::create_task(acquire_and_note(semaphore, order, 1));
        auto next = hob::create_task(acquire_and_note(semaphore, order, 2));
        co_await test::settle();
        cancelled.cancel();
        co_await hob::yield();
        permit.release();
        co_await next;
        CHECK(cancelled.cancelled());
        semaphore.release();
        CHECK(semaphore.value() == 1);
    };
    program.run(main());
    CHECK(order == std::vector<int>{2});
}

TEST_CASE("a woken waiter of a semaphore that is cancelled gives its unit to the next",
          "[sem-cancel][completion-wins]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::bounded_semaphore semaphore(1);
        auto hold = [&]() -> hob::task<> {
            const auto permit = co_await semaphore.acquire();
            co_await hob::yield();
        };
        auto permit = co_await semaphore.acquire();
        auto woken = hob::create_task(hold());
        auto next = hob::create_task(hold());
        co_await test::settle();
        permit.release();
        woken.cancel();
        co_await next;
        CHECK(woken.cancelled());
        CHECK(semaphore.value() == 1);
    };
    program.run(main());
}

TEST_CASE("a semaphore keeps its bounds", "[sem-bounds]") {
    CHECK_THROWS_AS(hob::semaphore(-1), hob::usage_error);
    CHECK_THROWS_AS(hob::bounded_semaphore(-1), hob::usage_error);

    hob::bounded_semaphore bounded(2);
    CHECK_THROWS_AS(bounded.release(), hob::usage_error);
    auto permit = bounded.try_acquire();
    CHECK_THROWS_AS(bounded.release(2), hob::usage_error);
    CHECK_THROWS_AS(bounded.release(-1), hob::usage_error);
    CHECK(bounded.value() == 1);
    permit.release();
    CHECK_THROWS_AS(permit.release(), hob::usage_error);
    CHECK(bounded.value() == 2);

    hob::semaphore free(0);
    free.release(3);
    CHECK(free.value() == 3);
    CHECK_THROWS_AS(free.release(std::numeric_limits<std::ptrdiff_t>::max()), hob::usage_error);
}
