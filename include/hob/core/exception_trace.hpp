// SPDX-License-Identifier: MIT
// The async stack of an exception, kept while it climbs from coroutine to coroutine.
#pragma once

#include <hob/core/promise.hpp>

#include <array>
#include <cstddef>
#include <source_location>

namespace hob::detail {

/// The frames are gone by the time somebody asks where an exception came from, so each one leaves
/// its position here when the exception leaves it. Keeps the innermost frames and allocates
/// nothing.
class exception_trace {
  public:
    static constexpr std::size_t depth_limit = 32;

    /// An exception leaves `frame`.
    void leave(const promise_base& frame) noexcept {
        if (&frame != expected_)
            size_ = 0;
        if (size_ != depth_limit && frame.is_shown())
            frames_[size_++] = frame.position;
        expected_ = frame.caller();
    }
    /// It has left the root of a branch, and goes on in the coroutine that awaits the combinator.
    void go_on_in(const promise_base& frame) noexcept { expected_ = &frame; }

    [[nodiscard]] const std::source_location* begin() const noexcept { return frames_.data(); }
    [[nodiscard]] const std::source_location* end() const noexcept {
        return frames_.data() + size_;
    }

  private:
    std::array<std::source_location, depth_limit> frames_;
    std::size_t size_ = 0;
    const promise_base* expected_ = nullptr;
};

} // namespace hob::detail
