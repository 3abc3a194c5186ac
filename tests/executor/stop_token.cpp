// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/finally.hpp>
#include <hob/stop_token.hpp>

#include <atomic>
#include <stdexcept>
#include <stop_token>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using test::gate;

TEST_CASE("a stop that is requested on another thread cancels once", "[cancel-token]") {
    gate never;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        std::stop_source source;
        int cleaned = 0;
        auto cleanup = [&]() -> hob::task<> {
            ++cleaned;
            co_await hob::yield();
        };
        auto body = [&]() -> hob::task<> { co_await hob::finally(never.wait(), cleanup); };
        const std::jthread thread([&] {
            source.request_stop();
            source.request_stop();
        });
        CHECK_THROWS_AS(co_await hob::with_stop_token(source.get_token(), body()),
                        hob::cancelled_error);
        CHECK(cleaned == 1);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a token that was stopped before cancels at the first suspension", "[cancel-token]") {
    gate never;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        std::stop_source source;
        source.request_stop();
        bool began = false;
        auto suspends = [&]() -> hob::task<> {
            began = true;
            co_await never.wait();
            FAIL("went on");
        };
        CHECK_THROWS_AS(co_await hob::with_stop_token(source.get_token(), suspends()),
                        hob::cancelled_error);
        CHECK(began);
        auto at_once = []() -> hob::task<int> { co_return 3; };
        const int value = co_await hob::with_stop_token(source.get_token(), at_once());
        CHECK(value == 3);
    };
    program.run(main());
}

TEST_CASE("a body that ends deregisters, and a late stop changes nothing", "[cancel-token]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        std::stop_source source;
        auto body = []() -> hob::task<int> {
            co_await hob::yield();
            co_return 5;
        };
        const int value = co_await hob::with_stop_token(source.get_token(), body());
        CHECK(value == 5);
        source.request_stop();
        co_await hob::yield();
        auto failing = []() -> hob::task<> {
            co_await hob::yield();
            throw std::runtime_error("own");
        };
        std::stop_source other;
        CHECK_THROWS_WITH(co_await hob::with_stop_token(other.get_token(), failing()), "own");
        // A token without a source can never be stopped.
        co_await hob::with_stop_token(std::stop_token(), hob::yield());
    };
    program.run(main());
}

TEST_CASE("a stop requested by the body itself, and one by another task of the loop",
          "[cancel-token]") {
    gate never;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        std::stop_source own;
        auto body = [&]() -> hob::task<> {
            own.request_stop();
            co_await never.wait();
        };
        CHECK_THROWS_AS(co_await hob::with_stop_token(own.get_token(), body()),
                        hob::cancelled_error);
        std::stop_source others;
        hob::event_loop::current().call_soon([&] { others.request_stop(); });
        CHECK_THROWS_AS(co_await hob::with_stop_token(others.get_token(), never.wait()),
                        hob::cancelled_error);
        // The body ends although its order is on the way: nothing is left behind.
        std::stop_source ends;
        auto ending = [&]() -> hob::task<int> {
            ends.request_stop();
            co_return 6;
        };
        const int value = co_await hob::with_stop_token(ends.get_token(), ending());
        CHECK(value == 6);
    };
    program.run(main());
}

TEST_CASE("cancelling the awaiting task is not mistaken for the token", "[cancel-token]") {
    gate never;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        std::stop_source source;
        auto waiting = [&]() -> hob::task<> {
            co_await hob::with_stop_token(source.get_token(), never.wait());
            FAIL("went on");
        };
        const auto task = hob::create_task(waiting());
        co_await test::settle();
        task.cancel();
        co_await test::settle();
        CHECK(task.cancelled());
        const auto both = hob::create_task(waiting());
        co_await test::settle();
        both.cancel();
        source.request_stop();
        co_await test::settle();
        CHECK(both.cancelled());
    };
    program.run(main());
}

TEST_CASE("stops that race with the end lose nothing", "[cancel-token]") {
    test::program program;
    auto main = [&]() -> hob::task<> {
        int stopped = 0;
        int completed = 0;
        for (int round = 0; round != 2000; ++round) {
            std::stop_source source;
            std::atomic<bool> go = false;
            const std::jthread thread([&] {
                while (!go)
                    std::this_thread::yield();
                source.request_stop();
            });
            auto body = [&]() -> hob::task<> {
                go = true;
                for (int turn = 0; turn != round % 50; ++turn)
                    co_await hob::yield();
            };
            try {
                co_await hob::with_stop_token(source.get_token(), body());
                ++completed;
            } catch (const hob::cancelled_error&) {
                ++stopped;
            }
        }
        CHECK(stopped + completed == 2000);
    };
    program.run(main());
    CHECK(program.reports.empty());
}
