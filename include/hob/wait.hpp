// SPDX-License-Identifier: MIT
// hob::wait: some or all of several tasks, which go on whatever happens.
#pragma once

#include <hob/any_task_handle.hpp>
#include <hob/core/reactor.hpp>
#include <hob/core/scheduled_call.hpp>
#include <hob/task_handle.hpp>

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <ratio>
#include <string>
#include <utility>
#include <vector>

namespace hob {

/// When `wait` returns.
enum class return_when {
    first_completed, ///< one task has ended, in whichever way
    first_exception, ///< an exception has left one of them, or all have ended
    all_completed    ///< all have ended
};

/// The tasks given to `wait`, in their order there.
template <class Handle> class wait_result {
  public:
    std::vector<Handle> done;
    std::vector<Handle> pending;
};

namespace detail {

template <class Handle> inline constexpr bool is_task_handle = false;
template <> inline constexpr bool is_task_handle<any_task_handle> = true;
template <class T> inline constexpr bool is_task_handle<task_handle<T>> = true;

template <class Handle> class wait_operation final : public timed_operation {
  public:
    wait_operation(std::vector<Handle> handles, return_when condition,
                   std::chrono::nanoseconds limit)
        : handles_(std::move(handles)), condition_(condition), limit_(limit) {
        if (handles_.empty())
            throw usage_error("wait needs at least one task");
        for (const Handle& each : handles_)
            (void)each.record();
    }

    static constexpr bool await_ready() noexcept { return false; }
    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        reactor& loop = reactor::here();
        const task_scope& self = task_of(awaiting.promise().owner());
        for (const Handle& each : handles_) {
            if (each.done())
                continue;
            task_scope& task = each.record();
            if (&task.home() != static_cast<scheduler*>(&loop))
                throw usage_error("a task was awaited in another loop than its own");
            if (&task == &self && condition_ == return_when::all_completed &&
                limit_ == std::chrono::nanoseconds::max())
                throw usage_error("a task awaits itself");
            task.make_watchable();
        }
        if (is_fulfilled() && loop.spend_budget())
            return false;
        std::deque<watch> watches;
        for (const Handle& each : handles_)
            if (!each.done())
                watches.emplace_back(*this, each.record());
        if (!begin(awaiting.promise()))
            return true;
        if (is_fulfilled()) {
            complete();
            return true;
        }
        const time_point now = loop.now();
        set_deadline(saturating_add(now, limit_));
        if (deadline() <= now) {
            complete();
            return true;
        }
        if (deadline() != time_point::max())
            arm(loop.timers());
        watches_.swap(watches);
        for (watch& each : watches_)
            each.start();
        pending_ = watches_.size();
        return true;
    }

    wait_result<Handle> await_resume() {
        wait_result<Handle> result;
        for (Handle& each : handles_)
            (each.done() ? result.done : result.pending).push_back(std::move(each));
        return result;
    }

    void expire() noexcept override { end(); }

  private:
    class watch final : public task_watcher {
      public:
        watch(wait_operation& owner, task_scope& task) noexcept : owner_(owner), task_(task) {}
        void start() noexcept { task_.add_watcher(*this); }
        void stop() noexcept {
            if (is_linked())
                task_.remove_watcher(*this);
        }
        void task_ended() noexcept override { owner_.one_ended(task_); }

      private:
        wait_operation& owner_;
        task_scope& task_;
    };

    [[nodiscard]] bool is_fulfilled() const noexcept {
        bool all_done = true;
        for (const Handle& each : handles_) {
            if (!each.done())
                all_done = false;
            else if (condition_ == return_when::first_completed ||
                     (condition_ == return_when::first_exception && each.record().has_failed()))
                return true;
        }
        return all_done;
    }

    void one_ended(const task_scope& ended) noexcept {
        if (--pending_ == 0 || condition_ == return_when::first_completed ||
            (condition_ == return_when::first_exception && ended.has_failed()))
            end();
    }
    void end() noexcept {
        forget();
        complete();
    }
    void forget() noexcept {
        for (watch& each : watches_)
            each.stop();
        if (is_armed())
            reactor::here().timers().remove(*this);
    }
    void cancel() noexcept override {
        forget();
        stop();
    }
    [[nodiscard]] std::string describe() const override {
        std::string text = "some of " + std::to_string(handles_.size()) + " tasks:";
        for (const Handle& each : handles_)
            if (!each.done())
                text += " '" + each.name() + "'";
        return text;
    }

    std::vector<Handle> handles_;
    std::deque<watch> watches_;
    std::size_t pending_ = 0;
    return_when condition_;
    std::chrono::nanoseconds limit_;
};

} // namespace detail

/// Waits until `condition` holds for the tasks behind `handles`, or `limit` has passed, and gives
/// those that are done and those that are not: asyncio.wait. Throws nothing of theirs and cancels
/// none of them, neither at the limit nor when the awaiting task is cancelled; await a handle of
/// the result for its value or exception. Tasks with results of several types are given as
/// `any_task_handle`:
///
///     const std::vector<hob::any_task_handle> both{reader, writer};
///     const auto ended = co_await hob::wait(both, hob::return_when::first_completed);
///     for (const hob::any_task_handle& each : ended.pending)
///         each.cancel();
///
/// A task counts as done as soon as it has ended. A limit of zero looks without waiting. Throws
/// `usage_error` if there is no task, a handle is empty, or the awaiting task waits for its own end
/// without a limit; `std::bad_alloc`.
template <class Handle, class Rep = std::int64_t, class Period = std::nano>
    requires detail::is_task_handle<Handle>
auto wait(std::vector<Handle> handles, return_when condition = return_when::all_completed,
          std::chrono::duration<Rep, Period> limit = std::chrono::nanoseconds::max()) {
    return detail::deferred<detail::wait_operation<Handle>, std::vector<Handle>, return_when,
                            std::chrono::nanoseconds>(
        std::move(handles), condition,
        detail::deadline_after(detail::time_point(), limit).time_since_epoch());
}

} // namespace hob
