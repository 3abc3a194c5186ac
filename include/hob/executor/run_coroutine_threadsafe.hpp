// SPDX-License-Identifier: MIT
// hob::run_coroutine_threadsafe: a task for a loop, from another thread.
#pragma once

#include <hob/core/event_loop.hpp>
#include <hob/core/optional_task.hpp>
#include <hob/core/result.hpp>
#include <hob/task.hpp>
#include <hob/task_handle.hpp>

#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <type_traits>
#include <utility>

namespace hob {

template <class T> class threadsafe_future;

namespace detail {

/// What a task in a loop and the threads that wait for it share.
template <class T> class remote_task {
  public:
    // On any thread.
    [[nodiscard]] bool is_done() const {
        const std::lock_guard lock(mutex_);
        return done_;
    }
    void wait() {
        std::unique_lock lock(mutex_);
        ended_.wait(lock, [this] { return done_; });
    }
    template <class Rep, class Period>
    [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> limit) {
        std::unique_lock lock(mutex_);
        return ended_.wait_until(lock, saturating_add(clock::now(), saturating_nanoseconds(limit)),
                                 [this] { return done_; });
    }
    /// Only when it is done.
    T take() {
        const std::lock_guard lock(mutex_);
        if (outcome_.state() == outcome_state::exception)
            std::rethrow_exception(outcome_.exception());
        if constexpr (std::is_object_v<T>)
            if (std::exchange(taken_, true))
                throw usage_error("the value of a threadsafe_future has been taken already");
        return outcome_.get();
    }

    /// Does nothing if there is an outcome.
    void fail(std::exception_ptr error) noexcept {
        settle([&] { outcome_.set_exception(std::move(error)); });
    }
    template <class... Values> void succeed(Values&&... value) {
        settle([&] { outcome_.set_value(std::forward<Values>(value)...); });
    }

    // On the loop's thread.
    void started(task_handle<> handle) noexcept { running_ = std::move(handle); }
    /// Before the record of the task may go, whose references no other thread may count.
    void forget() noexcept { running_ = {}; }
    void cancel() {
        cancelled_ = true;
        if (running_)
            running_.cancel();
    }
    [[nodiscard]] bool is_cancelled() const noexcept { return cancelled_; }

  private:
    template <class Settle> void settle(Settle&& set) {
        {
            const std::lock_guard lock(mutex_);
            if (done_)
                return;
            set();
            done_ = true;
        }
        ended_.notify_all();
    }

    mutable std::mutex mutex_;
    std::condition_variable ended_;
    bool done_ = false;
    bool taken_ = false;
    outcome<T> outcome_;
    task_handle<> running_;
    bool cancelled_ = false;
};

/// Travels with a remote task; however that ends, the threads that wait hear of it.
template <class T> class remote_end {
  public:
    explicit remote_end(std::shared_ptr<remote_task<T>> remote) noexcept
        : remote_(std::move(remote)) {}
    remote_end(remote_end&&) noexcept = default;
    remote_end& operator=(remote_end&&) = delete;
    ~remote_end() {
        if (remote_ == nullptr)
            return;
        remote_->forget();
        // Without effect if it has an outcome.
        if (was_started_)
            remote_->fail(std::make_exception_ptr(cancelled_error("a task of another thread")));
        else
            remote_->fail(std::make_exception_ptr(loop_closed_error()));
    }

    void mark_started() noexcept { was_started_ = true; }
    [[nodiscard]] remote_task<T>& remote() const noexcept { return *remote_; }

  private:
    std::shared_ptr<remote_task<T>> remote_;
    bool was_started_ = false;
};

template <class T> task<> carry_out(task<T> work, remote_end<T> end) {
    try {
        if constexpr (std::is_void_v<T>) {
            co_await std::move(work);
            end.remote().succeed();
        } else {
            T value = co_await std::move(work);
            end.remote().succeed(static_cast<T&&>(value));
        }
    } catch (...) {
        const std::exception_ptr error = std::current_exception();
        end.remote().fail(error);
        if (is_fatal(error))
            throw;
    }
}

/// On the loop's thread: the first step of what another thread has asked for.
template <class T> class remote_start {
  public:
    remote_start(task<T> work, remote_end<T> end) noexcept
        : work_(std::move(work)), end_(std::move(end)) {}

    void operator()() {
        remote_task<T>& remote = end_.remote();
        end_.mark_started();
        if (!remote.is_cancelled())
            remote.started(create_task(carry_out<T>(work_.take(), std::move(end_))));
    }

  private:
    optional_task<T> work_; // the loop may close first, of which the future tells
    remote_end<T> end_;
};

} // namespace detail

/// The outcome of a task that another thread runs: asyncio's concurrent.futures.Future. Copies
/// refer to the same task. Dropping all of them leaves the task running. Any thread may use it.
template <class T> class threadsafe_future {
  public:
    /// Blocks until the task has ended; moves its value out, once, or throws its exception, to
    /// everybody who asks. Throws `cancelled_error` if the task was cancelled, `loop_closed_error`
    /// if the loop closed before it began, and `usage_error` if the value was taken already and on
    /// the loop's own thread, which would wait for itself.
    T get() {
        wait();
        return remote_->take();
    }
    /// Blocks until the task has ended. Throws `usage_error` on the loop's own thread.
    void wait() {
        require_elsewhere();
        remote_->wait();
    }
    /// The same for at most `limit`. Returns whether the task has ended.
    template <class Rep, class Period>
    [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> limit) {
        require_elsewhere();
        return remote_->wait_for(limit);
    }
    [[nodiscard]] bool done() const { return remote_->is_done(); }

    /// Asks the loop to cancel the task. Returns false if it has ended, or its loop has closed.
    /// Throws `std::bad_alloc`.
    bool cancel() {
        return !done() && loop_.call_soon_threadsafe([remote = remote_] { remote->cancel(); });
    }

    threadsafe_future(loop_handle loop, std::shared_ptr<detail::remote_task<T>> remote) noexcept
        : loop_(std::move(loop)), remote_(std::move(remote)) {}

  private:
    void require_elsewhere() const {
        if (loop_.is_current() && !remote_->is_done())
            throw usage_error("a thread waits for a task of its own loop: await the task instead");
    }

    loop_handle loop_;
    std::shared_ptr<detail::remote_task<T>> remote_;
};

/// Runs `work` as a task of the loop behind `loop`, from any thread. While the future exists, the
/// loop does not take waiting for a deadlock. Throws `std::bad_alloc`.
///
/// A thread of a pool may wait for the loop that waits for its job. When the loop closes, its tasks
/// are cancelled, and whoever waits for one of them is released.
template <class T>
[[nodiscard]] threadsafe_future<T> run_coroutine_threadsafe(const loop_handle& loop, task<T> work) {
    detail::require_root(work);
    auto remote = std::make_shared<detail::remote_task<T>>();
    threadsafe_future<T> future(loop, remote);
    // What does not begin says so by its end.
    static_cast<void>(loop.call_soon_threadsafe(
        detail::remote_start<T>(std::move(work), detail::remote_end<T>(std::move(remote)))));
    return future;
}

} // namespace hob
