// SPDX-License-Identifier: MIT
// hob::current_task, hob::all_tasks: tasks whose type nobody knows.
#pragma once

#include <hob/core/event_loop.hpp>
#include <hob/task_handle.hpp>

#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace hob {

/// Refers to a task whatever its result: for names, cancellation and diagnostics. To await it, keep
/// the `task_handle` that `create_task` gave.
class any_task_handle {
  public:
    any_task_handle() = default;
    template <class T>
    any_task_handle(const task_handle<T>& handle) : any_task_handle(handle.record()) {}
    any_task_handle(const any_task_handle& other) noexcept : task_(other.task_) {
        if (task_ != nullptr)
            task_->keep();
    }
    any_task_handle(any_task_handle&& other) noexcept
        : task_(std::exchange(other.task_, nullptr)) {}
    any_task_handle& operator=(any_task_handle other) noexcept {
        std::swap(task_, other.task_);
        return *this;
    }
    ~any_task_handle() {
        if (task_ != nullptr)
            task_->release();
    }

    /// False outside a task, and for a default-constructed or moved-from handle.
    [[nodiscard]] explicit operator bool() const noexcept { return task_ != nullptr; }

    /// As `task_handle::cancel`. A task that cancels itself is stopped at its next suspension.
    bool cancel() const { return detail::cancel_task(*task_); }
    [[nodiscard]] bool done() const noexcept { return task_->is_done(); }
    [[nodiscard]] bool cancelled() const noexcept { return task_->has_been_stopped(); }
    [[nodiscard]] std::string name() const { return task_->name(); }
    const any_task_handle& set_name(std::string name) const {
        task_->set_name(std::move(name));
        return *this;
    }

    explicit any_task_handle(detail::task_scope& task) noexcept : task_(&task) { task.keep(); }

    friend bool operator==(const any_task_handle&, const any_task_handle&) = default;

  private:
    friend std::hash<any_task_handle>;

    detail::task_scope* task_ = nullptr;
};

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

/// Every task of the running loop that has not ended, those of task groups included. Throws
/// `no_running_loop_error`, `std::bad_alloc`.
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

/// So that tasks may be the keys of a table.
template <> struct std::hash<hob::any_task_handle> {
    [[nodiscard]] std::size_t operator()(const hob::any_task_handle& handle) const noexcept {
        return std::hash<const void*>()(handle.task_);
    }
};
