// SPDX-License-Identifier: MIT
// An operation that waits for coroutines of its own: the base of gather, race, timeout, shield,
// finally and the task group.
#pragma once

#include <hob/core/as_task.hpp>
#include <hob/core/awaitable.hpp>
#include <hob/core/operation.hpp>
#include <hob/core/result.hpp>
#include <hob/task.hpp>

#include <coroutine>
#include <cstddef>
#include <exception>
#include <type_traits>
#include <utility>
#include <variant>

namespace hob::detail {

class branch_base;

/// Starts its branches inside the awaiting step, and completes when the last of them has ended.
/// So it is over at once if none of them suspends, and leaves nothing behind in any case.
class combinator : public operation {
  public:
    /// One branch has ended. Called inside the awaiting step or in the loop's turn.
    virtual void branch_ended([[maybe_unused]] branch_base& ended) noexcept { one_ended(); }

    static constexpr bool await_ready() noexcept { return false; }

  protected:
    combinator() = default;
    ~combinator() = default;

    /// For `await_suspend`: `start()` starts the branches, each announced by `one_more`, and born
    /// cancelled if `is_waiter_cancelled()`, which the one before it may have changed. Returns
    /// whether the awaiting coroutine is suspended. Registering the wait first makes the branches
    /// visible in the tree of tasks from their first step on.
    template <class Start> bool run_branches(promise_base& waiter, Start&& start) {
        begin_shielded(waiter);
        one_more();
        start();
        if (--pending_ != 0)
            return true;
        if (must_stop()) {
            stop();
            return true;
        }
        waiter.owner().resume_running();
        return false;
    }

    void one_more() noexcept { ++pending_; }
    void one_ended() noexcept {
        if (--pending_ != 0)
            return;
        if (must_stop())
            stop();
        else
            complete();
    }
    [[nodiscard]] bool is_over() const noexcept { return pending_ == 0; }
    [[nodiscard]] std::size_t pending() const noexcept { return pending_; }

    /// Asked once, when all branches have ended: whether the awaiting coroutine is stopped instead
    /// of resumed. Only if it is cancelled, and the combinator could not do all it was to do.
    [[nodiscard]] virtual bool must_stop() noexcept = 0;

    [[nodiscard]] bool is_waiter_cancelled() const noexcept {
        return waiter_->owner().is_being_cancelled();
    }

  private:
    std::size_t pending_ = 0;
};

/// One coroutine of a combinator: a scope that lives in the combinator.
class branch_base : public scope {
  public:
    [[nodiscard]] scope* parent() const noexcept final { return &owner_.waiter().owner(); }
    [[nodiscard]] scheduler& home() noexcept final { return parent()->home(); }
    [[nodiscard]] bool was_stopped() const noexcept { return was_stopped_; }

  protected:
    explicit branch_base(combinator& owner) noexcept : owner_(owner) {}
    ~branch_base() { check_ended(); }

    void tell_owner() noexcept { owner_.branch_ended(*this); }
    [[nodiscard]] combinator& owner() const noexcept { return owner_; }

  private:
    void unwound() noexcept final {
        was_stopped_ = true;
        tell_owner();
    }

    combinator& owner_;
    bool was_stopped_ = false;
};

template <class T> class branch final : public branch_base {
  public:
    explicit branch(combinator& owner) noexcept : branch_base(owner) {}

    [[nodiscard]] outcome<T>& result() noexcept { return outcome_; }
    [[nodiscard]] std::exception_ptr error() const noexcept {
        return outcome_.state() == outcome_state::exception ? outcome_.exception() : nullptr;
    }

    /// The value, with `std::monostate` for void; throws the exception.
    [[nodiscard]] decltype(auto) take() {
        if constexpr (std::is_void_v<T>) {
            outcome_.get();
            return std::monostate();
        } else {
            return outcome_.get();
        }
    }

  private:
    void finished(promise_base& root) noexcept override {
        auto& child = static_cast<promise<T>&>(root);
        outcome_.take(child.result());
        child.coroutine().destroy();
        if (outcome_.state() == outcome_state::exception) [[unlikely]]
            report_failure();
        tell_owner();
    }

    [[gnu::cold, gnu::noinline]] void report_failure() noexcept {
        scheduler& loop = scheduler::here();
        loop.trace.go_on_in(owner().waiter());
        if (is_fatal(outcome_.exception()))
            loop.fail(outcome_.exception());
    }

    outcome<T> outcome_;
};

/// Stands for a value that is not there.
template <class T>
using value_or_monostate = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

/// For the tree of tasks: branches that run.
inline void visit_live(scope_visitor& visitor, scope& each) {
    if (each.is_alive())
        visitor.visit(each);
}

} // namespace hob::detail
