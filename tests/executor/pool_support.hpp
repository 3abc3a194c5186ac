// SPDX-License-Identifier: MIT
// What the tests of the executor share.
#pragma once

#include "catch.hpp"
#include "support/program.hpp"

#include <hob/executor/run_in_executor.hpp>

#include <condition_variable>
#include <mutex>
#include <thread>

namespace test {

/// For threads: stays open once it was opened.
class thread_gate {
  public:
    void open() {
        const std::lock_guard lock(mutex_);
        is_open_ = true;
        changed_.notify_all();
    }
    void wait() {
        std::unique_lock lock(mutex_);
        ++waiting_;
        changed_.notify_all();
        changed_.wait(lock, [this] { return is_open_; });
    }
    /// Blocks until `count` threads have come to the gate.
    void wait_for_visitors(int count) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return waiting_ >= count; });
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    int waiting_ = 0;
    bool is_open_ = false;
};

/// A program for each ring mode and each way to wake it; once in a test case.
inline hob::runner_options each_ring() {
    const auto mode = GENERATE(hob::ring_mode::defer_taskrun, hob::ring_mode::plain);
    const auto wake = GENERATE(hob::wake_method::eventfd, hob::wake_method::message);
    UNSCOPED_INFO("ring mode " << (mode == hob::ring_mode::plain ? "plain" : "defer_taskrun"));
    UNSCOPED_INFO("woken by " << (wake == hob::wake_method::eventfd ? "eventfd" : "message"));
    hob::runner_options options = program::with(mode);
    options.ring.wake = wake;
    return options;
}

inline hob::thread_pool_options with_threads(unsigned count) {
    hob::thread_pool_options options;
    options.max_threads = count;
    return options;
}

} // namespace test
