// SPDX-License-Identifier: MIT
// hob::barrier: tasks wait for each other.
#pragma once

#include <hob/core/awaitable.hpp>
#include <hob/sync/waiter_list.hpp>

#include <coroutine>
#include <cstddef>
#include <stdexcept>
#include <string>

namespace hob {

class barrier;

/// Thrown in the tasks that wait at a barrier when it is aborted or reset, and at one that is
/// broken.
class broken_barrier_error : public std::runtime_error {
  public:
    broken_barrier_error() : std::runtime_error("the barrier is broken") {}
};

namespace detail {

class barrier_wait final : public waiter {
  public:
    explicit barrier_wait(barrier& target) noexcept : barrier_(target) {}

    [[nodiscard]] inline bool await_ready();
    template <hob_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept;
    std::size_t await_resume() const {
        if (broken_)
            throw broken_barrier_error();
        return index_;
    }

    void pass(std::size_t index) noexcept { index_ = index; }
    void fail() noexcept { broken_ = true; }

  private:
    inline void cancel() noexcept override;
    [[nodiscard]] inline std::string describe() const override;

    barrier& barrier_;
    std::size_t index_ = 0;
    bool broken_ = false;
};

} // namespace detail

/// Lets a fixed number of tasks through together, round after round. The round is over, and the
/// next one may begin, with the arrival that completes it, though the tasks are yet to run.
///
/// Belongs to the first loop in which it is waited at. Must not be destroyed while a task waits.
class barrier {
  public:
    /// For rounds of `parties` tasks. Throws `usage_error` for 0.
    explicit barrier(std::size_t parties) : parties_(parties) {
        if (parties == 0)
            throw usage_error("a barrier was made for no tasks");
    }
    barrier(const barrier&) = delete;
    barrier& operator=(const barrier&) = delete;

    /// Awaiting waits until all have arrived, and gives each task of a round another number, from 0
    /// in the order of arrival. A task that is cancelled while it waits has not arrived; one whose
    /// round is complete passes. Throws `broken_barrier_error`; `usage_error` in a second loop.
    [[nodiscard]] auto arrive_and_wait() noexcept {
        return detail::deferred<detail::barrier_wait, barrier&>(*this);
    }

    /// Breaks the barrier until `reset`: who waits, and who comes, gets a `broken_barrier_error`.
    /// Throws `usage_error` where the waiting tasks belong to another loop.
    void abort() {
        fail_waiting();
        broken_ = true;
    }
    /// Starts afresh, whole: who waits gets a `broken_barrier_error`. Throws like `abort`.
    void reset() {
        fail_waiting();
        broken_ = false;
    }

    [[nodiscard]] std::size_t parties() const noexcept { return parties_; }
    /// How many tasks of the round at hand have arrived.
    [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }
    [[nodiscard]] bool is_broken() const noexcept { return broken_; }

  private:
    friend class detail::barrier_wait;

    /// An arrival now would not have to wait.
    [[nodiscard]] bool is_ready() const noexcept { return broken_ || waiting_ + 1 == parties_; }
    /// Such an arrival: completes the round, or fails.
    void arrive(detail::barrier_wait& last) noexcept {
        if (broken_) {
            last.fail();
            return;
        }
        for (std::size_t index = 0; !line_.empty(); ++index) {
            detail::barrier_wait& each = line_.pop_front();
            each.pass(index);
            each.wake();
        }
        waiting_ = 0;
        last.pass(parties_ - 1);
    }
    void fail_waiting() {
        if (line_.empty())
            return;
        home_.enter_to_wake();
        while (!line_.empty()) {
            detail::barrier_wait& each = line_.pop_front();
            each.fail();
            each.wake();
        }
        waiting_ = 0;
    }

    detail::home_loop home_;
    detail::waiter_list<detail::barrier_wait> line_;
    std::size_t parties_;
    std::size_t waiting_ = 0;
    bool broken_ = false;
};

namespace detail {

inline bool barrier_wait::await_ready() {
    barrier_.home_.enter();
    if (!barrier_.is_ready() || !scheduler::here().spend_budget())
        return false;
    barrier_.arrive(*this);
    return true;
}

template <hob_promise Promise>
bool barrier_wait::await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    if (begin(awaiting.promise())) {
        if (barrier_.is_ready()) {
            barrier_.arrive(*this);
            complete();
        } else {
            ++barrier_.waiting_;
            barrier_.line_.push_back(*this);
        }
    }
    return true;
}

inline void barrier_wait::cancel() noexcept {
    --barrier_.waiting_;
    waiter::cancel();
}

inline std::string barrier_wait::describe() const {
    return barrier_.line_.describe("barrier");
}

} // namespace detail
} // namespace hob
