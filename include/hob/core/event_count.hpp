// SPDX-License-Identifier: MIT
// A counter of one thread that others may read.
#pragma once

#include <atomic>
#include <cstdint>

namespace hob::detail {

/// Counts on the loop's thread; any thread may look.
class event_count {
  public:
    void increment() noexcept { count_.store(value() + 1, std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t value() const noexcept {
        return count_.load(std::memory_order_relaxed);
    }

  private:
    std::atomic<std::uint64_t> count_ = 0;
};

} // namespace hob::detail
