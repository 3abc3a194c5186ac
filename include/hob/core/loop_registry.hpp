// SPDX-License-Identifier: MIT
// Every loop of the process, where a debugger finds them.
#pragma once

#include <hob/core/fork_handlers.hpp>

#include <mutex>

namespace hob::detail {

/// Base of a loop. A debugger reads the list while the process stands still, or from its core:
/// the names of the members are part of what `hob/debug/gdb.hpp` knows.
class registered_loop {
  public:
    registered_loop(const registered_loop&) = delete;
    registered_loop& operator=(const registered_loop&) = delete;

  protected:
    registered_loop() {
        const std::lock_guard lock(mutex_);
        next_ = first_;
        first_ = this;
    }
    ~registered_loop() {
        const std::lock_guard lock(mutex_);
        registered_loop** link = &first_;
        while (*link != this)
            link = &(*link)->next_;
        *link = next_;
    }

  private:
    static inline std::mutex mutex_;
    // A child must not inherit the lock of a thread that it does not have.
    static inline const fork_handlers at_fork_{[] { mutex_.lock(); }, [] { mutex_.unlock(); },
                                               [] { mutex_.unlock(); }};
    static inline registered_loop* first_ = nullptr;

    registered_loop* next_;
};

} // namespace hob::detail
