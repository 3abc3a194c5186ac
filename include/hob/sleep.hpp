// SPDX-License-Identifier: MIT
// Waiting for time to pass: sleep_for, sleep_until, yield.
#pragma once

#include <hob/core/awaitable.hpp>
#include <hob/core/reactor.hpp>
#include <hob/core/scheduled_call.hpp>

#include <algorithm>
#include <chrono>
#include <coroutine>
#include <string>

namespace hob {
namespace detail {

class sleep_operation : public timed_operation {
  public:
    explicit sleep_operation(time_point deadline) noexcept { set_deadline(deadline); }

    static constexpr bool await_ready() noexcept { return false; }
    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        if (begin(awaiting.promise()))
            arm(reactor::here().timers());
        return true;
    }
    static constexpr void await_resume() noexcept {}

  private:
    void expire() noexcept override { complete(); }
    void cancel() noexcept override {
        // A sleep that has expired is no longer waited for, so this one has not.
        reactor::here().timers().remove(*this);
        stop();
    }
    [[nodiscard]] std::string describe() const override {
        // A deadline may be so long past that the difference would not fit.
        const time_point now = reactor::here().now();
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(std::max(deadline(), now) - now);
        return "a sleep (" + std::to_string(left.count()) + " ms left)";
    }
};

class [[nodiscard("a yield does nothing until it is awaited")]] yield_awaiter
    : public awaiter_base {
  public:
    static constexpr bool await_ready() noexcept { return false; }
    template <hob_promise Promise>
    static bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
        promise_base& waiter = awaiting.promise();
        reactor& loop = reactor::here();
        scope& owner = waiter.owner();
        // An idle loop has no cancellation on its way.
        if (!owner.is_cancelled() && loop.is_idle() && loop.spend_budget()) [[likely]] {
            loop.count_spared_step();
            return false;
        }
        if (owner.is_being_cancelled()) [[unlikely]]
            owner.stop_at(waiter);
        else
            loop.push(waiter);
        return true;
    }
    static constexpr void await_resume() noexcept {}
};

/// A sleep whose time counts from the await on.
class sleep_for_operation final : public sleep_operation {
  public:
    explicit sleep_for_operation(std::chrono::nanoseconds delay) noexcept
        : sleep_operation(time_point(delay)) {}

    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        set_deadline(saturating_add(reactor::here().now(), deadline().time_since_epoch()));
        return sleep_operation::await_suspend(awaiting);
    }
};

} // namespace detail

/// Waits until the loop's clock has reached `when`, never less. Cancellation removes the timer.
/// Throws `std::bad_alloc`.
inline auto sleep_until(detail::time_point when) {
    return detail::deferred<detail::sleep_operation, detail::time_point>(when);
}

/// Waits for `delay`, counted from the await on, never less. One that is not positive has passed by
/// the next turn. Durations beyond the clock's range mean for ever. Throws `usage_error` for NaN.
/// Cancellation removes the timer.
template <class Rep, class Period> auto sleep_for(std::chrono::duration<Rep, Period> delay) {
    return detail::deferred<detail::sleep_for_operation, std::chrono::nanoseconds>(
        detail::deadline_after(detail::time_point(), delay).time_since_epoch());
}

/// Lets everything else that is ready run once: asyncio's `sleep(0)`. Where there is nothing else,
/// and nothing that the loop would look after, the task goes on at once; after 128 awaits that did
/// not suspend, it yields in any case. A cancelled task is stopped here.
inline detail::yield_awaiter yield() noexcept {
    return {};
}

} // namespace hob
