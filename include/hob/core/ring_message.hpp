// SPDX-License-Identifier: MIT
// A word to the ring of another thread, from a thread that needs no ring of its own.
#pragma once

#include <liburing.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace hob::detail {

/// Puts a completion with this user data into the ring with this descriptor, by an
/// IORING_OP_MSG_RING outside any submission queue (Linux 6.13). Returns 0 or the negative errno.
/// On any thread, and in signal handlers.
[[nodiscard]] inline int send_to_ring(int descriptor, std::uint64_t user_data) noexcept {
    // Newer than the headers of liburing 2.3.
    constexpr unsigned register_send_msg_ring = 31;
    io_uring_sqe message{};
    io_uring_prep_msg_ring(&message, descriptor, 0, user_data, 0);
    return ::syscall(__NR_io_uring_register, -1, register_send_msg_ring, &message, 1) < 0 ? -errno
                                                                                          : 0;
}

/// Whether the kernel can do that, and lets us.
[[nodiscard]] inline bool can_send_to_rings() noexcept {
    // One that can looks at the descriptor; one that looks there before it knows what is asked of
    // it does so for anything.
    constexpr unsigned unknown = 0x7fff;
    io_uring_sqe nothing{};
    return send_to_ring(-1, 0) == -EBADF &&
           ::syscall(__NR_io_uring_register, -1, unknown, &nothing, 1) < 0 && errno == EINVAL;
}

} // namespace hob::detail
