// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/program.hpp"

#include <hob/executor/run_coroutine_threadsafe.hpp>
#include <hob/executor/run_in_executor.hpp>
#include <hob/finally.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using test::gate;

namespace {

/// Runs a loop until `body(loop_handle)`, on another thread, has returned.
template <class Body> void beside_a_loop(test::program& program, Body body) {
    gate ended;
    auto main = [&]() -> hob::task<> {
        const hob::loop_handle loop = hob::event_loop::current().get_handle();
        const std::jthread other([&] {
            body(loop);
            static_cast<void>(loop.call_soon_threadsafe([&] { ended.open(); }));
        });
        co_await ended.wait();
    };
    program.run(main());
}

} // namespace

TEST_CASE("another thread gets the value, the exception, or the cancellation of a task", "[rct]") {
    const auto mode = GENERATE(hob::ring_mode::defer_taskrun, hob::ring_mode::plain);
    test::program program(mode);
    const auto loop_thread = std::this_thread::get_id();
    beside_a_loop(program, [&](const hob::loop_handle& loop) {
        auto value = [&]() -> hob::task<std::unique_ptr<int>> {
            co_await hob::yield();
            CHECK(std::this_thread::get_id() == loop_thread);
            co_return std::make_unique<int>(3);
        };
        CHECK(*hob::run_coroutine_threadsafe(loop, value()).get() == 3);

        auto failing = []() -> hob::task<> {
            co_await hob::yield();
            throw std::runtime_error("remote");
        };
        auto failed = hob::run_coroutine_threadsafe(loop, failing());
        CHECK_THROWS_WITH(failed.get(), "remote");

        auto sleeping = []() -> hob::task<int> {
            co_await hob::sleep_for(1h);
            co_return 1;
        };
        auto slow = hob::run_coroutine_threadsafe(loop, sleeping());
        CHECK_FALSE(slow.wait_for(1ms));
        CHECK_FALSE(slow.done());
        CHECK(slow.cancel());
        CHECK_THROWS_AS(slow.get(), hob::cancelled_error);
        CHECK(slow.done());
        CHECK_FALSE(slow.cancel());
        CHECK_THROWS_AS(hob::run_coroutine_threadsafe(loop, hob::task<>(nullptr)),
                        hob::usage_error);
    });
    CHECK(program.reports.empty());
}

TEST_CASE("a task that is cancelled before it began never begins", "[rct]") {
    test::program program;
    bool began = false;
    beside_a_loop(program, [&](const hob::loop_handle& loop) {
        std::atomic<bool> blocked = false;
        std::atomic<bool> go = false;
        static_cast<void>(loop.call_soon_threadsafe([&] {
            blocked = true;
            while (!go)
                std::this_thread::yield();
        }));
        while (!blocked)
            std::this_thread::yield();
        auto task = [&]() -> hob::task<> {
            began = true;
            co_return;
        };
        auto future = hob::run_coroutine_threadsafe(loop, task());
        CHECK(future.cancel());
        go = true;
        CHECK_THROWS_AS(future.get(), hob::cancelled_error);
    });
    CHECK_FALSE(began);
}

TEST_CASE("an exception is thrown to everybody who asks, a value is taken once", "[rct]") {
    test::program program;
    test::gate end;
    auto fail = []() -> hob::task<int> {
        throw std::runtime_error("failed");
        co_return 0;
    };
    auto fail_with_nothing = []() -> hob::task<> {
        throw std::runtime_error("failed");
        co_return;
    };
    auto give = []() -> hob::task<int> { co_return 7; };
    std::jthread thread([&, loop = program.loop().get_handle()] {
        auto failed = hob::run_coroutine_threadsafe(loop, fail());
        auto copy = failed;
        auto nothing = hob::run_coroutine_threadsafe(loop, fail_with_nothing());
        for (int round = 0; round != 2; ++round) {
            CHECK_THROWS_WITH(failed.get(), "failed");
            CHECK_THROWS_WITH(copy.get(), "failed");
            CHECK_THROWS_WITH(nothing.get(), "failed");
        }
        auto given = hob::run_coroutine_threadsafe(loop, give());
        CHECK(given.get() == 7);
        CHECK_THROWS_AS(given.get(), hob::usage_error);
        CHECK(given.wait_for(std::chrono::nanoseconds::max()));
        if (!loop.call_soon_threadsafe([&] { end.open(); }))
            std::terminate();
    });
    auto main = [&]() -> hob::task<> { co_await end.wait(); };
    program.run(main());
}

TEST_CASE("a limit without end waits for the end", "[rct]") {
    test::program program;
    test::gate end;
    test::gate open;
    std::jthread thread([&, loop = program.loop().get_handle()] {
        auto future = hob::run_coroutine_threadsafe(loop, test::value_after(open, 7));
        if (!loop.call_soon_threadsafe([&] { open.open(); }))
            std::terminate();
        CHECK(future.wait_for(std::chrono::nanoseconds::max()));
        CHECK(future.get() == 7);
        if (!loop.call_soon_threadsafe([&] { end.open(); }))
            std::terminate();
    });
    auto main = [&]() -> hob::task<> { co_await end.wait(); };
    program.run(main());
}

TEST_CASE("a task whose future is gone may be in a deadlock", "[rct]") {
    test::program program;
    test::gate never;
    std::jthread thread([&, loop = program.loop().get_handle()] {
        static_cast<void>(hob::run_coroutine_threadsafe(loop, test::value_after(never, 7)));
    });
    auto main = [&]() -> hob::task<> { co_await never.wait(); };
    CHECK_THROWS_AS(program.run(main()), hob::deadlock_error);
    program.runner().close();
}

TEST_CASE("dropping the future leaves the task running", "[rct]") {
    test::program program;
    std::atomic<bool> ran = false;
    beside_a_loop(program, [&](const hob::loop_handle& loop) {
        gate open;
        auto task = [&]() -> hob::task<> {
            co_await open.wait();
            ran = true;
        };
        static_cast<void>(hob::run_coroutine_threadsafe(loop, task()));
        auto opening = [&]() -> hob::task<> {
            open.open();
            co_await test::settle();
        };
        hob::run_coroutine_threadsafe(loop, opening()).get();
        CHECK(ran);
    });
}

TEST_CASE("waiting on the loop's own thread is refused", "[rct]") {
    test::program program;
    auto main = [&]() -> hob::task<> {
        auto seven = []() -> hob::task<int> { co_return 7; };
        auto future =
            hob::run_coroutine_threadsafe(hob::event_loop::current().get_handle(), seven());
        CHECK_THROWS_AS(future.get(), hob::usage_error);
        CHECK_THROWS_AS(future.wait_for(1s), hob::usage_error);
        while (!future.done())
            co_await hob::yield();
        CHECK(future.get() == 7);
    };
    program.run(main());
}

TEST_CASE("a closed loop fails what it is asked", "[rct]") {
    std::optional<hob::loop_handle> loop;
    int alive = 0;
    {
        test::program program;
        loop.emplace(program.loop().get_handle());
    }
    auto task = [](test::counted) -> hob::task<> { co_return; };
    auto future = hob::run_coroutine_threadsafe(*loop, task(test::counted(alive)));
    CHECK(future.done());
    CHECK(alive == 0);
    CHECK_THROWS_AS(future.get(), hob::loop_closed_error);
}

TEST_CASE("a job may wait for the loop that waits for it", "[ex-reent]") {
    test::program program;
    auto main = [&]() -> hob::task<> {
        const hob::loop_handle loop = hob::event_loop::current().get_handle();
        auto twice = [](int value) -> hob::task<int> {
            co_await hob::yield();
            co_return 2 * value;
        };
        auto job = [&] {
            int value = 1;
            for (int round = 0; round != 10; ++round)
                value = hob::run_coroutine_threadsafe(loop, twice(value)).get();
            return value;
        };
        const int result = co_await hob::to_thread(std::ref(job));
        CHECK(result == 1024);
    };
    program.run(main());
}

TEST_CASE("a job that waits for a loop which closes is released", "[ex-reent]") {
    std::string log;
    {
        test::program program;
        std::atomic<bool> waits = false;
        const hob::loop_handle loop = program.loop().get_handle();
        auto never = [&]() -> hob::task<> {
            waits = true;
            co_await hob::sleep_for(1h);
        };
        auto job = [&] {
            try {
                hob::run_coroutine_threadsafe(loop, never()).get();
            } catch (const hob::cancelled_error&) {
                log += "released ";
            }
            // From now on the loop takes tasks, but cancels them at once.
            try {
                hob::run_coroutine_threadsafe(loop, never()).get();
            } catch (const std::exception&) {
                log += "again ";
            }
        };
        auto waiting = [&]() -> hob::task<> { co_await hob::to_thread(std::ref(job)); };
        auto main = [&]() -> hob::task<> {
            hob::create_task(waiting());
            while (!waits)
                co_await hob::yield();
        };
        program.run(main());
        program.runner().close();
    }
    CHECK(log == "released again ");
}

TEST_CASE("eight threads ask one loop for tasks", "[rct]") {
    test::program program;
    std::atomic<long> sum = 0;
    beside_a_loop(program, [&](const hob::loop_handle& loop) {
        auto echo = [](int value) -> hob::task<int> {
            if (value % 3 == 0)
                co_await hob::yield();
            co_return value;
        };
        std::vector<std::jthread> threads;
        for (int thread = 0; thread != 8; ++thread)
            threads.emplace_back([&] {
                for (int value = 0; value != 500; ++value)
                    sum += hob::run_coroutine_threadsafe(loop, echo(value)).get();
            });
    });
    CHECK(sum == 8L * 500 * 499 / 2);
}

TEST_CASE("a task that is stopped before its first step was not forgotten by anybody", "[rct]") {
    hob::runner_options options;
    options.debug = true;
    test::program program(options);
    // The loop closes some turns later: with one of these numbers, right before the first step.
    const int turns = GENERATE(0, 1, 2, 3);
    const bool cancels = GENERATE(false, true);
    INFO(turns << " turns");
    bool began = false;
    auto work = [&]() -> hob::task<int> {
        began = true;
        co_return 1;
    };
    std::optional<hob::threadsafe_future<int>> future;
    auto main = [&]() -> hob::task<> {
        future = hob::run_coroutine_threadsafe(hob::event_loop::current().get_handle(), work());
        if (cancels)
            CHECK(future->cancel());
        for (int turn = 0; turn != turns; ++turn)
            co_await hob::yield();
    };
    program.run(main());
    program.runner().close();
    CHECK_FALSE((began && cancels));
    if (!began)
        CHECK_THROWS(future->get());
    CHECK(program.reports.empty());
}

TEST_CASE("a task that its loop's closing overtakes was not forgotten by anybody", "[rct]") {
    hob::runner_options options;
    options.debug = true;
    test::program program(options);
    std::optional<hob::threadsafe_future<int>> future;
    auto main = [&]() -> hob::task<> {
        future = hob::run_coroutine_threadsafe(hob::event_loop::current().get_handle(),
                                               test::value_now(1));
        co_return;
    };
    program.run(main());
    program.runner().close();
    CHECK_THROWS_AS(future->get(), hob::loop_closed_error);
    CHECK(program.reports.empty());
}
