// SPDX-License-Identifier: MIT
// hob::testing::fault_plan: which operations of a simulated kernel fail, and how.
#pragma once

#include <hob/testing/random_source.hpp>

#include <algorithm>
#include <optional>
#include <vector>

namespace hob::detail {
class simulated_ring;
}

namespace hob::testing {

/// Faults that are scripted, or come with a probability that the simulation's seed decides. May be
/// changed while the loop runs; what is in the kernel already is not affected.
class fault_plan {
  public:
    fault_plan() = default;

    /// The `nth` submission of this IORING_OP_* from now, 1 being the next one, completes with
    /// `result`, usually a negative errno, and has no effect.
    void fail(unsigned opcode, int result, unsigned nth = 1) {
        scripted_.push_back({opcode, result, nth});
    }
    /// Every submission of this IORING_OP_* fails so with this probability, 0 to 1.
    void fail_randomly(unsigned opcode, int result, double probability) {
        random_.push_back({opcode, result, probability});
    }

    /// The `nth` call of io_uring_enter from now fails with `error`, a negative errno. It submits
    /// nothing, except for -EINTR, which only ends the wait.
    void fail_enter(int error, unsigned nth = 1) { fail(enter, error, nth); }
    /// Every call of io_uring_enter fails so with this probability.
    void fail_enter_randomly(int error, double probability) {
        fail_randomly(enter, error, probability);
    }
    /// With this probability a call of io_uring_enter submits only some of the entries.
    void submit_partly(double probability) noexcept { partial_submissions_ = probability; }

    /// No more faults.
    void clear() noexcept {
        scripted_.clear();
        random_.clear();
        partial_submissions_ = 0;
    }
    /// How many faults have come to pass.
    [[nodiscard]] unsigned count() const noexcept { return count_; }

  private:
    friend class detail::simulated_ring;

    // Stands for io_uring_enter among the operations.
    static constexpr unsigned enter = ~0U;

    struct scripted_fault {
        unsigned opcode;
        int result;
        unsigned nth;
    };
    struct random_fault {
        unsigned opcode;
        int result;
        double probability;
    };

    /// Counts a submission. Returns the result that it fails with, if it does.
    [[nodiscard]] std::optional<int> next(unsigned opcode, detail::random_source& random) {
        std::optional<int> result;
        for (scripted_fault& each : scripted_)
            if (each.opcode == opcode && --each.nth == 0 && !result)
                result = each.result;
        scripted_.erase(std::remove_if(scripted_.begin(), scripted_.end(),
                                       [](const scripted_fault& each) { return each.nth == 0; }),
                        scripted_.end());
        for (const random_fault& each : random_)
            if (each.opcode == opcode && !result && random.chance(each.probability))
                result = each.result;
        count_ += result ? 1 : 0;
        return result;
    }
    [[nodiscard]] std::optional<int> next_enter(detail::random_source& random) {
        return next(enter, random);
    }
    /// How many of `queued` entries the next call submits.
    [[nodiscard]] unsigned next_batch(unsigned queued, detail::random_source& random) noexcept {
        if (queued < 2 || partial_submissions_ == 0 || !random.chance(partial_submissions_))
            return queued;
        ++count_;
        return 1 + static_cast<unsigned>(random.below(queued - 1));
    }

    std::vector<scripted_fault> scripted_;
    std::vector<random_fault> random_;
    double partial_submissions_ = 0;
    unsigned count_ = 0;
};

} // namespace hob::testing
