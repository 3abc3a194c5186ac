// SPDX-License-Identifier: MIT
// What a forked child must not destroy.
#pragma once

namespace hob::detail {

/// An object whose destructor never runs: of a condition variable or a thread, which free nothing
/// then, but wait in a forked child for threads that only the parent has.
template <class T> class undestroyed {
  public:
    undestroyed() : value_() {}
    undestroyed(const undestroyed&) = delete;
    undestroyed& operator=(const undestroyed&) = delete;
    ~undestroyed() {}

    [[nodiscard]] T& operator*() noexcept { return value_; }
    [[nodiscard]] T* operator->() noexcept { return &value_; }

  private:
    union {
        T value_;
    };
};

} // namespace hob::detail
