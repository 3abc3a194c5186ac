// SPDX-License-Identifier: MIT
// hob::shield: an await that cancellation does not reach.
#pragma once

#include <hob/core/combinator.hpp>

#include <coroutine>
#include <string>
#include <utility>

namespace hob {
namespace detail {

template <class T> class shield_operation final : public combinator {
  public:
    explicit shield_operation(task<T> coroutine)
        : coroutine_(std::move(coroutine)), branch_(*this) {}

    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        require_root(coroutine_);
        return run_branches(awaiting.promise(), [this] {
            one_more();
            branch_.start_now(*coroutine_.release(), false);
        });
    }

    T await_resume() { return branch_.result().get(); }

  private:
    void cancel() noexcept override {}
    [[nodiscard]] bool shields(const scope&) const noexcept override { return true; }
    [[nodiscard]] bool must_stop() noexcept override { return branch_.was_stopped(); }
    void visit_children(scope_visitor& visitor) override { visit_live(visitor, branch_); }
    [[nodiscard]] std::string describe() const override { return "a shield"; }

    task<T> coroutine_;
    branch<T> branch_;
};

} // namespace detail

/// Awaits `awaited` in a scope of its own that a cancellation from outside does not reach: it runs
/// to its end, its result is delivered, and a task that was cancelled meanwhile is stopped at its
/// next suspension. Works in a cancelled task too.
///
/// asyncio's `shield` abandons its caller at once and lets the rest run alone; for that, give the
/// rest to `create_task` and await the handle, whose task no waiter cancels.
template <detail::taskable Awaitable> auto shield(Awaitable&& awaited) {
    using T = detail::task_result_t<Awaitable>;
    return detail::deferred<detail::shield_operation<T>, task<T>>(
        detail::as_task(std::forward<Awaitable>(awaited)));
}

} // namespace hob
