// SPDX-License-Identifier: MIT
// hob::testing::simulation: a loop on virtual time, over a kernel that a seed decides.
#pragma once

#include <hob/core/error.hpp>
#include <hob/core/event_loop.hpp>
#include <hob/testing/fault_plan.hpp>
#include <hob/testing/simulated_ring.hpp>
#include <hob/testing/simulation_options.hpp>

#include <cstdint>
#include <memory>
#include <string>

namespace hob::testing {

/// A simulated kernel for one loop.
///
///     hob::testing::simulation world(hob::testing::simulation_options(seed));
///     hob::runner program(world.make_loop());
///     program.run(test());
///
/// Timers and the sockets of TCP streams and listeners run in virtual time: a sleep of an hour
/// takes no time, and the seed decides in which order things happen, how long they take, how many
/// bytes a transfer moves, and which faults strike. The same seed and program give the same
/// `trace_hash`. Files are the real ones, read and written when their turn comes. Time passes only
/// where the loop enters the kernel: a task that yields until the clock has moved needs a timer.
///
/// Both ends of a connection have to run in the loop: a peer outside of it is not simulated. Other
/// threads may wake the loop, which waits for them in real time; their work takes no virtual time.
/// While a task waits for a job of a thread pool, a timer takes as long as it really would, so that
/// it does not overtake the work; apart from that, the loop waits for threads only while it waits
/// for no timer. What they do is not repeated by the seed.
class simulation {
  public:
    explicit simulation(const simulation_options& options = simulation_options())
        : state_(std::make_shared<detail::simulation_state>(options)) {}

    /// The loop, for `hob::runner`. Throws `usage_error` the second time.
    [[nodiscard]] std::unique_ptr<event_loop> make_loop() {
        if (has_loop_)
            throw usage_error("a simulation has one loop: make a second one for another");
        has_loop_ = true;
        return std::make_unique<event_loop>(std::make_unique<detail::simulated_ring>(state_));
    }

    /// The virtual time, which `event_loop::time` also is.
    [[nodiscard]] detail::time_point now() const noexcept { return state_->now; }
    [[nodiscard]] fault_plan& faults() noexcept { return state_->faults; }
    /// A line for each completion: virtual time in nanoseconds, operation, result. Empty unless
    /// `simulation_options::keep_trace`.
    [[nodiscard]] const std::string& trace() const noexcept { return state_->trace.text(); }
    [[nodiscard]] std::uint64_t trace_hash() const noexcept { return state_->trace.hash(); }

  private:
    std::shared_ptr<detail::simulation_state> state_;
    bool has_loop_ = false;
};

/// A loop on a simulated kernel that nobody needs to look into.
[[nodiscard]] inline std::unique_ptr<event_loop>
make_simulated_loop(const simulation_options& options = simulation_options()) {
    return simulation(options).make_loop();
}

} // namespace hob::testing
