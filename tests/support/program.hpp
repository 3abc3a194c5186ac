// SPDX-License-Identifier: MIT
// A loop that collects what is reported to it, and awaitables without a kernel behind them.
#pragma once

#include <hob/core/intrusive_list.hpp>
#include <hob/core/operation.hpp>
#include <hob/core/ring_operation.hpp>
#include <hob/run.hpp>
#include <hob/sleep.hpp>
#include <hob/task.hpp>
#include <hob/task_handle.hpp>

#include <chrono>
#include <coroutine>
#include <exception>
#include <fstream>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TEST_SANITIZED 1
#endif
#endif

namespace test {

#if defined(TEST_SANITIZED)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

/// A loop, and the reports that its exception handler got.
class program {
  public:
    explicit program(hob::ring_mode mode = hob::ring_mode::automatic) : program(with(mode)) {}
    explicit program(const hob::runner_options& options) : runner_(options) { collect(); }
    /// For a loop that was made otherwise: see loops.hpp.
    explicit program(std::unique_ptr<hob::event_loop> loop)
        : runner_(std::move(loop), with(hob::ring_mode::automatic)) {
        collect();
    }

    template <class T> T run(hob::task<T> main) { return runner_.run(std::move(main)); }
    [[nodiscard]] hob::runner& runner() noexcept { return runner_; }
    [[nodiscard]] hob::event_loop& loop() noexcept { return runner_.loop(); }

    [[nodiscard]] static hob::runner_options with(hob::ring_mode mode) {
        hob::runner_options options;
        options.ring.mode = mode;
        options.handle_interrupt = false;
        return options;
    }

    std::vector<hob::exception_context> reports;

  private:
    void collect() {
        loop().set_exception_handler(
            [this](const hob::exception_context& report) { reports.push_back(report); });
    }

    hob::runner runner_;
};

/// The message of each exception.
inline std::vector<std::string> messages(const std::vector<std::exception_ptr>& errors) {
    std::vector<std::string> texts;
    for (const std::exception_ptr& each : errors)
        texts.push_back(hob::exception_group::describe(each));
    return texts;
}
inline std::vector<std::string> messages(const hob::exception_group& group) {
    return messages(group.exceptions());
}

/// Stays open once it was opened. Waiting for it needs neither the kernel nor a timer.
class gate {
    class waiter final : public hob::detail::operation, public hob::detail::list_node {
      public:
        explicit waiter(gate& target) noexcept : gate_(target) {}
        [[nodiscard]] bool await_ready() const noexcept { return gate_.is_open_; }
        template <hob::detail::hob_promise Promise>
        bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
            if (begin(awaiting.promise()))
                gate_.waiters_.push_back(*this);
            return true;
        }
        static void await_resume() noexcept {}
        void wake() noexcept { complete(); }

      private:
        void cancel() noexcept override {
            hob::detail::intrusive_list<waiter>::remove(*this);
            stop();
        }
        [[nodiscard]] std::string describe() const override { return "a gate"; }
        gate& gate_;
    };

  public:
    [[nodiscard]] auto wait() noexcept { return hob::detail::deferred<waiter, gate&>(*this); }
    void open() noexcept {
        is_open_ = true;
        while (!waiters_.empty())
            waiters_.pop_front().wake();
    }

  private:
    hob::detail::intrusive_list<waiter> waiters_;
    bool is_open_ = false;
};

/// An operation that the kernel completes at once.
class nop_operation final : public hob::detail::ring_operation {
  public:
    static constexpr bool await_ready() noexcept { return false; }
    template <hob::detail::hob_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
        if (begin(awaiting.promise()))
            submit();
        return true;
    }
    int await_resume() const noexcept { return result_; }
    void prepare(io_uring_sqe& entry) noexcept override { io_uring_prep_nop(&entry); }

  private:
    [[nodiscard]] std::string describe() const override { return "a nop"; }
};
inline auto nop() {
    return hob::detail::deferred<nop_operation>();
}

/// An operation that the kernel completes when a descriptor becomes readable.
class poll_operation final : public hob::detail::ring_operation {
  public:
    explicit poll_operation(int fd) noexcept : fd_(fd) {}
    static constexpr bool await_ready() noexcept { return false; }
    template <hob::detail::hob_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
        if (begin(awaiting.promise()))
            submit();
        return true;
    }
    int await_resume() const noexcept { return result_; }
    void prepare(io_uring_sqe& entry) noexcept override {
        io_uring_prep_poll_add(&entry, fd_, 1 /* POLLIN */);
    }

  private:
    [[nodiscard]] std::string describe() const override { return "a poll"; }
    int fd_;
};
inline auto poll_readable(int fd) {
    return hob::detail::deferred<poll_operation, int>(fd);
}

/// Counts what is alive of it.
class counted {
  public:
    explicit counted(int& alive) noexcept : alive_(&alive) { ++*alive_; }
    counted(const counted& other) noexcept : alive_(other.alive_) { ++*alive_; }
    counted(counted&& other) noexcept : alive_(other.alive_) { ++*alive_; }
    counted& operator=(const counted&) = delete;
    ~counted() { --*alive_; }

  private:
    int* alive_;
};

/// Sets a flag, or appends to a log, when it is destroyed.
class at_exit {
  public:
    at_exit(std::vector<std::string>& log, std::string text) : log_(log), text_(std::move(text)) {}
    at_exit(const at_exit&) = delete;
    at_exit& operator=(const at_exit&) = delete;
    ~at_exit() { log_.push_back(text_); }

  private:
    std::vector<std::string>& log_;
    std::string text_;
};

/// Calls a function when it is destroyed.
class on_destruction {
  public:
    explicit on_destruction(std::function<void()> action) : action_(std::move(action)) {}
    on_destruction(on_destruction&& other) noexcept
        : action_(std::exchange(other.action_, nullptr)) {}
    on_destruction& operator=(on_destruction&&) = delete;
    ~on_destruction() {
        if (action_)
            action_();
    }

  private:
    std::function<void()> action_;
};

/// The loop that runs.
inline hob::event_loop& loop() {
    return hob::event_loop::current();
}

inline hob::task<int> value_after(gate& when, int value) {
    co_await when.wait();
    co_return value;
}
inline hob::task<int> value_now(int value) {
    co_return value;
}
inline hob::task<int> failure_after(gate& when, const char* message) {
    co_await when.wait();
    throw std::runtime_error(message);
}
inline hob::task<int> failure_now(const char* message) {
    throw std::runtime_error(message);
    co_return 0;
}
inline hob::task<std::unique_ptr<int>> make_pointer(int value) {
    co_return std::make_unique<int>(value);
}
inline hob::task<int> keep_parameter(counted, int value) {
    co_return value;
}
inline hob::task<> nap(std::chrono::nanoseconds delay) {
    co_await hob::sleep_for(delay);
}
/// Lets everything that is ready run, several times over, and every operation reach the kernel.
inline hob::task<> settle(int turns = 10) {
    for (int turn = 0; turn != turns; ++turn)
        co_await hob::yield();
}

/// The resident memory of this process in KiB.
inline long resident_kib() {
    std::ifstream statm("/proc/self/statm");
    long size = 0;
    long resident = 0;
    statm >> size >> resident;
    return resident * 4;
}

} // namespace test
