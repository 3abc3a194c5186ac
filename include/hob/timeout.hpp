// SPDX-License-Identifier: MIT
// hob::timeout, hob::timeout_at, hob::try_timeout: a limit on how long an await may take.
#pragma once

#include <hob/core/callable.hpp>
#include <hob/core/combinator.hpp>
#include <hob/core/reactor.hpp>
#include <hob/core/scheduled_call.hpp>

#include <chrono>
#include <concepts>
#include <coroutine>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace hob {

/// What the body of a `timeout` gets that can move its own limit: asyncio's Timeout.
class timeout_scope {
  public:
    timeout_scope(const timeout_scope&) = delete;
    timeout_scope& operator=(const timeout_scope&) = delete;

    /// When the limit expires, by the loop's clock; `time_point::max()` if it is disabled.
    [[nodiscard]] virtual detail::time_point when() const noexcept = 0;
    /// Whether it has: the body is being stopped.
    [[nodiscard]] virtual bool expired() const noexcept = 0;
    /// Moves the limit either way; one in the past expires in the next turn, and
    /// `time_point::max()` disables it. Throws `usage_error` after the limit has expired or the
    /// body has ended, `wrong_thread_error` on a thread other than the loop's, `std::bad_alloc`.
    virtual void reschedule(detail::time_point when) = 0;

  protected:
    timeout_scope() = default;
    ~timeout_scope() = default;
};

namespace detail {

/// When a time limit expires: a point in time, or so long after the await begins.
class time_limit {
  public:
    explicit time_limit(time_point when) noexcept : when_(when), is_relative_(false) {}
    explicit time_limit(std::chrono::nanoseconds delay) noexcept
        : delay_(delay), is_relative_(true) {}
    [[nodiscard]] time_point from(time_point now) const noexcept {
        return is_relative_ ? saturating_add(now, delay_) : when_;
    }

  private:
    union {
        time_point when_;
        std::chrono::nanoseconds delay_;
    };
    bool is_relative_;
};

template <class T> class timeout_base : public combinator {
  public:
    timeout_base(time_limit limit, task<T> coroutine)
        : limit_(limit), coroutine_(std::move(coroutine)), branch_(*this), timer_(*this) {}

    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        require_root(coroutine_);
        reactor& loop = reactor::here();
        const time_point now = loop.now();
        timer_.set_deadline(limit_.from(now));
        expired_ = timer_.deadline() <= now;
        if (!expired_ && timer_.deadline() != time_point::max())
            loop.timers().insert(timer_);
        return run_branches(awaiting.promise(), [this] {
            one_more();
            branch_.start_now(*coroutine_.release(), this->is_waiter_cancelled() || expired_);
        });
    }

    void branch_ended(branch_base&) noexcept override {
        if (timer_.is_armed())
            reactor::here().timers().remove(timer_);
        one_ended();
    }

  protected:
    ~timeout_base() = default;

    [[nodiscard]] time_point limit() const noexcept { return timer_.deadline(); }
    [[nodiscard]] bool has_expired() const noexcept { return expired_; }
    /// Moves the limit, in the loop that the body runs in. Not after it has expired. Throws
    /// `std::bad_alloc`.
    void move_to(time_point when, reactor& loop) {
        if (timer_.is_armed())
            loop.timers().remove(timer_);
        timer_.set_deadline(when);
        if (when != time_point::max())
            loop.timers().insert(timer_);
    }

    void set_coroutine(task<T> coroutine) noexcept { coroutine_ = std::move(coroutine); }
    [[nodiscard]] bool is_running() const noexcept {
        return branch_.is_started() && !branch_.is_done();
    }

    /// The limit expired, and the body was stopped by it.
    [[nodiscard]] bool timed_out() const noexcept { return branch_.was_stopped(); }
    [[nodiscard]] branch<T>& body() noexcept { return branch_; }

  private:
    class limit_timer final : public timed_operation {
      public:
        explicit limit_timer(timeout_base& owner) noexcept : owner_(owner) {}
        void expire() noexcept override {
            owner_.expired_ = true;
            owner_.branch_.cancel();
        }
        // Nobody waits for the timer itself.
        void cancel() noexcept override {}
        [[nodiscard]] std::string describe() const override { return {}; }

      private:
        timeout_base& owner_;
    };

    void cancel() noexcept override { branch_.cancel(); }
    [[nodiscard]] bool must_stop() noexcept override {
        return branch_.was_stopped() && is_waiter_cancelled();
    }
    void visit_children(scope_visitor& visitor) override { visit_live(visitor, branch_); }
    [[nodiscard]] std::string describe() const override {
        if (!timer_.is_armed())
            return expired_ ? "a timeout (expired)" : "a timeout (disabled)";
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
            timer_.deadline() - reactor::here().now());
        return "a timeout (" + std::to_string(left.count()) + " ms left)";
    }

    time_limit limit_;
    task<T> coroutine_;
    branch<T> branch_;
    limit_timer timer_;
    bool expired_ = false;
};

template <class T> class timeout_operation final : public timeout_base<T> {
  public:
    using timeout_base<T>::timeout_base;
    T await_resume() {
        if (this->timed_out())
            throw timeout_error();
        return this->body().result().get();
    }
};

template <class T> class try_timeout_operation final : public timeout_base<T> {
  public:
    using timeout_base<T>::timeout_base;
    std::optional<value_or_monostate<T>> await_resume() {
        if (this->timed_out())
            return std::nullopt;
        return this->body().take();
    }
};

/// The form whose body can move the limit.
template <class Body, class T>
class movable_timeout_operation final : public timeout_base<T>, public timeout_scope {
  public:
    movable_timeout_operation(time_limit limit, Body body)
        : timeout_base<T>(limit, task<T>(nullptr)), home_(reactor::here()),
          body_(std::forward<Body>(body)) {}

    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        this->set_coroutine(body_(static_cast<timeout_scope&>(*this)));
        return timeout_base<T>::await_suspend(awaiting);
    }
    T await_resume() {
        if (this->timed_out())
            throw timeout_error();
        return this->body().result().get();
    }

  private:
    [[nodiscard]] time_point when() const noexcept override { return this->limit(); }
    [[nodiscard]] bool expired() const noexcept override { return this->has_expired(); }
    void reschedule(time_point when) override {
        home_.require_here();
        if (this->has_expired())
            throw usage_error("a timeout was rescheduled that has expired");
        if (!this->is_running())
            throw usage_error("a timeout was rescheduled whose body does not run");
        this->move_to(when, home_);
    }

    reactor& home_;
    Body body_;
};

template <class Body>
using timeout_body_result_t = typename std::invoke_result_t<Body&, timeout_scope&>::value_type;

template <class Body> auto make_movable_timeout(time_limit limit, Body&& body) {
    check_callable<Body>();
    static_assert(is_task<std::invoke_result_t<Body&, timeout_scope&>>,
                  "hob: the body of a timeout returns a hob::task");
    return deferred<movable_timeout_operation<Body, timeout_body_result_t<Body>>, time_limit, Body>(
        limit, std::forward<Body>(body));
}

template <template <class> class Operation, class T>
auto make_timeout(time_limit limit, task<T> work) {
    return deferred<Operation<T>, time_limit, task<T>>(limit, std::move(work));
}

template <class Rep, class Period> time_limit make_limit(std::chrono::duration<Rep, Period> delay) {
    return time_limit(deadline_after(time_point(), delay).time_since_epoch());
}

} // namespace detail

/// Awaits `awaited` for at most `limit`, counted from the await on. When the limit expires, it is
/// cancelled, and once it has been unwound completely, with its cleanup, `timeout_error` is thrown;
/// if it had completed all the same, its result is given. With a limit of zero or less it may only
/// complete without suspending; `duration::max()` disables the limit.
///
/// Exceptions pass unchanged. Cancelling the awaiting task cancels what it awaits, and is not lost
/// if the limit expires meanwhile. Throws `usage_error` for NaN, `std::bad_alloc`.
template <class Rep, class Period, detail::taskable Awaitable>
auto timeout(std::chrono::duration<Rep, Period> limit, Awaitable&& awaited) {
    return detail::make_timeout<detail::timeout_operation>(
        detail::make_limit(limit), detail::as_task(std::forward<Awaitable>(awaited)));
}

/// The same with a point in time of the loop's clock, `event_loop::time`.
template <detail::taskable Awaitable>
auto timeout_at(detail::time_point when, Awaitable&& awaited) {
    return detail::make_timeout<detail::timeout_operation>(
        detail::time_limit(when), detail::as_task(std::forward<Awaitable>(awaited)));
}

/// The same for a body that moves its limit while it runs: calls `body(scope)`, which returns a
/// task, with a `timeout_scope`.
///
///     auto body = [&](hob::timeout_scope& limit) -> hob::task<> {
///         while (co_await read_some_progress())
///             limit.reschedule(hob::event_loop::current().time() + 5s);
///     };
///     co_await hob::timeout(5s, body);
template <class Rep, class Period, class Body>
    requires std::invocable<Body&, timeout_scope&>
auto timeout(std::chrono::duration<Rep, Period> limit, Body&& body) {
    return detail::make_movable_timeout(detail::make_limit(limit), std::forward<Body>(body));
}
template <class Body>
    requires std::invocable<Body&, timeout_scope&>
auto timeout_at(detail::time_point when, Body&& body) {
    return detail::make_movable_timeout(detail::time_limit(when), std::forward<Body>(body));
}

/// The same without an exception: gives an optional of the value (of `std::monostate` for void),
/// which is empty if the limit expired. Of a handle or future with a name, a copy of the value.
template <class Rep, class Period, detail::taskable Awaitable>
auto try_timeout(std::chrono::duration<Rep, Period> limit, Awaitable&& awaited) {
    return detail::make_timeout<detail::try_timeout_operation>(
        detail::make_limit(limit), detail::as_kept_task(std::forward<Awaitable>(awaited)));
}

} // namespace hob
