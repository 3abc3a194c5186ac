// SPDX-License-Identifier: MIT
// Whoever wants to know when a task ends.
#pragma once

#include <hob/core/intrusive_list.hpp>

namespace hob::detail {

/// Told when a task has ended: once, in the loop's turn, in the order of registration.
class task_watcher : public list_node {
  public:
    virtual void task_ended() noexcept = 0;

  protected:
    task_watcher() = default;
    ~task_watcher() = default;
};

} // namespace hob::detail
