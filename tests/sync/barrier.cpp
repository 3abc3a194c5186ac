// SPDX-License-Identifier: MIT
// Rounds of a barrier, whole and broken.
#include "../catch.hpp"
#include "support/program.hpp"

#include <hob/sync/barrier.hpp>

#include <vector>

namespace {
/// Notes its number in the round; -1 when the barrier breaks.
hob::task<> arrive_and_note(hob::barrier& barrier, std::vector<int>& passed) {
    try {
        passed.push_back(static_cast<int>(co_await barrier.arrive_and_wait()));
    } catch (const hob::broken_barrier_error&) {
        passed.push_back(-1);
    }
}
} // namespace

TEST_CASE("a barrier lets exactly its number of tasks pass, round after round", "[barrier]") {
    test::program program;
    std::vector<int> passed;
    auto main = [&]() -> hob::task<> {
        hob::barrier barrier(3);
        CHECK(barrier.parties() == 3);
        for (int round = 1; round != 4; ++round) {
            passed.clear();
            hob::create_task(arrive_and_note(barrier, passed));
            hob::create_task(arrive_and_note(barrier, passed));
            co_await test::settle();
            CHECK(passed.empty());
            CHECK(barrier.waiting() == 2);
            CHECK(co_await barrier.arrive_and_wait() == 2);
            CHECK(barrier.waiting() == 0);
            co_await test::settle();
            CHECK(passed == std::vector<int>{0, 1});
        }
        CHECK(co_await hob::barrier(1).arrive_and_wait() == 0);
        CHECK_THROWS_AS(hob::barrier(0), hob::usage_error);
    };
    program.run(main());
}

TEST_CASE("a task that arrives while a round leaves belongs to the next one", "[barrier]") {
    test::program program;
    std::vector<int> passed;
    auto main = [&]() -> hob::task<> {
        hob::barrier barrier(2);
        hob::create_task(arrive_and_note(barrier, passed));
        co_await test::settle();
        co_await barrier.arrive_and_wait();
        // The other task of the round has not run yet.
        CHECK(passed.empty());
        auto next = hob::create_task(arrive_and_note(barrier, passed));
        co_await test::settle();
        CHECK(passed == std::vector<int>{0});
        CHECK_FALSE(next.done());
        co_await barrier.arrive_and_wait();
        co_await next;
    };
    program.run(main());
}

TEST_CASE("a cancelled waiter leaves a barrier usable", "[barrier][waiter-unlink]") {
    test::program program;
    std::vector<int> passed;
    auto main = [&]() -> hob::task<> {
        hob::barrier barrier(2);
        auto cancelled = hob::create_task(arrive_and_note(barrier, passed));
        co_await test::settle();
        cancelled.cancel();
        co_await test::settle();
        CHECK(barrier.waiting() == 0);
        auto first = hob::create_task(arrive_and_note(barrier, passed));
        co_await test::settle();
        CHECK_FALSE(first.done());
        CHECK(co_await barrier.arrive_and_wait() == 1);
        co_await first;
    };
    program.run(main());
    CHECK(passed == std::vector<int>{0});
}

TEST_CASE("aborting a barrier breaks it for all until it is reset", "[barrier]") {
    test::program program;
    std::vector<int> passed;
    auto main = [&]() -> hob::task<> {
        hob::barrier barrier(3);
        hob::create_task(arrive_and_note(barrier, passed));
        hob::create_task(arrive_and_note(barrier, passed));
        co_await test::settle();
        barrier.abort();
        CHECK(barrier.is_broken());
        co_await test::settle();
        CHECK(passed == std::vector<int>{-1, -1});
        CHECK_THROWS_AS(co_await barrier.arrive_and_wait(), hob::broken_barrier_error);
        barrier.reset();
        CHECK_FALSE(barrier.is_broken());
        CHECK(barrier.waiting() == 0);
        hob::create_task(arrive_and_note(barrier, passed));
        hob::create_task(arrive_and_note(barrier, passed));
        co_await test::settle();
        CHECK(co_await barrier.arrive_and_wait() == 2);
        co_await test::settle();
    };
    program.run(main());
    CHECK(passed == std::vector<int>{-1, -1, 0, 1});
}

TEST_CASE("resetting a barrier fails those who wait, and not those who have passed", "[barrier]") {
    test::program program;
    std::vector<int> passed;
    auto main = [&]() -> hob::task<> {
        hob::barrier barrier(2);
        hob::create_task(arrive_and_note(barrier, passed));
        co_await test::settle();
        co_await barrier.arrive_and_wait();
        // Half of the round has left.
        barrier.reset();
        co_await test::settle();
        CHECK(passed == std::vector<int>{0});
        hob::create_task(arrive_and_note(barrier, passed));
        co_await test::settle();
        barrier.reset();
        co_await test::settle();
        CHECK(passed == std::vector<int>{0, -1});
    };
    program.run(main());
}
