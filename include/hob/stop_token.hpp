// SPDX-License-Identifier: MIT
// hob::with_stop_token: cancellation by std::stop_source, from any thread.
#pragma once

#include <hob/core/combinator.hpp>
#include <hob/core/inbox.hpp>
#include <hob/core/reactor.hpp>

#include <atomic>
#include <coroutine>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

namespace hob {
namespace detail {

template <class T> class stop_token_operation final : public combinator {
  public:
    stop_token_operation(std::stop_token token, task<T> coroutine)
        : token_(std::move(token)), coroutine_(std::move(coroutine)), branch_(*this),
          order_(*this) {}

    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        require_root(coroutine_);
        const bool stopped_before = token_.stop_requested();
        return run_branches(awaiting.promise(), [&] {
            one_more();
            if (!stopped_before && token_.stop_possible()) {
                sender_.emplace(reactor::here().get_inbox());
                callback_.emplace(std::move(token_), poster{*this});
            }
            branch_.start_now(*coroutine_.release(), is_waiter_cancelled() || stopped_before);
        });
    }

    T await_resume() {
        if (branch_.was_stopped())
            throw cancelled_error("by a stop token");
        return branch_.result().get();
    }

    void branch_ended(branch_base&) noexcept override {
        // Waits for a callback that another thread is in.
        callback_.reset();
        // Its order is still on the way, and this has to stay until it has come.
        if (posted_.load(std::memory_order_relaxed) && !arrived_)
            one_more();
        one_ended();
    }

  private:
    /// Goes through the loop's inbox.
    class cancel_order final : public ready_callback {
      public:
        explicit cancel_order(stop_token_operation& owner) noexcept : owner_(owner) {}
        void run() noexcept override { owner_.order_arrived(); }
        void discard() noexcept override { owner_.order_arrived(); }

      private:
        stop_token_operation& owner_;
    };

    struct poster {
        stop_token_operation& owner;
        void operator()() const noexcept { owner.post_order(); }
    };

    /// On any thread.
    void post_order() noexcept {
        posted_.store((**sender_).post(order_), std::memory_order_relaxed);
    }
    void order_arrived() noexcept {
        arrived_ = true;
        if (branch_.is_done())
            one_ended();
        else
            branch_.cancel();
    }

    void cancel() noexcept override { branch_.cancel(); }
    [[nodiscard]] bool must_stop() noexcept override {
        return branch_.was_stopped() && is_waiter_cancelled();
    }
    void visit_children(scope_visitor& visitor) override { visit_live(visitor, branch_); }
    [[nodiscard]] std::string describe() const override { return "what a stop token may stop"; }

    std::stop_token token_;
    task<T> coroutine_;
    branch<T> branch_;
    cancel_order order_;
    std::optional<inbox_sender> sender_;
    std::optional<std::stop_callback<poster>> callback_;
    std::atomic<bool> posted_ = false;
    bool arrived_ = false;
};

} // namespace detail

/// Awaits `awaited`, and cancels it when a stop is requested of `token`, on whichever thread; once
/// it has been unwound completely, `cancelled_error` is thrown. If it completes all the same, its
/// result is given. With a token that was stopped before, it may only complete without suspending.
///
/// A request takes effect in the loop's own turn. The callback is deregistered before the await
/// ends. Cancelling the awaiting task cancels what it awaits. Throws `std::bad_alloc`.
template <detail::taskable Awaitable>
auto with_stop_token(std::stop_token token, Awaitable&& awaited) {
    using T = detail::task_result_t<Awaitable>;
    return detail::deferred<detail::stop_token_operation<T>, std::stop_token, task<T>>(
        std::move(token), detail::as_task(std::forward<Awaitable>(awaited)));
}

} // namespace hob
