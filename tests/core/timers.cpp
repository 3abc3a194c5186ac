// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/program.hpp"

#include <hob/gather.hpp>
#include <hob/task_group.hpp>
#include <hob/timeout.hpp>

#include <cmath>
#include <ctime>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <thread>

using namespace std::chrono_literals;
using std::chrono::nanoseconds;
using test::loop;

TEST_CASE("timers fire by deadline, and those of one deadline in the order of their creation",
          "[timer-order]") {
    test::program program;
    std::vector<int> order;
    auto main = [&]() -> hob::task<> {
        const auto base = loop().time() + 2ms;
        loop().call_at(base + 2us, [&] { order.push_back(5); });
        for (int number = 1; number != 5; ++number)
            loop().call_at(base + 1us, [&order, number] { order.push_back(number); });
        loop().call_at(base, [&] { order.push_back(0); });
        co_await hob::sleep_until(base + 10us);
        CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5});
    };
    program.run(main());
}

TEST_CASE("sleepers and callbacks share one order", "[timer-order]") {
    test::program program;
    std::string order;
    auto main = [&]() -> hob::task<> {
        const auto when = loop().time() + 1ms;
        auto sleeper = [&](char name) -> hob::task<> {
            co_await hob::sleep_until(when);
            order.push_back(name);
        };
        auto one = hob::create_task(sleeper('a'));
        co_await hob::yield();
        loop().call_at(when, [&] { order.push_back('b'); });
        auto two = hob::create_task(sleeper('c'));
        co_await hob::gather(one, two);
    };
    program.run(main());
    CHECK(order == "abc");
}

TEST_CASE("negative delays run as soon as possible, ordered by deadline", "[timer-neg]") {
    test::program program;
    std::vector<int> order;
    auto main = [&]() -> hob::task<> {
        loop().call_later(-1s, [&] { order.push_back(-1); });
        loop().call_later(-2s, [&] { order.push_back(-2); });
        loop().call_later(0s, [&] { order.push_back(0); });
        loop().call_later(nanoseconds::min(), [&] { order.push_back(-4); });
        loop().call_later(-std::chrono::duration<double>(3), [&] { order.push_back(-3); });
        loop().call_at(hob::detail::time_point::min(), [&] { order.push_back(-5); });
        CHECK(order.empty());
        co_await test::settle(3);
    };
    program.run(main());
    CHECK(order == std::vector<int>{-5, -4, -3, -2, -1, 0});
}

TEST_CASE("a sleep of zero or less takes exactly one turn", "[timer-zero]") {
    test::program program;
    auto main = [&]() -> hob::task<> {
        for (const nanoseconds delay : {nanoseconds(0), nanoseconds(-1), nanoseconds::min()}) {
            int turns = 0;
            bool done = false;
            std::function<void()> count = [&] {
                ++turns;
                if (!done)
                    loop().call_soon(count);
            };
            loop().call_soon(count);
            co_await hob::sleep_for(delay);
            CHECK(turns == 1);
            co_await hob::yield();
            CHECK(turns == 2);
            done = true;
            co_await hob::yield();
        }
    };
    program.run(main());
}

TEST_CASE("a delay that is not a number is refused", "[timer-overflow]") {
    test::program program;
    const std::chrono::duration<double> nan(std::numeric_limits<double>::quiet_NaN());
    auto main = [&]() -> hob::task<> {
        CHECK_THROWS_AS(loop().call_later(nan, [] {}), hob::usage_error);
        CHECK_THROWS_AS(co_await hob::sleep_for(nan), hob::usage_error);
        CHECK_THROWS_AS(co_await hob::timeout(nan, test::value_now(1)), hob::usage_error);
        const std::chrono::duration<float> narrow(std::nanf(""));
        CHECK_THROWS_AS(co_await hob::sleep_for(narrow), hob::usage_error);
        co_return;
    };
    program.run(main());
}

TEST_CASE("enormous delays never fire", "[timer-overflow]") {
    test::program program;
    int fired = 0;
    auto main = [&]() -> hob::task<> {
        std::vector<hob::call_handle> handles;
        handles.push_back(loop().call_later(nanoseconds::max(), [&] { ++fired; }));
        handles.push_back(loop().call_later(nanoseconds::max() - 1ns, [&] { ++fired; }));
        handles.push_back(loop().call_later(std::chrono::hours::max(), [&] { ++fired; }));
        handles.push_back(loop().call_later(std::chrono::years(290), [&] { ++fired; }));
        handles.push_back(
            loop().call_later(std::chrono::duration<double>(1e300), [&] { ++fired; }));
        handles.push_back(loop().call_at(hob::detail::time_point::max(), [&] { ++fired; }));
        handles.push_back(loop().call_at(hob::detail::time_point::max() - 1ns, [&] { ++fired; }));
        auto sleeper = [&](auto delay) -> hob::task<> {
            co_await hob::sleep_for(delay);
            ++fired;
        };
        auto one = hob::create_task(sleeper(std::chrono::hours::max()));
        auto two = hob::create_task(sleeper(nanoseconds::max()));
        // In between, the loop sleeps in the kernel with one of these as its deadline.
        for (int round = 0; round != 3; ++round)
            co_await hob::sleep_for(1ms);
        CHECK(fired == 0);
        for (auto& each : handles)
            CHECK(each.cancel());
        one.cancel();
        two.cancel();
    };
    program.run(main());
    CHECK(fired == 0);
}

TEST_CASE("a loop that waits for a timer at the end of time sleeps", "[timer-overflow]") {
    // The kernel must not take the deadline for one that has passed: the loop would spin.
    test::program program;
    const auto delay = GENERATE(values<nanoseconds>(
        {nanoseconds::max(), nanoseconds::max() - 1s, std::chrono::hours(24 * 365 * 280)}));
    auto main = [&]() -> hob::task<> {
        auto sleeper = [&]() -> hob::task<> { co_await hob::sleep_for(delay); };
        auto sleeping = hob::create_task(sleeper());
        const hob::loop_handle handle = loop().get_handle();
        std::clock_t used = 0;
        std::thread waker([&] {
            const std::clock_t before = std::clock();
            std::this_thread::sleep_for(50ms);
            used = std::clock() - before;
            [[maybe_unused]] const bool posted =
                handle.call_soon_threadsafe([&] { sleeping.cancel(); });
        });
        CHECK_THROWS_AS(co_await sleeping, hob::cancelled_error);
        waker.join();
        // A spinning loop would have used all of the 50 ms.
        CHECK(used < CLOCKS_PER_SEC / 50);
    };
    program.run(main());
}

TEST_CASE("no timer fires early", "[timer-early]") {
    const auto mode = GENERATE(hob::ring_mode::defer_taskrun, hob::ring_mode::plain);
    test::program program(mode);
    int fired = 0;
    int early = 0;
    constexpr int count = 400;
    std::mt19937 random(test::random_seed());
    auto sleeper = [&](nanoseconds delay) -> hob::task<> {
        const auto start = hob::detail::clock::now();
        co_await hob::sleep_for(delay);
        early += hob::detail::clock::now() - start < delay ? 1 : 0;
        ++fired;
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        for (int number = 0; number != count; ++number) {
            const nanoseconds delay(random() % 30'000'000);
            group.start(sleeper(delay));
            const auto due = loop().time() + delay;
            loop().call_at(due, [&, due] {
                early += loop().time() < due ? 1 : 0;
                ++fired;
            });
        }
        co_await hob::sleep_for(31ms);
        while (fired != 2 * count)
            co_await hob::sleep_for(1ms);
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    program.run(main());
    CHECK(early == 0);
}

TEST_CASE("sub-nanosecond sleeps are rounded up", "[timer-early]") {
    test::program program;
    auto main = [&]() -> hob::task<> {
        const auto start = loop().time();
        co_await hob::sleep_for(std::chrono::duration<long double>(1e-3L + 1e-13L));
        CHECK(loop().time() - start >= 1'000'001ns);
    };
    program.run(main());
}

TEST_CASE("a million timers that are scheduled and cancelled take no memory", "[timer-prune]") {
    test::program program;
    auto main = [&]() -> hob::task<> {
        const int count = test::sanitized ? 100'000 : 1'000'000;
        long before = 0;
        for (int round = 0; round != count; ++round) {
            auto handle = loop().call_later(1h, [] { FAIL("fired"); });
            CHECK(handle.cancel());
            if (round == count / 10)
                before = test::resident_kib();
        }
        if (!test::sanitized)
            CHECK(test::resident_kib() - before < 1024);
        co_return;
    };
    program.run(main());
}

TEST_CASE("cancelled sleepers leave the timer queue", "[timer-prune][sleep-cancel]") {
    test::program program;
    auto sleeper = []() -> hob::task<> { co_await hob::sleep_for(1h); };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        for (int round = 0; round != 100; ++round) {
            std::vector<hob::task_handle<>> handles;
            for (int number = 0; number != 100; ++number)
                handles.push_back(group.create_task(sleeper()));
            co_await hob::yield();
            CHECK(hob::detail::reactor::here().timers().size() == 100);
            for (auto& each : handles)
                each.cancel();
            co_await test::settle(3);
            CHECK(hob::detail::reactor::here().timers().empty());
        }
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    program.run(main());
}

TEST_CASE("a timer's callback cancels and reschedules itself and others", "[timer-reentrant]") {
    test::program program;
    std::string log;
    std::vector<hob::call_handle> handles(3);
    auto main = [&]() -> hob::task<> {
        const auto when = loop().time() + 1ms;
        handles[0] = loop().call_at(when, [&] {
            log.push_back('0');
            CHECK_FALSE(handles[0].cancel());
            CHECK(handles[1].cancel()); // due in the same turn
            CHECK(handles[2].cancel()); // due later
            handles[1] = loop().call_later(0s, [&] { log.push_back('r'); });
            loop().call_at(loop().time() - 1h, [&] { log.push_back('p'); });
        });
        handles[1] = loop().call_at(when, [&] { log.push_back('1'); });
        handles[2] = loop().call_at(when + 1ms, [&] { log.push_back('2'); });
        CHECK(handles[0].when() == when);
        co_await hob::sleep_until(when + 3ms);
        // On a machine that comes so late, 'r' is due after the sleep.
        while (log.size() < 3)
            co_await hob::yield();
        CHECK(log == "0pr");
        CHECK_FALSE(handles[1].cancel());
    };
    program.run(main());
}

TEST_CASE("a timer that reschedules itself leaves room for the others", "[timer-reentrant]") {
    test::program program;
    int runs = 0;
    bool done = false;
    std::function<void()> again = [&] {
        ++runs;
        if (!done)
            loop().call_later(-1s, again);
    };
    auto main = [&]() -> hob::task<> {
        loop().call_later(0s, again);
        co_await hob::sleep_for(2ms);
        CHECK(runs > 1);
        co_await test::nop();
        done = true;
        co_await test::settle();
    };
    program.run(main());
}

TEST_CASE("a timer's callback may drop its handle and close over what it destroys",
          "[timer-reentrant][destroy-in-cb]") {
    test::program program;
    int alive = 0;
    auto handle = std::make_unique<hob::call_handle>();
    auto main = [&]() -> hob::task<> {
        *handle = loop().call_later(1us, [&, token = test::counted(alive)] { handle.reset(); });
        co_await hob::sleep_for(1ms);
        CHECK(handle == nullptr);
        CHECK(alive == 0);
        // A cancelled timer destroys its function at once.
        auto other = loop().call_later(1h, [token = test::counted(alive)] {});
        CHECK(alive == 1);
        other.cancel();
        CHECK(alive == 0);
    };
    program.run(main());
}

TEST_CASE("timers are looked at in each turn, however many completions there are",
          "[timer-starve]") {
    const auto mode = GENERATE(hob::ring_mode::defer_taskrun, hob::ring_mode::plain);
    test::program program(mode);
    bool fired = false;
    auto busy = [&]() -> hob::task<> {
        while (!fired)
            co_await test::nop();
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        for (int number = 0; number != 2000; ++number)
            group.start(busy());
        co_await hob::sleep_for(1ms);
        fired = true;
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    program.run(main());
    CHECK(fired);
}

TEST_CASE("the loop's clock is the monotonic one", "[clock-mono]") {
    test::program program;
    STATIC_REQUIRE(hob::detail::clock::is_steady);
    auto main = [&]() -> hob::task<> {
        const auto before = std::chrono::steady_clock::now();
        const auto between = loop().time();
        const auto after = std::chrono::steady_clock::now();
        CHECK(before <= between);
        CHECK(between <= after);
        co_return;
    };
    program.run(main());
}

TEST_CASE("a random mix of sleeps, cancellations and callbacks keeps its books",
          "[timer-order][sleep-cancel]") {
    test::program program;
    const unsigned seed = test::random_seed();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    int alive = 0;
    int woken = 0;
    auto sleeper = [&](nanoseconds delay) -> hob::task<> {
        const test::counted self(alive);
        co_await hob::sleep_for(delay);
        ++woken;
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        std::vector<hob::task_handle<>> handles;
        int cancelled = 0;
        int started = 0;
        for (int step = 0; step != 5000; ++step) {
            switch (random() % 4) {
            case 0:
            case 1:
                handles.push_back(group.create_task(sleeper(nanoseconds(random() % 2'000'000))));
                ++started;
                break;
            case 2:
                if (!handles.empty()) {
                    auto& victim = handles[random() % handles.size()];
                    victim.cancel();
                }
                break;
            default:
                co_await hob::yield();
            }
        }
        co_await hob::sleep_for(3ms);
        while (group.size() != 0)
            co_await hob::yield();
        for (const auto& each : handles) {
            CHECK(each.done());
            cancelled += each.cancelled() ? 1 : 0;
        }
        CHECK(woken + cancelled == started);
        CHECK(hob::detail::reactor::here().timers().empty());
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    program.run(main());
    CHECK(alive == 0);
}
