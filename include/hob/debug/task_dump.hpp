// SPDX-License-Identifier: MIT
// hob::dump_tasks: every live task and where it stands.
#pragma once

#include <hob/core/event_loop.hpp>

#include <string>

namespace hob {

/// The live tasks of the loop that runs on this thread. As text: a tree, for each task its name,
/// its state, what it waits for, and the file, line and function of each await, innermost first;
/// below a task stand the tasks and branches that it waits for; at the end, circles of tasks that
/// wait for each other. Works in release builds too. Throws `no_running_loop_error`.
[[nodiscard]] inline std::string dump_tasks(dump_format format = dump_format::text) {
    return event_loop::current().dump(format);
}

} // namespace hob
