// SPDX-License-Identifier: MIT
// hob::metrics: figures of the running loop, for a dashboard.
#pragma once

#include <hob/core/event_loop.hpp>
#include <hob/core/lag_histogram.hpp>
#include <hob/current_task.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace hob {

/// What `metrics` gives. The first four count from the loop's beginning.
class loop_metrics {
  public:
    std::uint64_t turns = 0;              ///< how often the loop ran what was ready
    std::uint64_t steps = 0;              ///< tasks and callbacks that were resumed or called
    std::uint64_t system_calls = 0;       ///< calls of io_uring_enter
    lag_histogram lag;                    ///< how late each timer fired: who blocks, shows here
    std::size_t tasks = 0;                ///< alive now
    std::size_t operations_in_flight = 0; ///< that the kernel has now
    std::size_t timers = 0;               ///< pending now
};

/// Figures of the loop that runs on this thread. They are kept at all times; reading them visits
/// every task once. On another thread, ask by `call_soon_threadsafe`. Throws
/// `no_running_loop_error`, `std::bad_alloc`.
[[nodiscard]] inline loop_metrics metrics() {
    const detail::reactor& loop = detail::reactor::current();
    loop_metrics found;
    found.turns = loop.turns();
    found.steps = loop.steps();
    found.system_calls = loop.system_calls();
    found.lag = loop.lag();
    found.tasks = all_tasks().size();
    found.operations_in_flight = loop.operations_in_flight();
    found.timers = loop.pending_timers();
    return found;
}

/// One line a figure, `name value`, in nanoseconds where it is a time.
[[nodiscard]] inline std::string to_string(const loop_metrics& figures) {
    std::string text;
    const auto add = [&text](const char* name, auto value) {
        text += std::string(name) + " " + std::to_string(value) + "\n";
    };
    add("turns", figures.turns);
    add("steps", figures.steps);
    add("system_calls", figures.system_calls);
    add("tasks", figures.tasks);
    add("operations_in_flight", figures.operations_in_flight);
    add("timers", figures.timers);
    add("timers_fired", figures.lag.count());
    add("lag_median", figures.lag.quantile(0.5).count());
    add("lag_99", figures.lag.quantile(0.99).count());
    add("lag_maximum", figures.lag.quantile(1).count());
    return text;
}

} // namespace hob
