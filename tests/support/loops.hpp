// SPDX-License-Identifier: MIT
// Every kind of loop that a test of tasks should pass on.
#pragma once

#include "catch.hpp"

#include <hob/core/event_loop.hpp>
#include <hob/testing/simulation.hpp>

#include <cstdint>
#include <memory>
#include <string>

namespace test {

/// A kernel in one of its modes, or a simulation with a seed.
class loop_kind {
  public:
    explicit loop_kind(hob::ring_mode ring_mode) noexcept : mode(ring_mode) {}
    explicit loop_kind(std::uint64_t random_seed) noexcept : seed(random_seed) {}

    [[nodiscard]] std::unique_ptr<hob::event_loop> make() const {
        if (seed != 0)
            return hob::testing::make_simulated_loop(hob::testing::simulation_options(seed));
        hob::ring_options options;
        options.mode = mode;
        return std::make_unique<hob::event_loop>(options);
    }
    [[nodiscard]] std::string name() const {
        if (seed != 0)
            return "a simulation with seed " + std::to_string(seed);
        return mode == hob::ring_mode::plain ? "the kernel, plain" : "the kernel, defer_taskrun";
    }

    hob::ring_mode mode = hob::ring_mode::automatic;
    std::uint64_t seed = 0;
};

/// Runs the rest of the test case on every kind of loop. Once in a test case, before its sections.
inline std::unique_ptr<hob::event_loop> any_loop() {
    const loop_kind kind =
        GENERATE(loop_kind(hob::ring_mode::defer_taskrun), loop_kind(hob::ring_mode::plain),
                 loop_kind(std::uint64_t{1}), loop_kind(std::uint64_t{2}));
    UNSCOPED_INFO("on " << kind.name());
    return kind.make();
}

/// Only on virtual time: for tests whose subject is time.
inline std::unique_ptr<hob::event_loop> simulated_loop() {
    const loop_kind kind = GENERATE(loop_kind(std::uint64_t{1}), loop_kind(std::uint64_t{2}),
                                    loop_kind(std::uint64_t{3}));
    UNSCOPED_INFO("on " << kind.name());
    return kind.make();
}

} // namespace test
