// SPDX-License-Identifier: MIT
// A ring of the kernel that answers chosen operations itself, with errors that are hard to get.
#pragma once

#include <hob/core/ring.hpp>

#include <liburing.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <stdexcept>

namespace test {

/// Each fault replaces the next submission of its opcode: the kernel gets a no-op in its place, and
/// the completion carries the fault's result.
class fault_ring final : public hob::detail::ring {
  public:
    struct plan {
        std::map<unsigned, std::deque<int>> results; ///< by opcode
        std::map<unsigned, unsigned> submissions;    ///< how many there were, by opcode
    };

    explicit fault_ring(plan& faults) : faults_(faults) {
        if (io_uring_queue_init(256, &queues_, 0) != 0)
            throw std::runtime_error("io_uring_queue_init");
        for (unsigned index = 0; index != queues_.sq.ring_entries; ++index)
            queues_.sq.array[index] = index;
    }
    ~fault_ring() override { io_uring_queue_exit(&queues_); }

    [[nodiscard]] int enter(bool wait, hob::detail::time_point deadline) noexcept override {
        const unsigned count = queued();
        for (unsigned number = tail() - count; number != tail(); ++number)
            replace(entry(number));
        __atomic_store_n(queues_.sq.ktail, queues_.sq.sqe_tail, __ATOMIC_RELEASE);
        const auto left = std::max((deadline - now()).count(), std::chrono::nanoseconds::rep(0));
        __kernel_timespec limit{left / 1'000'000'000, left % 1'000'000'000};
        io_uring_getevents_arg argument{};
        argument.ts = reinterpret_cast<std::uintptr_t>(&limit);
        const int result =
            io_uring_enter2(static_cast<unsigned>(queues_.ring_fd), count, wait ? 1 : 0,
                            IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG,
                            reinterpret_cast<sigset_t*>(&argument), sizeof argument);
        rewrite_completions();
        return result >= 0 || result == -ETIME || result == -EINTR ? 0 : result;
    }

    [[nodiscard]] hob::detail::time_point now() const noexcept override {
        return hob::detail::clock::now();
    }
    [[nodiscard]] bool supports(unsigned) const noexcept override { return true; }
    [[nodiscard]] const char* describe() const noexcept override { return "faults"; }

  private:
    void replace(io_uring_sqe& entry) {
        ++faults_.submissions[entry.opcode];
        auto& results = faults_.results[entry.opcode];
        if (results.empty())
            return;
        const std::uint64_t tag = entry.user_data;
        io_uring_prep_nop(&entry);
        entry.user_data = tag;
        replaced_[tag] = results.front();
        results.pop_front();
    }

    void rewrite_completions() {
        const unsigned tail = __atomic_load_n(queues_.cq.ktail, __ATOMIC_ACQUIRE);
        for (; seen_ != tail; ++seen_) {
            io_uring_cqe& completion = queues_.cq.cqes[seen_ & queues_.cq.ring_mask];
            const auto found = replaced_.find(completion.user_data);
            if (found == replaced_.end())
                continue;
            completion.res = found->second;
            replaced_.erase(found);
        }
    }

    plan& faults_;
    std::map<std::uint64_t, int> replaced_;
    unsigned seen_ = 0;
};

} // namespace test
