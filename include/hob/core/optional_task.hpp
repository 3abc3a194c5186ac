// SPDX-License-Identifier: MIT
// A task that need not be awaited.
#pragma once

#include <hob/task.hpp>

#include <utility>

namespace hob::detail {

/// Keeps a task whose turn may not come, which is no reason to report it as forgotten.
template <class T> class optional_task {
  public:
    explicit optional_task(task<T>&& coroutine) noexcept : coroutine_(std::move(coroutine)) {}
    optional_task(optional_task&&) noexcept = default;
    optional_task& operator=(optional_task&&) = delete;
    ~optional_task() { coroutine_.discard(); }

    [[nodiscard]] task<T> take() noexcept { return std::move(coroutine_); }

  private:
    task<T> coroutine_;
};

} // namespace hob::detail
