// SPDX-License-Identifier: MIT
// How the micro benchmarks get into a loop.
#pragma once

#include <hob/hob.hpp>

#include <benchmark/benchmark.h>

/// Runs `body(state)` as the main task of a loop of its own.
template <class Body> void run_in_loop(benchmark::State& state, Body body) {
    hob::runner_options options;
    options.handle_interrupt = false;
    hob::runner runner(options);
    runner.run(body(state));
}
