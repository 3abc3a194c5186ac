// SPDX-License-Identifier: MIT
// Seeded random numbers that are the same everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace hob::detail {

/// SplitMix64. The distributions of the standard library differ between its implementations, and
/// a seed that failed on one machine has to fail on the next one.
class random_source {
  public:
    explicit random_source(std::uint64_t seed) noexcept : state_(seed) {}

    [[nodiscard]] std::uint64_t next() noexcept {
        std::uint64_t mixed = state_ += 0x9e37'79b9'7f4a'7c15;
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58'476d'1ce4'e5b9;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d0'49bb'1331'11eb;
        return mixed ^ (mixed >> 31);
    }
    /// A number from 0 to `bound - 1`. The remainder's bias is nothing to a test.
    [[nodiscard]] std::uint64_t below(std::uint64_t bound) noexcept { return next() % bound; }
    /// True with this probability, 0 to 1.
    [[nodiscard]] bool chance(double probability) noexcept {
        constexpr double unit = 1.0 / (1ULL << 53);
        return static_cast<double>(next() >> 11) * unit < probability;
    }

    template <class Container> void shuffle(Container& items) noexcept {
        for (std::size_t left = items.size(); left > 1; --left)
            std::swap(items[left - 1], items[static_cast<std::size_t>(below(left))]);
    }

  private:
    std::uint64_t state_;
};

} // namespace hob::detail
