// SPDX-License-Identifier: MIT
// hob::current_task, hob::all_tasks.
#pragma once

#include <hob/any_task_handle.hpp>
#include <hob/core/event_loop.hpp>

#include <cstddef>
#include <vector>

namespace hob {

/// The task that runs on this thread; empty in a callback, and where no loop runs.
[[nodiscard]] inline any_task_handle current_task() noexcept {
    detail::task_scope* const running = detail::running_task();
    return running == nullptr ? any_task_handle() : any_task_handle(*running);
}

namespace detail {

/// Lists a task, or the scopes below it.
class task_collector final : public scope_visitor {
  public:
    void visit(scope& child) override { found_.push_back(&child); }
    [[nodiscard]] std::vector<scope*>& found() noexcept { return found_; }

  private:
    std::vector<scope*> found_;
};

} // namespace detail

/// Every task of the running loop that has not ended, those of task groups and of async generators
/// included. Throws `no_running_loop_error`, `std::bad_alloc`.
[[nodiscard]] inline std::vector<any_task_handle> all_tasks() {
    detail::task_collector collector;
    std::vector<detail::scope*>& scopes = collector.found();
    detail::reactor::current().tasks().for_each(
        [&](detail::task_scope& each) { scopes.push_back(&each); });
    std::vector<any_task_handle> tasks;
    for (std::size_t index = 0; index != scopes.size(); ++index) {
        detail::scope& each = *scopes[index];
        if (detail::task_scope* const task = each.as_task())
            tasks.emplace_back(*task);
        if (detail::waited_for* const operation = each.waiting())
            operation->visit_children(collector);
    }
    return tasks;
}

} // namespace hob
