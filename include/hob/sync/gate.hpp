// SPDX-License-Identifier: MIT
// Waiting for a primitive that lets everybody through while it is open.
#pragma once

#include <hob/core/awaitable.hpp>
#include <hob/sync/waiter_list.hpp>

#include <coroutine>
#include <string>

namespace hob::detail {

/// The line before a gate.
class gate_line {
  public:
    void enter() { home_.enter(); }
    /// Before the gate opens. Throws where its waiters cannot be woken.
    void enter_to_open() {
        if (!waiters_.empty())
            home_.enter_to_wake();
    }
    void push_back(waiter& newcomer) noexcept { waiters_.push_back(newcomer); }
    /// The gate has opened. It may close again before the woken tasks run: they are through.
    void let_pass() noexcept { waiters_.wake_all(); }
    [[nodiscard]] std::string describe(const char* what) { return waiters_.describe(what); }

  private:
    home_loop home_;
    waiter_list<> waiters_;
};

/// Waits until `Gate` is open. That is a class with `is_open()`, a `gate_line` named `line_` and a
/// word for people, `gate_name`.
template <class Gate> class gate_wait : public waiter {
  public:
    explicit gate_wait(Gate& target) noexcept : gate_(target) {}

    [[nodiscard]] bool await_ready() {
        gate_.line_.enter();
        return gate_.is_open() && scheduler::here().spend_budget();
    }
    template <hob_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
        if (begin(awaiting.promise())) {
            // Open, but the task has to yield first.
            if (gate_.is_open())
                complete();
            else
                gate_.line_.push_back(*this);
        }
        return true;
    }
    static constexpr void await_resume() noexcept {}

  private:
    [[nodiscard]] std::string describe() const override {
        return gate_.line_.describe(Gate::gate_name);
    }

    Gate& gate_;
};

} // namespace hob::detail
