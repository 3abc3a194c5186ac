// SPDX-License-Identifier: MIT
// hob::as_completed: several tasks, one after the other as they end.
#pragma once

#include <hob/core/reactor.hpp>
#include <hob/core/scheduled_call.hpp>
#include <hob/task_handle.hpp>

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <ratio>
#include <string>
#include <utility>
#include <vector>

namespace hob {

/// What `as_completed` gives: see there. Immovable, because the tasks know it.
template <class T> class completion_sequence {
    class next_operation;

  public:
    completion_sequence(std::vector<task_handle<T>> handles, std::chrono::nanoseconds limit)
        : completion_sequence(handles.size(), limit, false) {
        for (task_handle<T>& each : handles) {
            if (!each.record().is_done() && &each.record().home() != &detail::scheduler::here())
                throw usage_error("a task was awaited in another loop than its own");
            make_watch().watch_over(std::move(each));
        }
    }
    completion_sequence(std::vector<task<T>> tasks, std::chrono::nanoseconds limit)
        : completion_sequence(tasks.size(), limit, true) {
        for (task<T>& each : tasks) {
            watch& added = make_watch();
            added.watch_over(create_task(std::move(each)));
        }
    }
    completion_sequence(const completion_sequence&) = delete;
    completion_sequence& operator=(const completion_sequence&) = delete;
    ~completion_sequence() {
        detail::check(waiting_.empty(), "an as_completed was destroyed while a task waits for it");
        for (watch& each : watches_)
            if (each.is_linked()) {
                each.handle.record().remove_watcher(each);
                if (owns_tasks_)
                    each.handle.record().cancel(each.handle.record().home());
            }
    }

    /// How many tasks `next` has yet to give.
    [[nodiscard]] std::size_t remaining() const noexcept { return watches_.size() - given_; }

    /// Waits for the next task to end and gives its handle, which is done: await it for its value
    /// or exception. An empty optional when every task has been given. Several tasks may wait; they
    /// are served in the order in which they came. Throws `timeout_error` when the limit has passed
    /// and no ended task is there. Cancelling the wait takes no task out of the sequence.
    [[nodiscard]] auto next() {
        return detail::deferred<next_operation, completion_sequence&>(*this);
    }

  private:
    class watch final : public detail::task_watcher {
      public:
        explicit watch(completion_sequence& owner) noexcept : owner_(owner) {}
        void watch_over(task_handle<T> watched) noexcept {
            handle = std::move(watched);
            if (handle.done())
                owner_.one_ended(*this);
            else
                handle.record().add_watcher(*this);
        }
        void task_ended() noexcept override { owner_.one_ended(*this); }
        task_handle<T> handle;

      private:
        completion_sequence& owner_;
    };

    class next_operation final : public detail::timed_operation, public detail::list_node {
      public:
        explicit next_operation(completion_sequence& sequence) noexcept : sequence_(sequence) {}

        [[nodiscard]] bool await_ready() noexcept {
            return sequence_.has_next() && detail::scheduler::here().spend_budget() && take();
        }
        template <detail::hob_promise Promise>
        bool await_suspend(std::coroutine_handle<Promise> awaiting) {
            if (!begin(awaiting.promise()))
                return true;
            detail::reactor& loop = detail::reactor::here();
            set_deadline(sequence_.deadline_);
            if (sequence_.has_next()) {
                take();
                complete();
            } else if (deadline() <= loop.now()) {
                timed_out_ = true;
                complete();
            } else {
                if (deadline() != detail::time_point::max())
                    arm(loop.timers());
                sequence_.waiting_.push_back(*this);
            }
            return true;
        }
        std::optional<task_handle<T>> await_resume() {
            if (timed_out_)
                throw timeout_error();
            if (found_ == nullptr)
                return std::nullopt;
            return found_->handle;
        }

        void expire() noexcept override {
            timed_out_ = true;
            detail::intrusive_list<next_operation>::remove(*this);
            complete();
        }
        /// The sequence has an ended task, or nothing more.
        void serve() noexcept {
            if (is_armed())
                detail::reactor::here().timers().remove(*this);
            take();
            complete();
        }

      private:
        bool take() noexcept {
            found_ = sequence_.take();
            return true;
        }
        void cancel() noexcept override {
            detail::intrusive_list<next_operation>::remove(*this);
            if (is_armed())
                detail::reactor::here().timers().remove(*this);
            stop();
        }
        [[nodiscard]] std::string describe() const override {
            return "the next of " + std::to_string(sequence_.remaining()) + " tasks";
        }

        completion_sequence& sequence_;
        watch* found_ = nullptr;
        bool timed_out_ = false;
    };

    // The others delegate to it, so that the destructor undoes what they have begun if they throw.
    completion_sequence(std::size_t count, std::chrono::nanoseconds limit, bool owns_tasks)
        : deadline_(detail::saturating_add(detail::reactor::current().now(), limit)),
          owns_tasks_(owns_tasks) {
        ended_.reserve(count);
    }
    watch& make_watch() { return watches_.emplace_back(*this); }

    /// An ended task is there, or none will come.
    [[nodiscard]] bool has_next() const noexcept {
        return given_ != ended_.size() || given_ == watches_.size();
    }
    /// Null when every task has been given.
    [[nodiscard]] watch* take() noexcept {
        return given_ == watches_.size() ? nullptr : ended_[given_++];
    }
    void one_ended(watch& ended) noexcept {
        ended_.push_back(&ended);
        while (has_next() && !waiting_.empty())
            waiting_.pop_front().serve();
    }

    std::deque<watch> watches_;
    std::vector<watch*> ended_; ///< in the order of their ends
    detail::intrusive_list<next_operation> waiting_;
    detail::time_point deadline_;
    std::size_t given_ = 0;
    bool owns_tasks_;
};

/// Gives the tasks behind `handles` one after the other as they end: asyncio.as_completed.
///
///     auto pages = hob::as_completed(handles);
///     while (auto page = co_await pages.next())
///         show(co_await *page);
///
/// The tasks are neither owned nor cancelled. `limit` counts from this call, for all of them
/// together. Throws `no_running_loop_error`, `usage_error` for an empty handle and a task of
/// another loop, `std::bad_alloc`.
template <class T, class Rep = std::int64_t, class Period = std::nano>
[[nodiscard]] completion_sequence<T>
as_completed(std::vector<task_handle<T>> handles,
             std::chrono::duration<Rep, Period> limit = std::chrono::nanoseconds::max()) {
    return completion_sequence<T>(
        std::move(handles), detail::deadline_after(detail::time_point(), limit).time_since_epoch());
}

/// The same for tasks that are not running yet: starts them all, and cancels those that have not
/// ended when what it returns is destroyed.
template <class T, class Rep = std::int64_t, class Period = std::nano>
[[nodiscard]] completion_sequence<T>
as_completed(std::vector<task<T>> tasks,
             std::chrono::duration<Rep, Period> limit = std::chrono::nanoseconds::max()) {
    for (const task<T>& each : tasks)
        detail::require_root(each);
    return completion_sequence<T>(
        std::move(tasks), detail::deadline_after(detail::time_point(), limit).time_since_epoch());
}

} // namespace hob
