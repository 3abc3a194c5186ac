// SPDX-License-Identifier: MIT
// What a fork has to do.
#pragma once

#include <pthread.h>

namespace hob::detail {

/// Registers functions that a fork calls: before it, and after it in the parent and in the child.
/// Made before `main`, as a static member, because a fork on another thread must not meet a
/// registration that is half done: the child would wait for its end forever.
class fork_handlers {
  public:
    using handler = void (*)();
    fork_handlers(handler before, handler in_parent, handler in_child) noexcept {
        // Fails only for lack of memory.
        [[maybe_unused]] const int error = ::pthread_atfork(before, in_parent, in_child);
    }
};

} // namespace hob::detail
