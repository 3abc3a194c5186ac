// SPDX-License-Identifier: MIT
// The seam to the kernel: submission queue entries in, completion queue entries out.
#pragma once

#include <hob/core/timer_queue.hpp>

#include <liburing.h>

#include <cstdint>
#include <utility>

namespace hob::detail {

/// The user data of completions that tell nothing. No operation's address: those are aligned.
inline constexpr std::uint64_t ignored_tag = 1;

/// What a call of `ring::enter` does besides submitting.
enum class enter_mode : unsigned char {
    submit, ///< nothing: completions may stay hidden
    look,   ///< makes hidden completions visible
    wait,   ///< sleeps until there is a completion
    /// The same while another thread does a job for the loop, which a simulated clock does not
    /// skip.
    wait_for_job
};
[[nodiscard]] constexpr bool waits(enter_mode mode) noexcept {
    return mode == enter_mode::wait || mode == enter_mode::wait_for_job;
}

/// What stands behind the reactor: the kernel, or a simulation of it. The queues are plain memory
/// and are used without a virtual call; only `enter`, once a batch, crosses the seam.
class ring {
  public:
    ring(const ring&) = delete;
    ring& operator=(const ring&) = delete;
    virtual ~ring() = default;

    /// The next free entry, to be filled in; null when the submission queue is full.
    [[nodiscard]] io_uring_sqe* next_sqe() noexcept {
        if (queued() == queues_.sq.ring_entries)
            return nullptr;
        return &queues_.sq.sqes[queues_.sq.sqe_tail++ & queues_.sq.ring_mask];
    }
    /// How many entries have been handed out, modulo 2^32: the next one's number.
    [[nodiscard]] std::uint32_t tail() const noexcept { return queues_.sq.sqe_tail; }
    /// How many entries the kernel has not taken yet.
    [[nodiscard]] std::uint32_t queued() const noexcept {
        return queues_.sq.sqe_tail - *queues_.sq.khead;
    }
    /// The entry with this number. Only while it is among the `queued()` last ones.
    [[nodiscard]] io_uring_sqe& entry(std::uint32_t number) noexcept {
        return queues_.sq.sqes[number & queues_.sq.ring_mask];
    }

    [[nodiscard]] bool has_completions() const noexcept {
        return *queues_.cq.khead != __atomic_load_n(queues_.cq.ktail, __ATOMIC_ACQUIRE);
    }
    /// Whether completions wait for a call of `enter` to become visible.
    [[nodiscard]] bool has_hidden_completions() const noexcept {
        return (__atomic_load_n(queues_.sq.kflags, __ATOMIC_RELAXED) & hidden_flags_) != 0;
    }

    /// Hands at most `limit` completions to `consume(const io_uring_cqe&)`. Returns how many.
    template <class Consumer> unsigned reap(unsigned limit, Consumer&& consume) {
        const unsigned tail = __atomic_load_n(queues_.cq.ktail, __ATOMIC_ACQUIRE);
        unsigned head = *queues_.cq.khead;
        if (head == tail)
            return 0;
        unsigned count = 0;
        // In place: the kernel leaves an entry alone until the head has passed it.
        for (; head != tail && count != limit; ++head, ++count)
            consume(std::as_const(queues_.cq.cqes[head & queues_.cq.ring_mask]));
        __atomic_store_n(queues_.cq.khead, head, __ATOMIC_RELEASE);
        return count;
    }

    /// Submits what is queued, and waits at most until the deadline (`time_point::max()`: no
    /// deadline). Returns 0 or the negative errno that the submission failed with; what was not
    /// taken stays queued.
    [[nodiscard]] virtual int enter(enter_mode mode, time_point deadline) noexcept = 0;

    [[nodiscard]] virtual time_point now() const noexcept = 0;
    /// Whether the kernel knows this IORING_OP_*.
    [[nodiscard]] virtual bool supports(unsigned opcode) const noexcept = 0;
    /// The descriptor by which other threads wake who waits in `enter`, with `send_to_ring`; -1
    /// where that is not possible or not wanted.
    [[nodiscard]] virtual int message_descriptor() const noexcept { return -1; }
    /// One line for people: what stands behind the seam, and its mode.
    [[nodiscard]] virtual const char* describe() const noexcept = 0;

  protected:
    ring() = default;

    io_uring queues_{};
    unsigned hidden_flags_ = IORING_SQ_CQ_OVERFLOW;
};

} // namespace hob::detail
