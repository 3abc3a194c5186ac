// SPDX-License-Identifier: MIT
// Cancelled jobs and pools that are shut down: nothing runs twice, nothing is lost or touched late.
#include "executor/pool_support.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;

hob::task<> wait_at(hob::thread_pool& pool, test::thread_gate& gate, bool& resumed) {
    co_await hob::run_in_executor(pool, [&gate] { gate.wait(); });
    resumed = true;
}
hob::task<> abandon_at(hob::thread_pool& pool, std::shared_ptr<test::thread_gate> gate) {
    const auto job = [gate] {
        gate->wait();
        return std::string(1000, 'x');
    };
    co_await hob::run_in_executor(pool, hob::abandon_on_cancel, job);
    FAIL("an abandoned job resumed its awaiter");
}
hob::task<> fail_abandoned(hob::thread_pool& pool, test::thread_gate& gate) {
    const auto job = [&gate] {
        gate.wait();
        throw std::runtime_error("too late");
    };
    co_await hob::run_in_executor(pool, hob::abandon_on_cancel, job);
}
hob::task<> count_run(hob::thread_pool& pool, int& runs) {
    co_await hob::run_in_executor(pool, [&runs] { ++runs; });
}
hob::task<> count_abandonable_run(hob::thread_pool& pool, int& runs) {
    co_await hob::run_in_executor(pool, hob::abandon_on_cancel, [&runs] { ++runs; });
}

hob::task<bool> was_stopped(const hob::task_handle<>& task) {
    try {
        co_await task;
    } catch (const hob::cancelled_error&) {
        co_return true;
    }
    co_return false;
}

hob::task<> queued_jobs_never_run() {
    hob::thread_pool pool(test::with_threads(1));
    test::thread_gate gate;
    bool resumed = false;
    int runs = 0;
    const auto running = hob::create_task(wait_at(pool, gate, resumed));
    co_await test::settle();
    gate.wait_for_visitors(1);
    const auto queued = hob::create_task(count_run(pool, runs));
    const auto abandonable = hob::create_task(count_abandonable_run(pool, runs));
    const auto kept = hob::create_task(count_run(pool, runs));
    co_await test::settle();
    queued.cancel();
    abandonable.cancel();
    // They end while the only thread is busy.
    const bool queued_stopped = co_await was_stopped(queued);
    CHECK(queued_stopped);
    const bool abandonable_stopped = co_await was_stopped(abandonable);
    CHECK(abandonable_stopped);
    gate.open();
    co_await running;
    co_await kept;
    CHECK(runs == 1);
}

hob::task<> started_jobs_are_waited_for() {
    hob::thread_pool pool;
    test::thread_gate gate;
    bool resumed = false;
    const auto job = hob::create_task(wait_at(pool, gate, resumed));
    co_await test::settle();
    gate.wait_for_visitors(1);
    job.cancel();
    co_await test::settle();
    CHECK_FALSE(job.done());
    gate.open();
    co_await was_stopped(job);
    CHECK(resumed); // the result was delivered
}

hob::task<> started_jobs_are_abandoned() {
    hob::thread_pool pool;
    const auto gate = std::make_shared<test::thread_gate>();
    const auto job = hob::create_task(abandon_at(pool, gate));
    co_await test::settle();
    gate->wait_for_visitors(1);
    job.cancel();
    const bool stopped = co_await was_stopped(job); // while the job still runs
    CHECK(stopped);
    gate->open();
}

/// Cancels at every distance from the job's end.
hob::task<> cancel_races() {
    hob::thread_pool pool(test::with_threads(2));
    int delivered = 0;
    int stopped = 0;
    for (int round = 0; round != 5000; ++round) {
        auto ran = std::make_shared<int>(0);
        bool resumed = false;
        const auto body = [&pool, &resumed, ran]() -> hob::task<> {
            const auto job = [ran] { ++*ran; };
            co_await hob::run_in_executor(pool, job);
            resumed = true;
        };
        const auto task = hob::create_task(body());
        co_await test::settle(round % 7);
        task.cancel();
        co_await was_stopped(task);
        // It ran and the result arrived, or it never did.
        if (resumed != (*ran == 1))
            FAIL("ran " << *ran << " times, resumed: " << resumed);
        ++(resumed ? delivered : stopped);
    }
    CHECK(delivered > 0);
    CHECK(stopped > 0);
}

hob::task<> abandon_races() {
    hob::thread_pool pool(test::with_threads(2));
    for (int round = 0; round != 5000; ++round) {
        const auto job = [text = std::string(100, 'a')] { return text + "b"; };
        const auto body = [&]() -> hob::task<> {
            const std::string text =
                co_await hob::run_in_executor(pool, hob::abandon_on_cancel, job);
            if (text.size() != 101)
                FAIL("a result was lost");
        };
        const auto task = hob::create_task(body());
        co_await test::settle(round % 7);
        task.cancel();
        co_await was_stopped(task);
    }
}

} // namespace

TEST_CASE("a cancelled job that has not started never runs", "[exec-cancel]") {
    test::program(test::each_ring()).run(queued_jobs_never_run());
}
TEST_CASE("a cancelled job that has started is waited for", "[exec-cancel]") {
    test::program(test::each_ring()).run(started_jobs_are_waited_for());
}
TEST_CASE("a cancelled job that has started is abandoned on demand", "[exec-cancel]") {
    test::program(test::each_ring()).run(started_jobs_are_abandoned());
}
TEST_CASE("jobs that race with their cancellation", "[exec-cancel]") {
    test::program(test::each_ring()).run(cancel_races());
}
TEST_CASE("abandoned jobs that race with their end", "[exec-cancel]") {
    test::program(test::each_ring()).run(abandon_races());
}

TEST_CASE("the exception of an abandoned job is reported", "[exec-cancel]") {
    hob::thread_pool pool;
    test::program program;
    test::thread_gate gate;
    const auto main = [&]() -> hob::task<> {
        const auto job = hob::create_task(fail_abandoned(pool, gate));
        co_await test::settle();
        gate.wait_for_visitors(1);
        job.cancel();
        co_await was_stopped(job);
        gate.open();
        pool.shutdown();
        co_await test::settle();
    };
    program.run(main());
    REQUIRE(program.reports.size() == 1);
    CHECK(hob::exception_group::describe(program.reports[0].exception) == "too late");
}

TEST_CASE("an abandoned job outlives its loop", "[ex-outlive]") {
    const auto options = test::each_ring();
    const auto gate = std::make_shared<test::thread_gate>();
    hob::thread_pool pool;
    std::vector<hob::exception_context> reports;
    {
        test::program program(options);
        const auto main = [&]() -> hob::task<> {
            // Left behind: the closing loop stops them, and does not wait for the jobs.
            hob::create_task(abandon_at(pool, gate)).set_name("left");
            hob::create_task(fail_abandoned(pool, *gate)).set_name("left");
            co_await test::settle();
            gate->wait_for_visitors(2);
        };
        program.run(main());
        program.runner().close();
        reports = program.reports;
    }
    CHECK(reports.empty());
    gate->open();
    pool.shutdown();
}

TEST_CASE("what a closed loop has done comes before what an abandoned job's end frees",
          "[ex-outlive][ts-hb]") {
    hob::thread_pool pool;
    std::atomic<bool> has_started = false;
    // Orders nothing: only the post that fails does.
    std::atomic<bool> may_end = false;
    {
        test::program program;
        const auto main = [&]() -> hob::task<> {
            hob::create_task(hob::run_in_executor(pool, hob::abandon_on_cancel, [&] {
                has_started.store(true, std::memory_order_relaxed);
                while (!may_end.load(std::memory_order_relaxed))
                    std::this_thread::yield();
            }));
            co_await test::settle();
            while (!has_started.load(std::memory_order_relaxed))
                std::this_thread::yield();
        };
        program.run(main());
        program.runner().close();
    }
    may_end.store(true, std::memory_order_relaxed);
    pool.shutdown();
}

TEST_CASE("a loop that closes waits for the jobs of its tasks", "[ex-outlive]") {
    hob::thread_pool pool;
    test::thread_gate gate;
    std::thread opener;
    bool resumed = false;
    {
        test::program program;
        const auto main = [&]() -> hob::task<> {
            hob::create_task(wait_at(pool, gate, resumed)).set_name("left");
            co_await test::settle();
            gate.wait_for_visitors(1);
        };
        program.run(main());
        opener = std::thread([&gate] { gate.open(); });
    }
    CHECK(resumed);
    opener.join();
}

TEST_CASE("a shutdown runs or drops what is queued", "[ex-shutdown]") {
    const auto queued = GENERATE(hob::queued_jobs::run, hob::queued_jobs::drop);
    test::program program(test::each_ring());
    const auto main = [&]() -> hob::task<> {
        hob::thread_pool pool(test::with_threads(1));
        test::thread_gate gate;
        bool resumed = false;
        int runs = 0;
        const auto running = hob::create_task(wait_at(pool, gate, resumed));
        co_await test::settle();
        gate.wait_for_visitors(1);
        const auto waiting = hob::create_task(count_run(pool, runs));
        const auto abandonable = hob::create_task(count_abandonable_run(pool, runs));
        co_await test::settle();
        CHECK_FALSE(pool.shutdown_for(0s, queued)); // one is running
        gate.open();
        pool.shutdown();
        co_await running;
        CHECK(resumed);
        for (const auto& each : {waiting, abandonable}) {
            if (queued == hob::queued_jobs::run)
                co_await each;
            else
                CHECK_THROWS_AS(co_await each, hob::pool_closed_error);
        }
        CHECK(runs == (queued == hob::queued_jobs::run ? 2 : 0));
        CHECK(pool.size() == 0);
        CHECK(pool.shutdown_for(0s));
        try {
            co_await count_run(pool, runs);
            FAIL("a closed pool took a job");
        } catch (const hob::pool_closed_error&) {
        }
    };
    program.run(main());
}

TEST_CASE("cancellations that race with a shutdown which drops the jobs", "[ex-shutdown]") {
    test::program program;
    const auto round = [](unsigned delay) -> hob::task<> {
        constexpr int jobs = 300;
        hob::thread_pool pool(test::with_threads(1));
        test::thread_gate gate;
        bool resumed = false;
        int runs = 0;
        const auto running = hob::create_task(wait_at(pool, gate, resumed));
        co_await test::settle();
        gate.wait_for_visitors(1);
        std::vector<hob::task_handle<>> waiting;
        for (int job = 0; job != jobs; ++job)
            waiting.push_back(hob::create_task(count_run(pool, runs)));
        co_await test::settle();
        std::atomic<bool> go = false;
        std::jthread closer([&] {
            go.wait(false);
            for (unsigned spin = 0; spin != delay; ++spin)
                asm volatile("");
            static_cast<void>(pool.shutdown_for(0s, hob::queued_jobs::drop));
        });
        // From the other end than the shutdown.
        for (auto each = waiting.rbegin(); each != waiting.rend(); ++each)
            each->cancel();
        go = true;
        go.notify_one();
        co_await test::settle();
        closer.join();
        gate.open();
        co_await running;
        for (const auto& each : waiting) {
            try {
                co_await each;
            } catch (const hob::pool_closed_error&) {
            } catch (const hob::cancelled_error&) {
            }
        }
        CHECK(runs == 0);
    };
    for (unsigned number = 0; number != 60; ++number)
        program.run(round(number * 997 % 30'000));
}

TEST_CASE("each of several shutdowns waits for the threads", "[ex-shutdown]") {
    test::program program;
    const auto main = []() -> hob::task<> {
        hob::thread_pool pool(test::with_threads(1));
        test::thread_gate gate;
        bool resumed = false;
        const auto running = hob::create_task(wait_at(pool, gate, resumed));
        co_await test::settle();
        gate.wait_for_visitors(1);
        std::atomic<int> returned = 0;
        std::atomic<bool> right = true;
        std::vector<std::jthread> closers;
        for (int closer = 0; closer != 3; ++closer)
            closers.emplace_back([&] {
                pool.shutdown();
                right = right && pool.size() == 0;
                ++returned;
            });
        CHECK_FALSE(pool.shutdown_for(1ms));
        CHECK(returned == 0);
        gate.open();
        CHECK(pool.shutdown_for(std::chrono::nanoseconds::max()));
        closers.clear();
        CHECK(right);
        co_await running;
    };
    program.run(main());
}

TEST_CASE("a job cannot shut down its own pool", "[ex-shutdown]") {
    test::program program;
    const auto main = []() -> hob::task<> {
        hob::thread_pool pool;
        const auto job = [&pool] { pool.shutdown(); };
        try {
            co_await hob::run_in_executor(pool, job);
            FAIL("a job waited for itself");
        } catch (const hob::usage_error&) {
        }
    };
    program.run(main());
}

TEST_CASE("a pool may be gone before its last result has arrived", "[ex-shutdown]") {
    test::program program(test::each_ring());
    const auto main = []() -> hob::task<> {
        std::optional<hob::thread_pool> pool(std::in_place);
        int runs = 0;
        const auto job = hob::create_task(count_run(*pool, runs));
        while (pool->size() == 0)
            co_await hob::yield();
        // Within one step of this task.
        pool.reset();
        CHECK(runs == 1);
        job.cancel();
        const bool stopped = co_await was_stopped(job);
        CHECK_FALSE(stopped);
    };
    program.run(main());
}
