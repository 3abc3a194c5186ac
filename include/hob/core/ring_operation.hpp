// SPDX-License-Identifier: MIT
// An operation that the kernel carries out.
#pragma once

#include <hob/core/operation.hpp>

#include <liburing.h>

#include <cerrno>
#include <cstdint>

namespace hob::detail {

/// One submission queue entry and its completion. The kernel may use the operation's memory and
/// buffers until the completion has arrived, also after a cancellation was asked for.
class ring_operation : public operation {
  public:
    /// Fills in everything but the user data. May be called again: an interrupted call is retried.
    virtual void prepare(io_uring_sqe& entry) noexcept = 0;

    /// Takes a completion; `flags` are the IORING_CQE_F_*. Called in the loop's turn.
    virtual void completed(int result, [[maybe_unused]] unsigned flags) noexcept {
        finish(result);
    }

    /// Marks the reactor's part of the state.
    [[nodiscard]] bool is_in_flight() const noexcept { return in_flight_; }

  protected:
    ring_operation() = default;
    ~ring_operation() = default;

    /// Submits; for the first time or, from `completed`, once more. Defined with the reactor.
    inline void submit() noexcept;
    inline void cancel() noexcept override;

    /// The common end: keeps the result and resumes the waiter, unless a cancellation came first.
    void finish(int result) noexcept {
        if (result < 0 && was_cancelled(result)) [[unlikely]] {
            stop();
            return;
        }
        if (result == -EINTR) [[unlikely]] {
            submit();
            return;
        }
        result_ = result;
        complete();
    }

    /// Whether this error means that the waiter's cancellation took effect.
    [[nodiscard]] bool was_cancelled(int error) const noexcept {
        return (error == -ECANCELED || error == -EINTR) && waiter_->owner().is_cancelled();
    }

    /// What the kernel returned: a value, or a negative errno.
    int result_ = 0;

  private:
    friend class reactor;
    std::uint32_t number_ = 0; ///< of the submission queue entry
    bool in_flight_ = false;
};

} // namespace hob::detail
