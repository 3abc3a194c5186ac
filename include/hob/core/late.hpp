// SPDX-License-Identifier: MIT
// Room for an operation that is made only when its coroutine has to wait.
#pragma once

#include <memory>
#include <utility>

namespace hob::detail {

/// A part of an awaiter: what turns out not to wait pays nothing for the operation. The awaiter
/// destroys it, if there is anything to destroy.
template <class Operation> class late {
  public:
    late() noexcept {}
    ~late() {}
    late(const late&) = delete;
    late& operator=(const late&) = delete;

    template <class... Arguments> Operation& make(Arguments&&... arguments) {
        return *std::construct_at(&operation_, std::forward<Arguments>(arguments)...);
    }
    [[nodiscard]] Operation& get() noexcept { return operation_; }

  private:
    union {
        Operation operation_;
    };
};

} // namespace hob::detail
