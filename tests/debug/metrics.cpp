// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/debug/metrics.hpp>
#include <hob/net/tcp.hpp>
#include <hob/sleep.hpp>
#include <hob/task_group.hpp>

#include <chrono>
#include <string>

using test::contains;
using test::gate;
using namespace std::chrono_literals;

namespace {

hob::task<> sleep_long() {
    co_await hob::sleep_for(1h);
}

} // namespace

TEST_CASE("metrics count what lives and what has happened", "[metrics]") {
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const hob::loop_metrics before = hob::metrics();
        CHECK(before.tasks == 1);
        CHECK(before.timers == 0);
        auto lead = [&]() -> hob::task<> {
            co_await hob::with_task_group([&](hob::task_group& group) -> hob::task<> {
                group.start(test::value_after(open, 1));
                group.start(sleep_long());
                co_await open.wait();
                group.cancel();
            });
        };
        const auto leader = hob::create_task(lead());
        co_await test::settle();
        const hob::loop_metrics during = hob::metrics();
        CHECK(during.tasks == 4);
        CHECK(during.timers == 1);
        CHECK(during.turns > before.turns);
        CHECK(during.steps >= before.steps + 4);
        open.open();
        co_await leader;
        CHECK(hob::metrics().tasks == 1);
        CHECK(hob::metrics().timers == 0);
    };
    program.run(main());
}

TEST_CASE("metrics count operations of the kernel and calls of it", "[metrics]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
        const hob::loop_metrics before = hob::metrics();
        auto accept = [&]() -> hob::task<> { co_await listener.accept(); };
        const auto accepting = hob::create_task(accept());
        co_await hob::sleep_for(1ms);
        const hob::loop_metrics during = hob::metrics();
        CHECK(during.operations_in_flight == before.operations_in_flight + 1);
        CHECK(during.system_calls > before.system_calls);
        accepting.cancel();
    };
    program.run(main());
}

TEST_CASE("a step that blocks shows as lag of the timers behind it", "[metrics]") {
    test::program program(std::make_unique<hob::event_loop>());
    auto main = [&]() -> hob::task<> {
        auto sleep = []() -> hob::task<> { co_await hob::sleep_for(1ms); };
        const auto sleeper = hob::create_task(sleep());
        co_await hob::yield();
        const auto end = std::chrono::steady_clock::now() + 20ms;
        while (std::chrono::steady_clock::now() < end) {
        }
        co_await sleeper;
        const hob::loop_metrics figures = hob::metrics();
        CHECK(figures.lag.count() == 1);
        CHECK(figures.lag.quantile(1) >= 19ms);
        CHECK_THAT(hob::to_string(figures), contains("timers_fired 1\n"));
    };
    program.run(main());
}

TEST_CASE("a deadline that was past when it was set is no lag", "[metrics]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        co_await hob::sleep_until(hob::event_loop::current().time() - 2h);
        co_await hob::sleep_until(hob::detail::time_point::min());
        CHECK(hob::metrics().lag.count() == 2);
        CHECK(hob::metrics().lag.quantile(1) < 1h);
    };
    program.run(main());
}

TEST_CASE("a lag histogram tells quantiles within a factor of two", "[metrics]") {
    hob::lag_histogram lags;
    CHECK(lags.quantile(0.5) == 0ns);
    for (int i = 0; i != 98; ++i)
        lags.add(1000ns);
    lags.add(1ms);
    lags.add(1s);
    CHECK(lags.count() == 100);
    CHECK(lags.quantile(0.5) == 1024ns);
    CHECK(lags.quantile(0.98) == 1024ns);
    CHECK(lags.quantile(0.99) == 1'048'576ns);
    CHECK(lags.quantile(1) == 1'073'741'824ns);

    hob::lag_histogram extremes;
    extremes.add(-5ns);
    extremes.add(0ns);
    CHECK(extremes.buckets()[0] == 2);
    CHECK(extremes.quantile(1) == 2ns);
    extremes.add(std::chrono::nanoseconds::max());
    CHECK(extremes.quantile(1) == std::chrono::nanoseconds::max());
}
