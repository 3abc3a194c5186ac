// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/child_process.hpp"
#include "support/program.hpp"

#include <hob/debug/stall_watchdog.hpp>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using test::contains;

namespace {

/// Collects reports, and lets a step block until one has come.
class report_box {
  public:
    void put(const hob::stall_report& report) {
        {
            const std::lock_guard lock(mutex_);
            reports_.push_back(report);
        }
        arrived_.notify_all();
    }
    /// What a blocking step does: nothing that the loop could see.
    [[gnu::noinline]] void block_until(std::size_t count) {
        std::unique_lock lock(mutex_);
        arrived_.wait(lock, [&] { return reports_.size() >= count; });
    }
    [[nodiscard]] std::vector<hob::stall_report> take() {
        const std::lock_guard lock(mutex_);
        return reports_;
    }

  private:
    std::mutex mutex_;
    std::condition_variable arrived_;
    std::vector<hob::stall_report> reports_;
};

/// Takes a capture as many calls deeper.
int take_below(hob::detail::stall_capture& capture, int calls) {
    // A compiler would make a loop of a call that it knows.
    int (*volatile deeper)(hob::detail::stall_capture&, int) = take_below;
    if (calls == 0)
        capture.take();
    else
        calls += deeper(capture, calls - 1);
    return calls;
}

} // namespace

TEST_CASE("a step that blocks is reported while it blocks, with both stacks", "[watchdog]") {
    report_box box;
    test::program program;
    auto blocks = [&]() -> hob::task<> {
        co_await hob::yield();
        box.block_until(1);
    };
    auto outer = [&]() -> hob::task<> { co_await blocks(); };
    auto main = [&]() -> hob::task<> {
        const hob::stall_watchdog watchdog(
            2ms, [&](const hob::stall_report& report) { box.put(report); });
        const auto task = hob::create_task(outer());
        task.set_name("the blocker");
        co_await task;
    };
    program.run(main());
    const auto reports = box.take();
    REQUIRE(reports.size() >= 1);
    CHECK(reports[0].task == "the blocker");
    CHECK(reports[0].limit == 2ms);
    CHECK_THAT(reports[0].async_stack, contains("stall_watchdog.cpp:"));
    // The inner await first, then the one that awaits it.
    CHECK(std::count(reports[0].async_stack.begin(), reports[0].async_stack.end(), '\n') == 2);
    CHECK_FALSE(reports[0].native_stack.empty());
}

TEST_CASE("each stall is reported once, also one of a callback", "[watchdog]") {
    report_box box;
    test::program program;
    auto main = [&]() -> hob::task<> {
        const hob::stall_watchdog watchdog(
            2ms, [&](const hob::stall_report& report) { box.put(report); });
        test::gate done;
        hob::event_loop::current().call_soon([&] {
            box.block_until(1);
            done.open();
        });
        co_await done.wait();
    };
    program.run(main());
    const auto reports = box.take();
    REQUIRE(reports.size() == 1);
    CHECK(reports[0].task.empty());
    CHECK(reports[0].async_stack.empty());
}

TEST_CASE("stalls that nothing orders but the watchdog are reported one after the other",
          "[watchdog][tsan]") {
    constexpr int stalls = 3;
    std::atomic<int> reports = 0;
    std::string names;
    test::program program;
    auto block_until = [&](int count) -> hob::task<> {
        // A lock would order the reports with the steps, and hide a race of the watchdog.
        while (reports.load(std::memory_order_relaxed) < count)
            std::this_thread::yield();
        co_return;
    };
    auto main = [&]() -> hob::task<> {
        const hob::stall_watchdog watchdog(2ms, [&](const hob::stall_report& report) {
            names += report.task + " ";
            reports.fetch_add(1, std::memory_order_relaxed);
        });
        for (int count = 1; count <= stalls; ++count) {
            const auto task = hob::create_task(block_until(count));
            task.set_name(std::to_string(count));
            co_await task;
        }
    };
    program.run(main());
    CHECK_THAT(names, contains("1 2 3 "));
}

TEST_CASE("a signal that comes too late leaves an answer that is being read alone", "[watchdog]") {
    hob::detail::stall_capture capture;
    capture.ask();
    capture.take();
    REQUIRE(capture.wait());
    const std::string first = capture.native_stack();
    take_below(capture, 3);
    CHECK(capture.native_stack() == first);
    capture.ask();
    take_below(capture, 3);
    REQUIRE(capture.wait());
    CHECK(capture.native_stack() != first);
}

TEST_CASE("a loop that sleeps is not taken for blocked", "[watchdog]") {
    report_box box;
    test::program program;
    auto main = [&]() -> hob::task<> {
        const hob::stall_watchdog watchdog(
            500ms, [&](const hob::stall_report& report) { box.put(report); });
        co_await hob::sleep_for(700ms);
    };
    program.run(main());
    CHECK(box.take().empty());
}

TEST_CASE("a reporter that throws stops neither the watchdog nor the program", "[watchdog]") {
    report_box box;
    test::program program;
    auto main = [&]() -> hob::task<> {
        const hob::stall_watchdog watchdog(1ms, [&](const hob::stall_report& report) {
            box.put(report);
            throw std::runtime_error("no room for a report");
        });
        for (std::size_t count = 1; count != 3; ++count) {
            box.block_until(count);
            co_await hob::yield();
        }
    };
    program.run(main());
    CHECK(box.take().size() >= 2);
}

TEST_CASE("a child that leaves a watched task ends its copy of the watchdog",
          "[watchdog][fork-child]") {
    // TSan lets no child of a process with threads go on.
    if (test::sanitized)
        return;
    test::program program;
    pid_t child = -1;
    auto main = [&]() -> hob::task<> {
        const hob::stall_watchdog watchdog(1h);
        co_await hob::yield();
        child = ::fork();
        if (child == 0)
            ::alarm(30);
    };
    try {
        program.run(main());
    } catch (const hob::fork_error&) {
        ::_exit(7);
    }
    REQUIRE(child > 0);
    CHECK(test::exit_code_of(child) == 7);
}

TEST_CASE("one watchdog a thread, and a limit above zero", "[watchdog]") {
    test::program program;
    auto main = []() -> hob::task<> {
        CHECK_THROWS_AS(hob::stall_watchdog(0ms), hob::usage_error);
        {
            const hob::stall_watchdog first(1s);
            CHECK_THROWS_AS(hob::stall_watchdog(1s), hob::usage_error);
        }
        const hob::stall_watchdog again(1s);
        co_return;
    };
    program.run(main());
    CHECK_THROWS_AS(hob::stall_watchdog(1s), hob::no_running_loop_error);
}
