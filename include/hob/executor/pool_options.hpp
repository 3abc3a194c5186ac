// SPDX-License-Identifier: MIT
// The settings of a thread pool, and how it ends.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>
#include <thread>

namespace hob {

/// Thrown for a job that a pool does not run because it was shut down.
class pool_closed_error : public std::runtime_error {
  public:
    pool_closed_error() : std::runtime_error("the thread pool was shut down") {}
};

/// What a shutdown does with the jobs that have not started.
enum class queued_jobs : unsigned char {
    run,  ///< they run first
    drop, ///< they never run; whoever awaits them gets a `pool_closed_error`
};

class thread_pool_options {
  public:
    thread_pool_options() = default;

    /// Threads are made when jobs come that no idle thread can take, up to this number.
    unsigned max_threads = std::min(32U, std::thread::hardware_concurrency() + 4);
    /// Threads are called "name-1", "name-2", ...; the kernel keeps 15 characters.
    std::string name = "hob-pool";
};

} // namespace hob
