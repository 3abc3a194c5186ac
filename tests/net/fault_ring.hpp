// SPDX-License-Identifier: MIT
// A ring of the kernel that answers chosen operations itself, with errors that are hard to get.
#pragma once

#include "support/plain_ring.hpp"

#include <cstdint>
#include <deque>
#include <map>

namespace test {

/// Each fault replaces the next submission of its opcode: the kernel gets a no-op in its place, and
/// the completion carries the fault's result.
class fault_ring final : public plain_ring {
  public:
    struct plan {
        std::map<unsigned, std::deque<int>> results; ///< by opcode
        std::map<unsigned, unsigned> submissions;    ///< how many there were, by opcode
    };

    explicit fault_ring(plan& faults) : faults_(faults) {}

    [[nodiscard]] int enter(hob::detail::enter_mode mode,
                            hob::detail::time_point deadline) noexcept override {
        const unsigned count = queued();
        for (unsigned number = tail() - count; number != tail(); ++number)
            replace(entry(number));
        const int error = plain_ring::enter(mode, deadline);
        rewrite_completions();
        return error;
    }

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
