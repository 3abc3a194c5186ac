// SPDX-License-Identifier: MIT
// Which process made an object.
#pragma once

#include <unistd.h>

namespace hob::detail {

/// A part of what a forked child must not treat like its own.
class home_process {
  public:
    /// False in a forked child of the process that made this.
    [[nodiscard]] bool is_here() const noexcept { return process_ == ::getpid(); }

  private:
    pid_t process_ = ::getpid();
};

} // namespace hob::detail
