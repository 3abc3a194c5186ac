// SPDX-License-Identifier: MIT
// Runs a test against the kernel in both ring modes.
#pragma once

#include "catch.hpp"

#include <hob/run.hpp>
#include <hob/task.hpp>

#include <cstddef>
#include <filesystem>
#include <iterator>

namespace test {

/// How many file descriptors this process has, the one that counts included.
inline std::ptrdiff_t open_descriptors() {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                         std::filesystem::directory_iterator());
}

inline hob::runner_options options_for(hob::ring_mode mode) {
    hob::runner_options options;
    options.ring.mode = mode;
    options.handle_interrupt = false;
    return options;
}

/// Runs `body()` in a loop of its own for each ring mode, and checks that no file descriptor is
/// left behind. Once in a test case. In `body`, no CHECK or REQUIRE may contain a `co_await`: with
/// GCC, Catch2 mentions the expression twice, and the await happens twice.
inline void in_both_ring_modes(hob::task<> (*body)()) {
    const auto mode = GENERATE(hob::ring_mode::defer_taskrun, hob::ring_mode::plain);
    INFO("ring mode " << (mode == hob::ring_mode::plain ? "plain" : "defer_taskrun"));
    const auto before = open_descriptors();
    {
        hob::runner loop(options_for(mode));
        loop.run(body());
    }
    CHECK(open_descriptors() == before);
}

} // namespace test
