// SPDX-License-Identifier: MIT
// Waiting for another thread without sleeping.
#pragma once

#include <chrono>
#include <thread>

namespace hob::detail {

/// Between two looks at what another thread is about to change. Mostly only a hint to the
/// processor; now and then it lets other threads run, since the other one may need this processor.
class spin_wait {
  public:
    void once() noexcept {
        if (++rounds_ % rounds_between_yields == 0)
            std::this_thread::yield();
        else
            pause();
    }

  private:
    // About three microseconds, looks at a clock included.
    static constexpr unsigned rounds_between_yields = 64;

    static void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        asm volatile("yield" ::: "memory");
#endif
    }

    unsigned rounds_ = 0;
};

/// Looks whether `has_come()`, for about as long as it takes a thread to fall asleep and wake up:
/// what comes sooner is better not slept for. Returns whether it has.
template <class Condition> [[nodiscard]] bool watch_for(Condition&& has_come) noexcept {
    constexpr std::chrono::microseconds watching_time{10};
    const auto end = std::chrono::steady_clock::now() + watching_time;
    spin_wait waiting;
    while (!has_come()) {
        if (std::chrono::steady_clock::now() >= end)
            return false;
        waiting.once();
    }
    return true;
}

} // namespace hob::detail
