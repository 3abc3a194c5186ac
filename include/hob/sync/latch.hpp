// SPDX-License-Identifier: MIT
// hob::latch: tasks wait until a number of things have happened.
#pragma once

#include <hob/sync/gate.hpp>

#include <cstddef>

namespace hob {

/// Counts down to zero once, and then stays open. Belongs to the first loop in which it is waited
/// for. Must not be destroyed while a task waits.
class latch {
  public:
    /// Opens after `count` steps; with 0 it is open from the start.
    explicit latch(std::size_t count) noexcept : count_(count) {}
    latch(const latch&) = delete;
    latch& operator=(const latch&) = delete;

    /// Takes `steps` off the count; at zero, wakes all who wait. Throws `usage_error`, and changes
    /// nothing, when fewer are left, and where the waiting tasks belong to another loop.
    void count_down(std::size_t steps = 1) {
        if (steps > count_)
            throw usage_error("a latch was counted down below zero");
        if (steps == count_)
            line_.enter_to_open();
        count_ -= steps;
        if (count_ == 0)
            line_.let_pass();
    }
    /// How many steps are left.
    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    [[nodiscard]] bool is_open() const noexcept { return count_ == 0; }

    /// Awaiting waits until the count is zero. A cancelled waiter leaves no trace. Throws
    /// `usage_error` in a second loop.
    [[nodiscard]] auto wait() noexcept {
        return detail::deferred<detail::gate_wait<latch>, latch&>(*this);
    }

  private:
    friend class detail::gate_wait<latch>;
    static constexpr const char* gate_name = "latch";

    detail::gate_line line_;
    std::size_t count_;
};

} // namespace hob
