// SPDX-License-Identifier: MIT
// The base of the operations that the kernel carries out.
#pragma once

#include <hob/core/reactor.hpp>
#include <hob/core/ring_request.hpp>

#include <cerrno>

namespace hob::detail {

/// A request with the common way of ending: keeps the result and resumes the waiter, unless a
/// cancellation came first. An operation of several steps overrides `completed` and submits again.
class ring_operation : public ring_request {
  public:
    void completed(int result, [[maybe_unused]] unsigned flags) noexcept override {
        finish(result);
    }

  protected:
    ring_operation() = default;
    ~ring_operation() = default;

    /// For `await_suspend`, and for `completed` once more.
    void submit() noexcept { reactor::here().submit(*this); }
    void submit_quick() noexcept { reactor::here().submit_quick(*this); }
    void cancel() noexcept override { reactor::here().cancel(*this); }

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
};

} // namespace hob::detail
