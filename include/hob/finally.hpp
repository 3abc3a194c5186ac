// SPDX-License-Identifier: MIT
// hob::finally: cleanup that awaits.
#pragma once

#include <hob/core/callable.hpp>
#include <hob/core/combinator.hpp>

#include <concepts>
#include <coroutine>
#include <exception>
#include <string>
#include <type_traits>
#include <utility>

namespace hob {
namespace detail {

template <class T, class Cleanup> class finally_operation final : public combinator {
  public:
    finally_operation(task<T> body, Cleanup cleanup)
        : body_task_(std::move(body)), cleanup_(std::forward<Cleanup>(cleanup)), body_(*this),
          cleanup_branch_(*this) {}

    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        require_root(body_task_);
        return run_branches(awaiting.promise(), [this] {
            one_more();
            body_.start_now(*body_task_.release(), is_waiter_cancelled());
        });
    }

    T await_resume() {
        if (body_.error() != nullptr)
            report_cleanup_error();
        else if (cleanup_error())
            std::rethrow_exception(cleanup_error());
        return body_.result().get();
    }

    void branch_ended(branch_base& ended) noexcept override {
        if (&ended == &body_)
            start_cleanup();
        else
            one_ended();
    }

  private:
    void start_cleanup() noexcept {
        try {
            if constexpr (std::invocable<Cleanup&>)
                cleanup_task_ = as_task(cleanup_());
            else
                cleanup_task_ = as_task(static_cast<Cleanup&&>(cleanup_));
            require_root(cleanup_task_);
        } catch (...) {
            cleanup_start_error_ = std::current_exception();
            one_ended();
            return;
        }
        // Not born cancelled, and no cancellation reaches it later: this is the shield.
        cleanup_branch_.start_now(*cleanup_task_.release(), false);
    }

    [[nodiscard]] std::exception_ptr cleanup_error() const noexcept {
        return cleanup_start_error_ ? cleanup_start_error_ : cleanup_branch_.error();
    }
    void report_cleanup_error() noexcept {
        if (const std::exception_ptr error = cleanup_error())
            scheduler::here().report("an exception left a cleanup, and another outcome goes on",
                                     &waiter_->owner(), error);
    }

    void cancel() noexcept override { body_.cancel(); }
    [[nodiscard]] bool shields(const scope& child) const noexcept override {
        return &child == &cleanup_branch_;
    }
    [[nodiscard]] bool must_stop() noexcept override {
        if (!body_.was_stopped())
            return false;
        report_cleanup_error();
        return true;
    }
    void visit_children(scope_visitor& visitor) override {
        visit_live(visitor, body_);
        visit_live(visitor, cleanup_branch_);
    }
    [[nodiscard]] std::string describe() const override {
        return body_.is_done() ? "the cleanup of a finally" : "the body of a finally";
    }

    task<T> body_task_;
    Cleanup cleanup_;
    task<void> cleanup_task_{nullptr};
    std::exception_ptr cleanup_start_error_;
    branch<T> body_;
    branch<void> cleanup_branch_;
};

} // namespace detail

/// Awaits `body`, then `cleanup`, whichever way the body ends: with a value, by an exception, or
/// stopped by a cancellation, which does not reach the cleanup. Then the body's outcome goes on.
///
/// `cleanup` is an awaitable of void, or a callable that returns one and is called when the body
/// has ended. It may have a time limit of its own. An exception that leaves it is thrown if the
/// body gave a value; otherwise it goes to the loop's exception handler, and the body's exception
/// or stop goes on.
template <detail::taskable Body, class Cleanup> auto finally(Body&& body, Cleanup&& cleanup) {
    if constexpr (std::invocable<Cleanup&>)
        detail::check_callable<Cleanup>();
    else
        static_assert(detail::taskable<Cleanup>,
                      "hob: the cleanup of finally is an awaitable, or a callable returning one");
    using T = detail::task_result_t<Body>;
    return detail::deferred<detail::finally_operation<T, Cleanup>, task<T>, Cleanup>(
        detail::as_task(std::forward<Body>(body)), std::forward<Cleanup>(cleanup));
}

} // namespace hob
