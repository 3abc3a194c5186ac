// SPDX-License-Identifier: MIT
// The base of everything that a coroutine can wait for.
#pragma once

#include <hob/core/scope.hpp>
#include <hob/core/timer_queue.hpp>

#include <string>

namespace hob::detail {

/// Lives in the awaiter, is never allocated, and ends exactly once: by `complete`, which resumes
/// the waiting coroutine, or by `stop`, which unwinds it. Both take effect in the loop's own turn.
class operation : public waited_for {
  protected:
    operation() = default;
    ~operation() = default;

    /// Registers the coroutine that is about to wait. When its scope is cancelled already, the
    /// operation must not start: returns false, and the stop is on its way.
    [[nodiscard]] bool begin(promise_base& waiter) noexcept {
        waiter_ = &waiter;
        scope& owner = waiter.owner();
        if (owner.is_being_cancelled()) [[unlikely]] {
            owner.stop_at(waiter);
            return false;
        }
        owner.wait_for(*this);
        return true;
    }
    /// The same for an operation that runs in a cancelled scope too.
    void begin_shielded(promise_base& waiter) noexcept {
        waiter_ = &waiter;
        waiter.owner().wait_for(*this);
    }

    void complete() noexcept {
        waiter_->owner().resume_running();
        scheduler::here().push(*waiter_);
    }
    /// Unwinds the waiter. Only in a cancelled scope, and only if the operation had no effect.
    void stop() noexcept { waiter_->owner().stop_at(*waiter_); }
};

/// An operation with a deadline in the loop's timer queue.
class timed_operation : public operation, public timer_node {
  public:
    /// The deadline has come; the timer is no longer in the queue.
    virtual void expire() noexcept = 0;
    /// In place of `expire` when the loop closes first.
    virtual void discard() noexcept {}

  protected:
    timed_operation() = default;
    ~timed_operation() = default;

    /// Arms the timer of a coroutine that is about to wait. Throws `std::bad_alloc`, and the
    /// coroutine does not wait then.
    void arm(timer_queue& timers) {
        try {
            timers.insert(*this);
        } catch (...) {
            waiter_->owner().resume_running();
            throw;
        }
    }
};

} // namespace hob::detail
