// SPDX-License-Identifier: MIT
// hob::condition_variable: waiting for a state that a mutex protects.
#pragma once

#include <hob/core/awaitable.hpp>
#include <hob/core/callable.hpp>
#include <hob/sync/mutex.hpp>
#include <hob/task.hpp>

#include <concepts>
#include <coroutine>
#include <string>
#include <utility>

namespace hob {

class condition_variable;

namespace detail {

/// Stands first in the line of the condition, then, notified or cancelled, in that of the mutex.
class condition_wait final : public mutex_waiter {
  public:
    inline condition_wait(condition_variable& target, mutex_guard& guard) noexcept;

    [[nodiscard]] inline bool await_ready() const;
    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting);
    static constexpr void await_resume() noexcept {}

  private:
    friend class hob::condition_variable;

    inline void cancel() noexcept override;
    [[nodiscard]] inline std::string describe() const override;

    mutex& mutex_;
    mutex_guard& guard_;
    bool notified_ = false;
};

} // namespace detail

/// Lets tasks wait, with a mutex unlocked meanwhile, until another task notifies them: asyncio's
/// Condition. Several may share a mutex, which outlives them. Nobody is woken without a notify.
///
/// A task gets out of a wait only with the mutex locked, so its guard is right whichever way it
/// goes on. If it is cancelled, it locks the mutex first, which may take as long as the others keep
/// it, and is stopped then; a notify that it had received goes to the next waiter.
class condition_variable {
  public:
    explicit condition_variable(mutex& protecting) noexcept : mutex_(protecting) {}
    /// Nobody may be waiting for a notify. Who was notified may still wait for the mutex.
    ~condition_variable() {
        mutex_.line_.for_each([this](detail::mutex_waiter& each) {
            if (each.condition_ == this)
                each.condition_ = nullptr;
        });
    }
    condition_variable(const condition_variable&) = delete;
    condition_variable& operator=(const condition_variable&) = delete;

    /// Awaiting unlocks the mutex, waits for a notify, and locks it again. `guard` owns the mutex,
    /// and is left alone until the wait is over. Throws `usage_error` if it does not own it.
    [[nodiscard]] auto wait(mutex_guard& guard) noexcept {
        return detail::deferred<detail::condition_wait, condition_variable&, mutex_guard&>(*this,
                                                                                           guard);
    }
    /// Awaiting waits until `holds()` is true, which is asked at once and after each notify, with
    /// the mutex locked. Throws what `holds` throws.
    template <std::predicate Predicate>
    [[nodiscard]] auto wait(mutex_guard& guard, Predicate&& holds) {
        detail::check_callable<Predicate>();
        return wait_until<std::decay_t<Predicate>>(guard, std::forward<Predicate>(holds));
    }

    /// Wakes the task that has waited longest, if one waits. Throws `usage_error` unless the mutex
    /// is locked: a state that changes unprotected is what notifies get lost by.
    void notify_one() {
        require_locked();
        if (!line_.empty())
            move_to_mutex(line_.pop_front());
    }
    /// Wakes all tasks that wait. Throws like `notify_one`.
    void notify_all() {
        require_locked();
        while (!line_.empty())
            move_to_mutex(line_.pop_front());
    }

  private:
    friend class detail::condition_wait;

    template <class Predicate> task<> wait_until(mutex_guard& guard, Predicate holds) {
        require_owner(guard);
        auto waiting = wait(guard);
        while (!holds())
            co_await waiting;
    }

    void require_owner(const mutex_guard& guard) const {
        if (guard.mutex_ != &mutex_)
            throw usage_error("a condition variable was waited for with a guard that does not own "
                              "its mutex");
    }
    void require_locked() const {
        if (!mutex_.is_locked())
            throw usage_error("a condition variable was notified while its mutex is not locked");
        if (!line_.empty())
            mutex_.home_.enter_to_wake();
    }
    /// Somebody owns the mutex, so the notified waiter's turn comes with an unlock.
    void move_to_mutex(detail::condition_wait& notified) noexcept {
        notified.notified_ = true;
        mutex_.line_.push_back(notified);
    }

    mutex& mutex_;
    detail::waiter_list<detail::condition_wait> line_;
};

namespace detail {

inline condition_wait::condition_wait(condition_variable& target, mutex_guard& guard) noexcept
    : mutex_(target.mutex_), guard_(guard) {
    condition_ = &target;
}

inline bool condition_wait::await_ready() const {
    condition_->require_owner(guard_);
    mutex_.home_.enter();
    return false;
}

template <hob_promise Promise>
bool condition_wait::await_suspend(std::coroutine_handle<Promise> awaiting) {
    if (begin(awaiting.promise())) {
        condition_->line_.push_back(*this);
        mutex_.unlock();
    }
    return true;
}

inline void condition_wait::cancel() noexcept {
    stops_ = true;
    if (!notified_) {
        intrusive_list<condition_wait>::remove(*this);
        mutex_.give_to(*this);
    } else if (condition_ != nullptr && !condition_->line_.empty()) {
        // It keeps its place before the mutex; the notify goes on.
        condition_->move_to_mutex(condition_->line_.pop_front());
    }
}

inline std::string condition_wait::describe() const {
    if (notified_ || stops_)
        return mutex_.line_.describe("mutex of a condition variable");
    return condition_->line_.describe("condition variable");
}

} // namespace detail
} // namespace hob
