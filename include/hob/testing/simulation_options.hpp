// SPDX-License-Identifier: MIT
// The settings of a simulated kernel, and what it shares with the test.
#pragma once

#include <hob/core/timer_queue.hpp>
#include <hob/testing/fault_plan.hpp>
#include <hob/testing/random_source.hpp>
#include <hob/testing/trace_recorder.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace hob::testing {

/// How a `simulation` behaves. The seed decides everything that a kernel leaves open.
class simulation_options {
  public:
    explicit simulation_options(std::uint64_t random_seed = 0) noexcept : seed(random_seed) {}

    std::uint64_t seed;
    /// Whether what can complete at the same time completes in a random order, or in the order of
    /// submission.
    bool shuffle = true;
    /// The longest that an operation takes to start, and its completion to arrive, in virtual
    /// time. 0: everything happens as soon as it can.
    std::chrono::nanoseconds max_latency = std::chrono::microseconds(100);
    /// How likely a transfer moves fewer bytes than it could, 0 to 1.
    double short_transfers = 0.25;
    /// How many bytes each direction of a connection holds before sending waits; at least 1.
    std::size_t stream_capacity = std::size_t{16} * 1024;
    /// Entries of the queues, rounded up to powers of two; at least 1. Completions that do not fit
    /// are kept, as the kernel keeps them.
    unsigned submission_entries = 256;
    unsigned completion_entries = 1024;
    /// Whether `simulation::trace` has the text of the trace; its hash is always there.
    bool keep_trace = false;
};

} // namespace hob::testing

namespace hob::detail {

/// Outlives the ring while the test still looks at it.
class simulation_state {
  public:
    explicit simulation_state(const testing::simulation_options& given)
        : options(given), random(given.seed), trace(given.keep_trace) {}

    const testing::simulation_options options;
    random_source random;
    testing::fault_plan faults;
    trace_recorder trace;
    /// Not zero, so that there is a past.
    time_point now{std::chrono::hours(1)};

    /// Half of what happens does so at once.
    [[nodiscard]] std::chrono::nanoseconds next_latency() noexcept {
        const auto most = static_cast<std::uint64_t>(options.max_latency.count());
        if (most == 0 || random.below(2) == 0)
            return std::chrono::nanoseconds(0);
        return std::chrono::nanoseconds(1 + random.below(most));
    }
    /// How much of what could be transferred is. At least 1, unless `possible` is 0.
    [[nodiscard]] std::size_t next_transfer(std::size_t possible) noexcept {
        if (possible < 2 || !random.chance(options.short_transfers))
            return possible;
        return 1 + static_cast<std::size_t>(random.below(possible));
    }
};

} // namespace hob::detail
