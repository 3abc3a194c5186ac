// SPDX-License-Identifier: MIT
// What the operations on a descriptor do alike.
#pragma once

#include <hob/core/descriptor.hpp>
#include <hob/core/error.hpp>
#include <hob/core/stream_error.hpp>

#include <cerrno>
#include <coroutine>
#include <cstddef>
#include <string>
#include <system_error>
#include <utility>

namespace hob::detail {

/// Throws what a negative result stands for. `what` names the operation and the peer.
[[noreturn, gnu::cold, gnu::noinline]] inline void
throw_io_error(int result, const std::string& what, const descriptor& target) {
    switch (result) {
    case -EBADF:
        throw closed_error(what);
    case -EBUSY:
        throw busy_error(what);
    case broken_write:
        throw broken_write_error(what, target.taken());
    default:
        throw std::system_error(error_code_of(result), what);
    }
}

/// Occupies one side of a descriptor from its start to its last completion. `Derived` has a
/// `start()`, which submits, or ends at once by `end`.
template <class Derived, side Side> class io_operation : public descriptor_user {
  public:
    static constexpr bool await_ready() noexcept { return false; }
    template <hob_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
        if (!begin(awaiting.promise())) [[unlikely]]
            return true;
        if (const int error = target_->template acquire<Side>(*this)) [[unlikely]] {
            result_ = error;
            complete();
        } else {
            static_cast<Derived&>(*this).start();
        }
        return true;
    }

  protected:
    explicit io_operation(descriptor_ref target) noexcept : target_(std::move(target)) {}
    ~io_operation() = default;

    [[nodiscard]] descriptor& target() const noexcept { return *target_; }

    /// Whether an operation of several steps may take the next one.
    [[nodiscard]] bool may_go_on() const noexcept {
        return !target_->is_closed() && !waiter_->owner().is_cancelled();
    }

    /// Frees the side; resumes the waiter with the result, or stops it if that is -ECANCELED and
    /// it was cancelled.
    void end(int result) noexcept {
        if (result < 0) [[unlikely]] {
            end_with_error(result);
            return;
        }
        target_->template release<Side>();
        result_ = result;
        complete();
    }

    void require_success() const {
        if (result_ < 0) [[unlikely]]
            throw_io_error(result_, describe(), *target_);
    }

  private:
    [[gnu::noinline]] void end_with_error(int error) noexcept {
        if (error == -EINTR && may_go_on()) {
            submit();
            return;
        }
        const bool was_closed = target_->is_closed() && (error == -ECANCELED || error == -EINTR);
        target_->template release<Side>();
        // The cancelled waiter comes first: for it, nothing has happened.
        finish(was_closed && !was_cancelled(error) ? -EBADF : error);
    }

    descriptor_ref target_;
};

} // namespace hob::detail
