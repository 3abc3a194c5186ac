// SPDX-License-Identifier: MIT
// A value that something has for a while.
#pragma once

#include <utility>

namespace hob::detail {

/// While it lives, `place` has another value; then the one from before again.
template <class T> class temporary_value {
  public:
    temporary_value(T& place, T value) noexcept
        : place_(place), outer_(std::exchange(place, std::move(value))) {}
    ~temporary_value() { place_ = std::move(outer_); }
    temporary_value(const temporary_value&) = delete;
    temporary_value& operator=(const temporary_value&) = delete;

  private:
    T& place_;
    T outer_;
};

} // namespace hob::detail
