// SPDX-License-Identifier: MIT
// hob::timeout and its relatives. What takes time runs on virtual time.
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/finally.hpp>
#include <hob/gather.hpp>
#include <hob/shield.hpp>
#include <hob/task_group.hpp>
#include <hob/timeout.hpp>

#include <limits>
#include <memory>

using namespace std::chrono_literals;
using test::at_exit;
using test::counted;
using test::gate;
using test::nap;
using strings = std::vector<std::string>;

namespace {

hob::task<int> value_after_sleep(std::chrono::nanoseconds delay, int value) {
    co_await hob::sleep_for(delay);
    co_return value;
}

} // namespace

TEST_CASE("a body that ends before its limit gives its value, and no timer is left", "[to-basic]") {
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        CHECK(co_await hob::timeout(1h, test::value_now(1)) == 1);
        program.loop().call_soon([&] { open.open(); });
        CHECK(co_await hob::timeout(1h, test::value_after(open, 2)) == 2);
        CHECK(co_await hob::timeout_at(program.loop().time() + 1h, test::value_now(3)) == 3);
        CHECK(co_await hob::try_timeout(1h, test::value_now(4)) == 4);
        CHECK_THROWS_WITH(co_await hob::timeout(1h, test::failure_now("x")), "x");
        CHECK(program.loop().dump().find("a timeout") == std::string::npos);
        // With a timer left, this would wait for it instead of being a deadlock.
        co_await gate().wait();
    };
    CHECK_THROWS_AS(program.run(main()), hob::deadlock_error);
}

TEST_CASE("timeout_error comes after the body has been unwound with its cleanup", "[to-waits]") {
    test::program program(test::simulated_loop());
    strings log;
    auto cleanup = [&]() -> hob::task<> {
        co_await hob::sleep_for(3s);
        log.push_back("cleaned");
    };
    auto body = [&]() -> hob::task<> {
        const at_exit note(log, "unwound");
        co_await hob::finally(hob::sleep_for(1h), cleanup());
    };
    auto main = [&]() -> hob::task<> {
        const auto start = program.loop().time();
        try {
            co_await hob::timeout(10ms, body());
            log.push_back("never");
        } catch (const hob::timeout_error&) {
            log.push_back("timeout_error");
        }
        const auto taken = program.loop().time() - start;
        CHECK(taken >= 3s + 10ms);
        CHECK(taken < 4s);
    };
    program.run(main());
    CHECK(log == strings{"cleaned", "unwound", "timeout_error"});
}

TEST_CASE("a limit expires not before its time", "[to-waits]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const auto start = program.loop().time();
        CHECK_THROWS_AS(co_await hob::timeout(2ms, hob::sleep_for(1h)), hob::timeout_error);
        CHECK(program.loop().time() - start >= 2ms);
    };
    program.run(main());
}

TEST_CASE("a body that completes in the turn of the expiry wins", "[to-race]") {
    test::program program(test::simulated_loop());
    auto main = [&]() -> hob::task<> {
        const auto when = program.loop().time() + 10ms;
        auto until = [&]() -> hob::task<int> {
            co_await hob::sleep_until(when);
            co_return 5;
        };
        CHECK(co_await hob::timeout_at(when, until()) == 5);
        auto stubborn = [&]() -> hob::task<int> {
            co_await hob::shield(hob::sleep_for(1s));
            co_return 7;
        };
        CHECK(co_await hob::timeout(1ms, stubborn()) == 7);
        auto goes_on = [&]() -> hob::task<int> {
            co_await hob::shield(hob::sleep_for(1s));
            co_await hob::yield();
            co_return 8;
        };
        CHECK_THROWS_AS(co_await hob::timeout(1ms, goes_on()), hob::timeout_error);
    };
    program.run(main());
}

TEST_CASE("an external cancel in the turn of the expiry is not lost", "[to-external]") {
    test::program program(test::simulated_loop());
    const bool cancel_first = GENERATE(true, false);
    int after = 0;
    auto body = [&](hob::detail::time_point when) -> hob::task<> {
        try {
            co_await hob::timeout_at(when, hob::sleep_for(1h));
        } catch (const hob::timeout_error&) {
            ++after;
        }
        ++after;
    };
    auto main = [&]() -> hob::task<> {
        const auto when = program.loop().time() + 1s;
        hob::task_handle<> victim;
        if (cancel_first)
            program.loop().call_at(when, [&] { victim.cancel(); });
        victim = hob::create_task(body(when));
        co_await test::settle();
        if (!cancel_first)
            program.loop().call_at(when, [&] { victim.cancel(); });
        CHECK_THROWS_AS(co_await victim, hob::cancelled_error);
    };
    program.run(main());
    CHECK(after == 0);
}

TEST_CASE("an external cancel during the cleanup of an expiry is not lost", "[to-external]") {
    test::program program(test::simulated_loop());
    int after = 0;
    auto body = [&]() -> hob::task<> {
        try {
            co_await hob::timeout(1s, hob::finally(nap(1h), nap(1s)));
        } catch (const hob::timeout_error&) {
            ++after;
        }
        ++after;
    };
    auto main = [&]() -> hob::task<> {
        auto victim = hob::create_task(body());
        co_await hob::sleep_for(1500ms);
        CHECK(victim.cancel());
        CHECK_THROWS_AS(co_await victim, hob::cancelled_error);
    };
    program.run(main());
    CHECK(after == 0);
}

TEST_CASE("a limit of zero or less lets a body end only without suspending", "[to-zero]") {
    test::program program(test::any_loop());
    bool passed = false;
    gate never;
    auto body = [&]() -> hob::task<> {
        co_await hob::yield();
        passed = true;
    };
    auto main = [&]() -> hob::task<> {
        for (const auto limit : {0ns, -1ns, std::chrono::nanoseconds::min()}) {
            CHECK(co_await hob::timeout(limit, test::value_now(1)) == 1);
            CHECK(co_await hob::try_timeout(limit, test::value_now(2)) == 2);
            bool turned = false;
            program.loop().call_soon([&] { turned = true; });
            CHECK_THROWS_AS(co_await hob::timeout(limit, body()), hob::timeout_error);
            CHECK(turned);
            CHECK_FALSE(co_await hob::try_timeout(limit, test::value_after(never, 1)));
            CHECK_THROWS_WITH(co_await hob::timeout(limit, test::failure_now("x")), "x");
        }
    };
    program.run(main());
    CHECK_FALSE(passed);
}

TEST_CASE("a deadline in the past fires at the next suspension", "[to-past]") {
    test::program program(test::any_loop());
    strings log;
    auto body = [&]() -> hob::task<> {
        log.push_back("runs");
        co_await test::value_now(1);
        log.push_back("runs on");
        co_await hob::sleep_for(0s);
        log.push_back("never");
    };
    auto main = [&]() -> hob::task<> {
        CHECK_THROWS_AS(co_await hob::timeout_at(program.loop().time() - 1h, body()),
                        hob::timeout_error);
        CHECK_THROWS_AS(co_await hob::timeout_at(hob::detail::time_point::min(), hob::yield()),
                        hob::timeout_error);
        CHECK(co_await hob::timeout_at(program.loop().time(), test::value_now(1)) == 1);
    };
    program.run(main());
    CHECK(log == strings{"runs", "runs on"});
}

TEST_CASE("a disabled limit never fires and keeps no timer", "[to-none]") {
    test::program program(test::simulated_loop());
    auto main = [&]() -> hob::task<> {
        CHECK(co_await hob::timeout(std::chrono::nanoseconds::max(),
                                    value_after_sleep(24h * 365 * 50, 1)) == 1);
        CHECK(co_await hob::timeout(std::chrono::hours::max(), value_after_sleep(1h, 2)) == 2);
        const std::chrono::duration<double> endless(std::numeric_limits<double>::infinity());
        CHECK(co_await hob::timeout(endless, value_after_sleep(1h, 3)) == 3);
        CHECK(co_await hob::timeout_at(hob::detail::time_point::max(), value_after_sleep(1h, 4)) ==
              4);
        const std::chrono::duration<double> no_number(std::numeric_limits<double>::quiet_NaN());
        CHECK_THROWS_AS(co_await hob::timeout(no_number, test::value_now(1)), hob::usage_error);
        gate never;
        co_await hob::timeout(std::chrono::nanoseconds::max(), never.wait());
    };
    CHECK_THROWS_AS(program.run(main()), hob::deadlock_error);
}

TEST_CASE("the non-throwing form gives an empty optional", "[to-optional]") {
    gate never;
    test::program program(test::any_loop());
    auto make = [&](bool waits) -> hob::task<std::unique_ptr<int>> {
        if (waits)
            co_await never.wait();
        co_return std::make_unique<int>(1);
    };
    auto main = [&]() -> hob::task<> {
        CHECK_FALSE(co_await hob::try_timeout(1us, make(true)));
        auto value = co_await hob::try_timeout(1h, make(false));
        REQUIRE(value);
        CHECK(**value == 1);
        CHECK_FALSE(co_await hob::try_timeout(1us, never.wait()));
        CHECK(co_await hob::try_timeout(1h, hob::yield()));
        CHECK_THROWS_WITH(co_await hob::try_timeout(1h, test::failure_now("x")), "x");
    };
    program.run(main());
}

TEST_CASE("a limit counts from the await on, and may be given away before", "[to-basic]") {
    test::program program(test::simulated_loop());
    auto main = [&]() -> hob::task<> {
        auto limited = hob::timeout(1s, value_after_sleep(900ms, 1));
        co_await hob::sleep_for(5s);
        CHECK(co_await std::move(limited) == 1);
        const auto both = co_await hob::gather(hob::timeout(1s, value_after_sleep(900ms, 2)),
                                               hob::try_timeout(1s, value_after_sleep(2s, 3)));
        CHECK(std::get<0>(both) == 2);
        CHECK_FALSE(std::get<1>(both));
    };
    program.run(main());
}

TEST_CASE("a limit on a handle leaves the joined task running", "[to-basic]") {
    test::program program(test::simulated_loop());
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(value_after_sleep(2s, 6));
        CHECK_THROWS_AS(co_await hob::timeout(1s, handle), hob::timeout_error);
        CHECK_FALSE(handle.done());
        CHECK(co_await hob::timeout(2s, handle) == 6);
    };
    program.run(main());
}

TEST_CASE("a sleep counts from the await on, as a limit does", "[to-basic][timer-early]") {
    test::program program(test::simulated_loop());
    auto main = [&]() -> hob::task<> {
        const auto start = program.loop().time();
        auto later = hob::sleep_for(1s);
        co_await nap(5s);
        co_await later;
        CHECK(program.loop().time() - start >= 6s);
        // The cleanup's sleep begins after the body.
        co_await hob::finally(nap(1s), hob::sleep_for(1s));
        CHECK(program.loop().time() - start >= 8s);
    };
    program.run(main());
}
