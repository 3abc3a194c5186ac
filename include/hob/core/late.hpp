// SPDX-License-Identifier: MIT
// Operations that are made only when their coroutine has to wait.
#pragma once

#include <hob/core/awaitable.hpp>

#include <coroutine>
#include <memory>
#include <utility>

namespace hob::detail {

/// A part of an awaiter: what turns out not to wait pays nothing for the operation, which has
/// nothing to destroy.
template <class Operation> class late {
  public:
    late() noexcept {}
    late(const late&) = delete;
    late& operator=(const late&) = delete;

    template <class... Arguments> Operation& make(Arguments&&... arguments) {
        return *std::construct_at(&operation_, std::forward<Arguments>(arguments)...);
    }

  private:
    union {
        Operation operation_;
    };
};

/// An awaiter that needs nothing but its target, which it does not keep alive, to wait.
template <class Operation, class Target> class late_awaiter : public awaiter_base {
  public:
    explicit late_awaiter(Target& target) noexcept : target_(target) {}
    late_awaiter(const late_awaiter&) = delete;
    late_awaiter& operator=(const late_awaiter&) = delete;

    /// Throws what the operation's start throws.
    template <hob_promise Promise> void await_suspend(std::coroutine_handle<Promise> awaiting) {
        waiting_.make(target_).start(awaiting.promise());
    }

  protected:
    ~late_awaiter() = default;
    [[nodiscard]] Target& target() const noexcept { return target_; }

  private:
    Target& target_;
    late<Operation> waiting_;
};

} // namespace hob::detail
