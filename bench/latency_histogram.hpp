// SPDX-License-Identifier: MIT
// Latencies in buckets whose width grows with the value: constant memory, quantiles within one
// percent.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace bench {

class latency_histogram {
  public:
    void add(std::uint64_t nanoseconds, std::uint64_t times) {
        counts_[bucket_of(nanoseconds)] += times;
        total_ += times;
    }

    // The latency that the given fraction of samples does not exceed, in nanoseconds; 0 without
    // samples.
    [[nodiscard]] std::uint64_t quantile(double fraction) const {
        const auto wanted = static_cast<std::uint64_t>(fraction * static_cast<double>(total_));
        std::uint64_t seen = 0;
        for (std::size_t bucket = 0; bucket < counts_.size(); ++bucket) {
            seen += counts_[bucket];
            if (seen > wanted)
                return middle_of(bucket);
        }
        return 0;
    }

  private:
    // Values below 2^precision have a bucket each; above, every power of two is divided into
    // 2^(precision-1).
    static constexpr unsigned precision = 7;
    static constexpr std::size_t half = std::size_t{1} << (precision - 1);
    static constexpr std::size_t bucket_count = (64 - precision + 2) * half;

    static std::size_t bucket_of(std::uint64_t value) {
        const auto width = static_cast<unsigned>(std::bit_width(value));
        if (width <= precision)
            return static_cast<std::size_t>(value);
        const unsigned shift = width - precision;
        return shift * half + static_cast<std::size_t>(value >> shift);
    }

    static std::uint64_t middle_of(std::size_t bucket) {
        if (bucket < 2 * half)
            return bucket;
        const std::size_t shift = bucket / half - 1;
        const std::uint64_t lowest = std::uint64_t{bucket - shift * half} << shift;
        return lowest + (std::uint64_t{1} << shift) / 2;
    }

    std::array<std::uint64_t, bucket_count> counts_{};
    std::uint64_t total_ = 0;
};

} // namespace bench
