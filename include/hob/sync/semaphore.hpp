// SPDX-License-Identifier: MIT
// hob::semaphore, hob::bounded_semaphore: so many tasks at a time.
#pragma once

#include <hob/core/awaitable.hpp>
#include <hob/core/late.hpp>
#include <hob/sync/waiter_list.hpp>

#include <coroutine>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>

namespace hob {

class semaphore;
class semaphore_permit;

namespace detail {

class acquire_operation final : public waiter {
  public:
    explicit acquire_operation(semaphore& target) noexcept : semaphore_(target) {}

    inline void start(promise_base& caller) noexcept;

  private:
    [[nodiscard]] inline std::string describe() const override;

    semaphore& semaphore_;
};

class acquire_awaiter final : public late_awaiter<acquire_operation, semaphore> {
  public:
    using late_awaiter::late_awaiter;
    [[nodiscard]] inline bool await_ready();
    [[nodiscard]] inline semaphore_permit await_resume() noexcept;
};

} // namespace detail

/// A number of units that tasks acquire and release. Who waits gets one in the order of coming; a
/// released unit goes to the first in line, and no newcomer gets ahead.
///
/// Belongs to the first loop in which it is acquired. Must not be destroyed while a task waits.
class semaphore {
  public:
    /// Begins with `units`, which may be 0. Throws `usage_error` for a negative number.
    explicit semaphore(std::ptrdiff_t units)
        : semaphore(units, std::numeric_limits<std::ptrdiff_t>::max()) {}
    semaphore(const semaphore&) = delete;
    semaphore& operator=(const semaphore&) = delete;

    /// Awaiting waits for a unit, and gives a `semaphore_permit`, which releases it when it is
    /// destroyed; `detach` it if somebody else releases. A task that is cancelled while it waits
    /// takes nothing; one that already got its unit keeps it. Throws `usage_error` in a second
    /// loop.
    [[nodiscard]] auto acquire() noexcept {
        return detail::deferred<detail::acquire_awaiter, semaphore&>(*this);
    }
    /// A permit for a unit if there is one, and for nothing otherwise.
    /// Throws `usage_error` in a second loop.
    [[nodiscard]] inline semaphore_permit try_acquire();

    /// Adds units, or gives back those of detached permits. Throws `usage_error`, and changes
    /// nothing, for a negative number, above the bound of a `bounded_semaphore`, and where the
    /// waiting tasks belong to another loop.
    void release(std::ptrdiff_t units = 1) {
        if (units < 0 || units > most_ - value_)
            throw usage_error("a semaphore was released more often than its bound allows");
        if (!line_.empty())
            home_.enter_to_wake();
        for (; units != 0 && !line_.empty(); --units)
            line_.pop_front().wake();
        value_ += units;
    }

    /// How many units are free.
    [[nodiscard]] std::ptrdiff_t value() const noexcept { return value_; }

  protected:
    semaphore(std::ptrdiff_t units, std::ptrdiff_t most) : value_(units), most_(most) {
        if (units < 0)
            throw usage_error("a semaphore was made with a negative number of units");
    }

  private:
    friend class detail::acquire_awaiter;
    friend class detail::acquire_operation;

    // Nobody waits while there are units.
    detail::home_loop home_;
    detail::waiter_list<> line_;
    std::ptrdiff_t value_;
    std::ptrdiff_t most_;
};

/// A semaphore that never has more units than it began with: a release too many throws.
class bounded_semaphore : public semaphore {
  public:
    explicit bounded_semaphore(std::ptrdiff_t units) : semaphore(units, units) {}
};

/// Owns one unit of a semaphore, or nothing. Must end in the semaphore's own loop if tasks wait for
/// it: ending it elsewhere ends the process, as does a unit beyond the bound.
class [[nodiscard("a permit that is dropped releases at once")]] semaphore_permit {
  public:
    semaphore_permit() = default;
    semaphore_permit(semaphore_permit&& other) noexcept
        : semaphore_(std::exchange(other.semaphore_, nullptr)) {}
    semaphore_permit& operator=(semaphore_permit&& other) noexcept {
        semaphore_permit taken(std::move(other));
        std::swap(semaphore_, taken.semaphore_);
        return *this;
    }
    ~semaphore_permit() {
        if (semaphore_ != nullptr)
            semaphore_->release();
    }

    /// Whether it owns a unit.
    [[nodiscard]] explicit operator bool() const noexcept { return semaphore_ != nullptr; }

    /// Releases early. Throws `usage_error` when nothing is owned, and like `semaphore::release`.
    void release() {
        if (semaphore_ == nullptr)
            throw usage_error("a semaphore was released through a permit that owns no unit");
        semaphore_->release();
        semaphore_ = nullptr;
    }
    /// Lets go of the unit, which stays taken until somebody calls `semaphore::release`.
    void detach() noexcept { semaphore_ = nullptr; }

  private:
    friend class semaphore;
    friend class detail::acquire_awaiter;

    explicit semaphore_permit(semaphore& owned) noexcept : semaphore_(&owned) {}

    semaphore* semaphore_ = nullptr;
};

inline semaphore_permit semaphore::try_acquire() {
    home_.enter();
    if (value_ == 0)
        return {};
    --value_;
    return semaphore_permit(*this);
}

namespace detail {

inline bool acquire_awaiter::await_ready() {
    scheduler& loop = *target().home_.enter();
    if (target().value_ == 0 || !loop.spend_budget())
        return false;
    --target().value_;
    return true;
}

inline void acquire_operation::start(promise_base& caller) noexcept {
    if (!begin(caller))
        return;
    if (semaphore_.value_ == 0) {
        semaphore_.line_.push_back(*this);
    } else {
        --semaphore_.value_;
        complete();
    }
}

inline semaphore_permit acquire_awaiter::await_resume() noexcept {
    return semaphore_permit(target());
}

inline std::string acquire_operation::describe() const {
    return semaphore_.line_.describe("semaphore");
}

} // namespace detail
} // namespace hob
