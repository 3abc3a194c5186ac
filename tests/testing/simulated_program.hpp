// SPDX-License-Identifier: MIT
// Runs a test in many simulated worlds, one for each seed.
#pragma once

#include "catch.hpp"
#include "net/ring_modes.hpp"

#include <hob/core/awaitable.hpp>
#include <hob/core/ring_operation.hpp>
#include <hob/run.hpp>
#include <hob/sleep.hpp>
#include <hob/task.hpp>
#include <hob/task_handle.hpp>
#include <hob/testing/simulation.hpp>

#include <poll.h>

#include <coroutine>
#include <cstdint>
#include <string>
#include <utility>

namespace test {

inline constexpr std::uint64_t seeds = 200;

inline hob::runner_options without_interrupt() {
    hob::runner_options options;
    options.handle_interrupt = false;
    return options;
}

/// Runs `body(world)`, which returns a task, in a world with these options. Checks that no
/// operation and no file descriptor is left behind. Returns the trace's hash.
template <class Body>
std::uint64_t run_simulated(const hob::testing::simulation_options& options, Body&& body) {
    const auto descriptors = open_descriptors();
    hob::testing::simulation world(options);
    {
        hob::runner program(world.make_loop(), without_interrupt());
        program.run(body(world));
        program.close();
        CHECK(program.loop().operations_in_flight() == 0);
    }
    CHECK(open_descriptors() == descriptors);
    return world.trace_hash();
}

/// The same for every seed.
template <class Body> void for_each_seed(hob::testing::simulation_options options, Body&& body) {
    for (std::uint64_t seed = 0; seed != seeds; ++seed) {
        INFO("seed " << seed);
        options.seed = seed;
        run_simulated(options, body);
    }
}
template <class Body> void for_each_seed(Body&& body) {
    for_each_seed(hob::testing::simulation_options(), std::forward<Body>(body));
}

/// An operation of the kernel that a subclass prepares; gives its bare result.
class bare_operation : public hob::detail::ring_operation {
  public:
    static constexpr bool await_ready() noexcept { return false; }
    template <hob::detail::hob_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
        if (begin(awaiting.promise()))
            submit();
        return true;
    }
    int await_resume() const noexcept { return result_; }

  protected:
    bare_operation() = default;
    ~bare_operation() = default;
};

class nop_operation final : public bare_operation {
    void prepare(io_uring_sqe& entry) noexcept override { io_uring_prep_nop(&entry); }
    [[nodiscard]] std::string describe() const override { return "a no-op"; }
};

class poll_operation final : public bare_operation {
  public:
    explicit poll_operation(int fd) noexcept : fd_(fd) {}

  private:
    void prepare(io_uring_sqe& entry) noexcept override {
        io_uring_prep_poll_add(&entry, fd_, POLLIN);
    }
    [[nodiscard]] std::string describe() const override { return "a poll"; }

    int fd_;
};

/// Does nothing, by way of the kernel.
inline auto nop() {
    return hob::detail::deferred<nop_operation>();
}
/// Waits until a descriptor is readable.
inline auto readable(int fd) {
    return hob::detail::deferred<poll_operation, int>(fd);
}

/// Waits for the end of a task, whichever it is. Returns whether it was cancelled.
template <class T> hob::task<bool> end_of(hob::task_handle<T> task) {
    try {
        co_await task;
    } catch (const hob::cancelled_error&) {
    }
    co_return task.cancelled();
}

} // namespace test
