// SPDX-License-Identifier: MIT
// hob::context_variable: a value that follows a task and the tasks it starts.
#pragma once

#include <hob/core/current_context.hpp>
#include <hob/core/error.hpp>

#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace hob {

/// asyncio's ContextVar: a request's identity, a user, a deadline, which every function below can
/// ask for without being given it. Each task has values of its own: a new task begins with a copy
/// of those of the task that makes it, and what it sets later its maker does not see. What a task
/// awaits, and the branches of `gather`, `race` and `timeout` in it, are part of that task. A
/// callback, and a job of a thread pool, has a copy of the values where it was handed over.
///
/// The variable itself is usually a global; it must outlive the tasks that set it. Values are
/// shared between tasks and must not be changed through other paths.
template <class T> class context_variable {
  public:
    /// Without a default: `get` throws where it has not been set.
    explicit context_variable(std::string name) : name_(std::move(name)) {}
    context_variable(std::string name, T default_value)
        : name_(std::move(name)), default_(std::move(default_value)) {}
    context_variable(const context_variable&) = delete;
    context_variable& operator=(const context_variable&) = delete;

    /// The value here, or the default; valid until the variable is set here again.
    /// Throws `usage_error` if there is neither.
    [[nodiscard]] const T& get() const {
        if (const T* const found = find())
            return *found;
        throw usage_error("the context variable '" + name_ + "' has no value here and no default");
    }
    /// The same; null instead of an exception.
    [[nodiscard]] const T* find() const noexcept {
        if (const detail::context* const here = detail::find_context())
            if (const auto value = here->find(this))
                return static_cast<const T*>(value.get());
        return default_ ? &*default_ : nullptr;
    }

    /// Sets the value for the running task, and for what it starts later; in a callback or a job,
    /// for the rest of it. Throws `usage_error` elsewhere, `std::bad_alloc`.
    void set(T value) { assign(std::make_shared<const T>(std::move(value))); }

    /// Restores the earlier value when it is destroyed, also while the task is being stopped.
    class [[nodiscard("the value is restored when this is destroyed")]] restorer {
      public:
        restorer(const restorer&) = delete;
        restorer& operator=(const restorer&) = delete;
        ~restorer() {
            try {
                variable_.assign(std::move(earlier_));
            } catch (const std::exception&) {
                // Out of memory, or outside the task: the value stays.
            }
        }

      private:
        friend context_variable;
        restorer(context_variable& variable, std::shared_ptr<const void> earlier) noexcept
            : variable_(variable), earlier_(std::move(earlier)) {}
        context_variable& variable_;
        std::shared_ptr<const void> earlier_;
    };
    /// Sets the value for as long as what it returns lives, which must be in the same task.
    restorer set_until_destroyed(T value) {
        std::shared_ptr<const void> earlier;
        if (const detail::context* const here = detail::find_context())
            earlier = here->find(this);
        set(std::move(value));
        return restorer(*this, std::move(earlier));
    }

    [[nodiscard]] const std::string& name() const noexcept { return name_; }

  private:
    [[nodiscard]] detail::context& require_context() const {
        if (detail::task_scope* const task = detail::running_task())
            return task->details().variables;
        if (detail::context* const installed = detail::context_guard::installed())
            return *installed;
        throw usage_error("the context variable '" + name_ +
                          "' was set outside a task, a callback and a job of a thread pool");
    }
    void assign(std::shared_ptr<const void> value) {
        require_context().set(this, std::move(value));
    }

    std::string name_;
    std::optional<T> default_;
};

} // namespace hob
