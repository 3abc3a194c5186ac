// SPDX-License-Identifier: MIT
// Time in a simulation: it jumps, never goes back, and no timer fires before its deadline.
#include "testing/simulated_program.hpp"

#include <hob/hob.hpp>
#include <hob/testing/simulation.hpp>

#include <algorithm>
#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

auto now() {
    return hob::event_loop::current().time();
}

hob::task<> sleep_and_note(std::chrono::nanoseconds delay, int number, std::vector<int>& order) {
    const auto deadline = now() + delay;
    co_await hob::sleep_until(deadline);
    CHECK(now() >= deadline);
    order.push_back(number);
}

hob::task<> sleep_long(hob::testing::simulation& world) {
    const auto start = now();
    const auto real_start = std::chrono::steady_clock::now();
    co_await hob::sleep_for(24h * 365);
    CHECK(now() - start == 24h * 365);
    CHECK(world.now() == now());
    CHECK(std::chrono::steady_clock::now() - real_start < 24h);
}

hob::task<> sleep_in_order(hob::testing::simulation&) {
    std::vector<int> order;
    // Ties are broken by creation; each deadline has one.
    constexpr int count = 40;
    std::vector<hob::task_handle<>> sleepers;
    for (int each = 0; each != count; ++each)
        sleepers.push_back(hob::create_task(sleep_and_note((each * 7 % 20) * 1us, each, order)));
    for (const auto& each : sleepers)
        co_await each;
    std::vector<int> expected;
    for (int delay = 0; delay != 20; ++delay)
        for (int each = 0; each != count; ++each)
            if (each * 7 % 20 == delay)
                expected.push_back(each);
    CHECK(order == expected);
}

/// Timers among operations that complete all the time.
hob::task<> sleep_among_completions(hob::testing::simulation&) {
    bool done = false;
    auto busy = [&done]() -> hob::task<> {
        auto before = now();
        while (!done) {
            co_await test::nop();
            CHECK(now() >= before);
            before = now();
        }
    };
    const auto first = hob::create_task(busy());
    const auto second = hob::create_task(busy());
    std::vector<int> order;
    for (int each = 0; each != 20; ++each)
        co_await sleep_and_note(each * 13us, each, order);
    done = true;
    co_await first;
    co_await second;
}

hob::task<> spin_until_later(hob::testing::simulation&) {
    bool fired = false;
    hob::event_loop::current().call_later(1ms, [&fired] { fired = true; });
    while (!fired)
        co_await hob::yield();
}

hob::task<> be_woken(hob::testing::simulation& world) {
    bool woken = false;
    const auto start = world.now();
    std::thread other([&woken, handle = hob::event_loop::current().get_handle()] {
        static_cast<void>(handle.call_soon_threadsafe([&woken] { woken = true; }));
    });
    while (!woken)
        co_await test::nop();
    other.join();
    CHECK(world.now() >= start);
}

hob::task<> compute_within_an_hour(hob::testing::simulation& world) {
    // Gone before the descriptors are counted: the end of a job keeps the loop's eventfd for a
    // while.
    hob::thread_pool pool;
    const auto start = world.now();
    // Longer than the loop would watch for its end.
    const auto work = [] { std::this_thread::sleep_for(1ms); };
    const auto first = co_await hob::race(hob::run_in_executor(pool, work), hob::sleep_for(1h));
    CHECK(first.index() == 0);
    CHECK(world.now() - start < 1h);
}

hob::task<> release_after_a_while(hob::testing::simulation& world) {
    hob::thread_pool pool;
    const auto start = world.now();
    std::promise<void> released;
    const auto work = [&] { released.get_future().wait(); };
    auto release = [&]() -> hob::task<> {
        co_await hob::sleep_for(2ms);
        released.set_value();
    };
    co_await hob::gather(hob::run_in_executor(pool, work), release());
    CHECK(world.now() - start >= 2ms);
}

} // namespace

TEST_CASE("a sleep of a year takes no time and is exact", "[testing][clock-mono][timer-early]") {
    test::for_each_seed(sleep_long);
}
TEST_CASE("timers fire by deadline, and ties by creation", "[testing][timer-order]") {
    test::for_each_seed(sleep_in_order);
}
TEST_CASE("no timer fires early and time never goes back, whatever else completes",
          "[testing][timer-early][clock-mono][timer-starve]") {
    test::for_each_seed(sleep_among_completions);
}
TEST_CASE("time passes for a task that only yields, and timers fire", "[testing]") {
    test::for_each_seed(spin_until_later);
}
TEST_CASE("another thread wakes a simulated loop", "[testing]") {
    for (int round = 0; round != 50; ++round)
        test::run_simulated(hob::testing::simulation_options(), be_woken);
}
TEST_CASE("a timer does not overtake the job of a pool", "[testing]") {
    test::run_simulated(hob::testing::simulation_options(), compute_within_an_hour);
}
TEST_CASE("a timer fires that the job of a pool waits for", "[testing]") {
    test::run_simulated(hob::testing::simulation_options(), release_after_a_while);
}
TEST_CASE("a simulation has one loop", "[testing]") {
    hob::testing::simulation world;
    const auto loop = world.make_loop();
    CHECK_THROWS_AS(world.make_loop(), hob::usage_error);
    CHECK(std::string(loop->describe()) == "a simulated kernel, seed 0");
}
