// SPDX-License-Identifier: MIT
// hob::any_task_handle: a task whose type nobody knows.
#pragma once

#include <hob/task_handle.hpp>

#include <functional>
#include <string>
#include <utility>

namespace hob {

/// Refers to a task whatever its result: for names, cancellation and diagnostics, and for `wait`,
/// which takes tasks of several types by it. To await one alone, keep the `task_handle` that
/// `create_task` gave.
class any_task_handle {
  public:
    any_task_handle() = default;
    /// Throws `usage_error` for an empty handle.
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

    /// For what is built on tasks.
    [[nodiscard]] detail::task_scope& record() const {
        if (task_ == nullptr)
            throw usage_error("an empty any_task_handle was awaited");
        return *task_;
    }

    explicit any_task_handle(detail::task_scope& task) noexcept : task_(&task) { task.keep(); }

    friend bool operator==(const any_task_handle&, const any_task_handle&) = default;

  private:
    friend std::hash<any_task_handle>;

    detail::task_scope* task_ = nullptr;
};

} // namespace hob

/// So that tasks may be the keys of a table.
template <> struct std::hash<hob::any_task_handle> {
    [[nodiscard]] std::size_t operator()(const hob::any_task_handle& handle) const noexcept {
        return std::hash<const void*>()(handle.task_);
    }
};
