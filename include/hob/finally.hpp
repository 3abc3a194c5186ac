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

/// What of a cleanup is awaited: what calling it gives, or else itself.
template <class Cleanup> struct cleanup_to_await {
    using type = Cleanup;
};
template <class Cleanup>
    requires std::invocable<Cleanup&>
struct cleanup_to_await<Cleanup> {
    using type = std::invoke_result_t<Cleanup&>;
};
template <class Cleanup> using cleanup_to_await_t = typename cleanup_to_await<Cleanup>::type;

/// A function that is done when it returns.
template <class Cleanup>
inline constexpr bool is_plain_cleanup = std::is_void_v<cleanup_to_await_t<Cleanup>>;

template <class Cleanup> consteval void check_cleanup() {
    if constexpr (std::invocable<Cleanup&>)
        check_callable<Cleanup>();
    if constexpr (!is_plain_cleanup<Cleanup>) {
        using awaited = cleanup_to_await_t<Cleanup>;
        static_assert(taskable<awaited>, "hob: the cleanup of finally is an awaitable, or a "
                                         "callable that returns one or nothing");
        if constexpr (taskable<awaited>)
            static_assert(std::is_void_v<task_result_t<awaited>>,
                          "hob: the cleanup of finally gives a value, which nobody would get: "
                          "await it in a coroutine that returns hob::task<>, and look at it there");
    }
}

/// A plain function in a coroutine, so that it has the task and the context of one that awaits.
template <class Cleanup> task<> call_cleanup(Cleanup& cleanup) {
    cleanup();
    co_return;
}

template <class T, class Cleanup> class finally_operation final : public combinator {
  public:
    finally_operation(task<T> body, Cleanup cleanup)
        : body_task_(std::move(body)), cleanup_(std::forward<Cleanup>(cleanup)), body_(*this),
          cleanup_branch_(*this) {}

    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        require_root(body_task_);
        // Before the body begins: afterwards, a lack of memory would keep it from being called.
        if constexpr (is_plain_cleanup<Cleanup>) {
            cleanup_task_ = call_cleanup(cleanup_);
            cleanup_task_.root().set_position(nowhere);
        }
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
            if constexpr (!std::invocable<Cleanup&>)
                cleanup_task_ = as_task(static_cast<Cleanup&&>(cleanup_));
            else if constexpr (!is_plain_cleanup<Cleanup>)
                cleanup_task_ = as_task(cleanup_());
            require_root(cleanup_task_);
        } catch (...) {
            cleanup_start_error_ = std::current_exception();
            if (is_fatal(cleanup_start_error_))
                scheduler::here().fail(cleanup_start_error_);
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
        const std::exception_ptr error = cleanup_error();
        // A fatal one leaves `run`, which tells it.
        if (error && !is_fatal(error))
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
///     co_await hob::finally(work(file), [&] { busy = false; });
///     co_await hob::finally(work(file), file.close());
///
/// `cleanup` is an awaitable of void, or a callable that is called when the body has ended, and
/// returns such an awaitable or nothing. It may have a time limit of its own. An exception that
/// leaves it is thrown if the body gave a value; otherwise it goes to the loop's exception handler,
/// and the body's exception or stop goes on. A `fatal_error` leaves `run` at once.
template <detail::taskable Body, class Cleanup> auto finally(Body&& body, Cleanup&& cleanup) {
    detail::check_cleanup<Cleanup>();
    using T = detail::task_result_t<Body>;
    return detail::deferred<detail::finally_operation<T, Cleanup>, task<T>, Cleanup>(
        detail::as_task(std::forward<Body>(body)), std::forward<Cleanup>(cleanup));
}

} // namespace hob
