// SPDX-License-Identifier: MIT
// hob::lag_histogram: how late the timers of a loop fire.
#pragma once

#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace hob {

/// Counts delays in buckets that double in width, in constant memory: bucket 0 holds those below
/// 2 ns, and bucket `i` those from 2^i up to, but not including, 2^(i+1) ns.
class lag_histogram {
  public:
    static constexpr std::size_t bucket_count = 63;

    /// A negative delay counts as none.
    void add(std::chrono::nanoseconds delay) noexcept {
        const auto value = delay.count() > 1 ? static_cast<std::uint64_t>(delay.count()) : 1;
        ++counts_[static_cast<std::size_t>(std::bit_width(value)) - 1];
    }

    [[nodiscard]] const std::array<std::uint64_t, bucket_count>& buckets() const noexcept {
        return counts_;
    }
    /// How many delays have been added.
    [[nodiscard]] std::uint64_t count() const noexcept {
        std::uint64_t sum = 0;
        for (const std::uint64_t each : counts_)
            sum += each;
        return sum;
    }
    /// The end of the bucket in which the given fraction (0 to 1) of the delays is reached: no
    /// more than twice the true value. Zero when nothing has been added.
    [[nodiscard]] std::chrono::nanoseconds quantile(double fraction) const noexcept {
        const double wanted = fraction * static_cast<double>(count());
        std::uint64_t seen = 0;
        std::size_t last = bucket_count;
        for (std::size_t index = 0; index != bucket_count; ++index) {
            if (counts_[index] == 0)
                continue;
            last = index;
            seen += counts_[index];
            if (static_cast<double>(seen) >= wanted)
                break;
        }
        return last == bucket_count ? std::chrono::nanoseconds(0) : end_of(last);
    }

  private:
    static constexpr std::chrono::nanoseconds end_of(std::size_t index) noexcept {
        return index + 1 == bucket_count ? std::chrono::nanoseconds::max()
                                         : std::chrono::nanoseconds(std::int64_t{2} << index);
    }

    std::array<std::uint64_t, bucket_count> counts_{};
};

} // namespace hob
