// SPDX-License-Identifier: MIT
// The context variables of whatever runs on this thread.
#pragma once

#include <hob/core/context.hpp>
#include <hob/core/task_scope.hpp>
#include <hob/core/temporary_value.hpp>

namespace hob::detail {

/// While it lives, this thread runs a callback, or a job of a thread pool, with this context.
class context_guard {
  public:
    explicit context_guard(context& variables) noexcept : guarded_(installed_, &variables) {}

    /// Null where no guard lives.
    [[nodiscard]] static context* installed() noexcept { return installed_; }

  private:
    static inline constinit thread_local context* installed_ = nullptr;
    temporary_value<context*> guarded_;
};

/// The task that runs on this thread, or null.
[[nodiscard]] inline task_scope* running_task() noexcept {
    if (current_scheduler == nullptr)
        return nullptr;
    promise_base* const running = current_scheduler->running();
    return running == nullptr ? nullptr : &task_of(running->owner());
}

/// The context of the task, the callback or the job that runs here; null when it has none.
[[nodiscard]] inline const context* find_context() noexcept {
    if (const task_scope* const task = running_task()) {
        const task_details* const details = task->details_if_any();
        return details == nullptr ? nullptr : &details->variables;
    }
    return context_guard::installed();
}

/// A copy for something that will run later or elsewhere.
[[nodiscard]] inline context copy_context() noexcept {
    if (!context::is_used()) [[likely]]
        return {};
    const context* const here = find_context();
    return here == nullptr ? context() : *here;
}

} // namespace hob::detail
