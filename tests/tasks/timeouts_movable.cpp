// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/finally.hpp>
#include <hob/timeout.hpp>

using namespace std::chrono_literals;
using test::gate;

namespace {

hob::detail::time_point now() {
    return hob::event_loop::current().time();
}

} // namespace

TEST_CASE("a limit can be moved either way while the body runs", "[to-resched]") {
    test::program program(test::simulated_loop());
    auto main = [&]() -> hob::task<> {
        const auto start = now();
        auto longer = [&](hob::timeout_scope& limit) -> hob::task<int> {
            CHECK(limit.when() == start + 10ms);
            CHECK_FALSE(limit.expired());
            limit.reschedule(start + 30ms);
            CHECK(limit.when() == start + 30ms);
            co_await hob::sleep_for(20ms);
            co_return 1;
        };
        const int value = co_await hob::timeout(10ms, longer);
        CHECK(value == 1);
        CHECK(now() - start == 20ms);

        auto shorter = [&](hob::timeout_scope& limit) -> hob::task<> {
            limit.reschedule(now() + 5ms);
            co_await hob::sleep_for(1h);
        };
        CHECK_THROWS_AS(co_await hob::timeout_at(now() + 1h, shorter), hob::timeout_error);
        CHECK(now() - start == 25ms);
        CHECK(hob::detail::reactor::here().timers().empty());
    };
    program.run(main());
}

TEST_CASE("a limit can be disabled, and enabled again", "[to-resched]") {
    test::program program(test::simulated_loop());
    auto main = [&]() -> hob::task<> {
        auto body = [&](hob::timeout_scope& limit) -> hob::task<> {
            limit.reschedule(hob::detail::time_point::max());
            CHECK(hob::detail::reactor::here().timers().empty());
            co_await hob::sleep_for(1h);
            limit.reschedule(now() + 1ms);
            co_await hob::sleep_for(1h);
        };
        const auto start = now();
        CHECK_THROWS_AS(co_await hob::timeout(1s, body), hob::timeout_error);
        CHECK(now() - start == 1h + 1ms);
    };
    program.run(main());
}

TEST_CASE("a limit moved into the past expires in the next turn", "[to-resched]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        bool went_on = false;
        auto body = [&](hob::timeout_scope& limit) -> hob::task<> {
            limit.reschedule(now() - 1s);
            went_on = true;
            co_await hob::sleep_for(1h);
        };
        CHECK_THROWS_AS(co_await hob::timeout(1h, body), hob::timeout_error);
        CHECK(went_on);
        // A body that does not suspend any more has won.
        auto quick = [&](hob::timeout_scope& limit) -> hob::task<int> {
            limit.reschedule(now() - 1s);
            co_return 4;
        };
        const int value = co_await hob::timeout(1h, quick);
        CHECK(value == 4);
    };
    program.run(main());
}

TEST_CASE("a limit that has expired cannot be moved", "[to-resched]") {
    gate never;
    test::program program(test::simulated_loop());
    auto main = [&]() -> hob::task<> {
        bool refused = false;
        auto body = [&](hob::timeout_scope& limit) -> hob::task<> {
            auto cleanup = [&]() -> hob::task<> {
                CHECK(limit.expired());
                try {
                    limit.reschedule(now() + 1h);
                } catch (const hob::usage_error&) {
                    refused = true;
                }
                co_return;
            };
            co_await hob::finally(never.wait(), cleanup);
        };
        CHECK_THROWS_AS(co_await hob::timeout(1ms, body), hob::timeout_error);
        CHECK(refused);
    };
    program.run(main());
}

TEST_CASE("an exception of the callable passes, and its closure lives as long as the body",
          "[to-resched]") {
    test::program program(test::simulated_loop());
    auto main = [&]() -> hob::task<> {
        auto throwing = [](hob::timeout_scope&) -> hob::task<> {
            throw std::runtime_error("no body");
        };
        CHECK_THROWS_WITH(co_await hob::timeout(1h, throwing), "no body");
        const std::string text(100, 'x');
        auto keeping = [text](hob::timeout_scope&) -> hob::task<std::size_t> {
            co_await hob::sleep_for(1ms);
            co_return text.size();
        };
        const std::size_t size = co_await hob::timeout(1h, keeping);
        CHECK(size == 100);
    };
    program.run(main());
}
