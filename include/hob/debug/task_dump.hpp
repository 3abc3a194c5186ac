// SPDX-License-Identifier: MIT
// hob::dump_tasks: every live task and where it stands.
#pragma once

#include <hob/core/event_loop.hpp>

#include <string>

namespace hob {

/// The live tasks of the loop that runs on this thread, as a tree of text: for each its name, its
/// state, what it waits for, and the file, line and function of each await, innermost first; below
/// a task stand the tasks and branches that it waits for. Works in release builds too. Throws
/// `no_running_loop_error`.
[[nodiscard]] inline std::string dump_tasks() {
    return event_loop::current().dump();
}

} // namespace hob
