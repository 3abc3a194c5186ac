// SPDX-License-Identifier: MIT
// A ring of the kernel for tests that change what it does.
#pragma once

#include <hob/core/ring.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <stdexcept>

namespace test {

class plain_ring : public hob::detail::ring {
  public:
    explicit plain_ring(unsigned flags = 0) {
        if (io_uring_queue_init(256, &queues_, flags) != 0)
            throw std::runtime_error("io_uring_queue_init");
        for (unsigned index = 0; index != queues_.sq.ring_entries; ++index)
            queues_.sq.array[index] = index;
    }
    ~plain_ring() override { io_uring_queue_exit(&queues_); }

    [[nodiscard]] int enter(hob::detail::enter_mode mode,
                            hob::detail::time_point deadline) noexcept override {
        const unsigned count = queued();
        __atomic_store_n(queues_.sq.ktail, queues_.sq.sqe_tail, __ATOMIC_RELEASE);
        const auto left = std::max((deadline - now()).count(), std::chrono::nanoseconds::rep(0));
        __kernel_timespec limit{left / 1'000'000'000, left % 1'000'000'000};
        io_uring_getevents_arg argument{};
        argument.ts = reinterpret_cast<std::uintptr_t>(&limit);
        const int result = io_uring_enter2(static_cast<unsigned>(queues_.ring_fd), count,
                                           hob::detail::waits(mode) ? 1 : 0,
                                           IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG,
                                           reinterpret_cast<sigset_t*>(&argument), sizeof argument);
        return result >= 0 || result == -ETIME || result == -EINTR ? 0 : result;
    }

    [[nodiscard]] hob::detail::time_point now() const noexcept override {
        return hob::detail::clock::now();
    }
    [[nodiscard]] bool supports(unsigned) const noexcept override { return true; }
    [[nodiscard]] const char* describe() const noexcept override { return "a ring of a test"; }
};

} // namespace test
