// SPDX-License-Identifier: MIT
// hob::event: tasks wait until something has happened.
#pragma once

#include <hob/sync/gate.hpp>

namespace hob {

/// A flag to wait for. Belongs to the first loop in which it is waited for. Must not be destroyed
/// while a task waits.
class event {
  public:
    event() = default;
    event(const event&) = delete;
    event& operator=(const event&) = delete;

    /// Sets the flag and wakes all who wait, also if `clear` follows at once. Throws `usage_error`
    /// where the waiting tasks belong to another loop.
    void set() {
        line_.enter_to_open();
        set_ = true;
        line_.let_pass();
    }
    void clear() noexcept { set_ = false; }
    [[nodiscard]] bool is_set() const noexcept { return set_; }

    /// Awaiting waits until the flag is set. A cancelled waiter leaves no trace. Throws
    /// `usage_error` in a second loop.
    [[nodiscard]] auto wait() noexcept {
        return detail::deferred<detail::gate_wait<event>, event&>(*this);
    }

  private:
    friend class detail::gate_wait<event>;
    static constexpr const char* gate_name = "event";
    [[nodiscard]] bool is_open() const noexcept { return set_; }

    detail::gate_line line_;
    bool set_ = false;
};

} // namespace hob
