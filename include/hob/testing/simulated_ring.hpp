// SPDX-License-Identifier: MIT
// A deterministic simulated kernel behind the seam.
#pragma once

#include <hob/core/ring.hpp>
#include <hob/testing/simulated_operations.hpp>
#include <hob/testing/simulation_options.hpp>

#include <liburing.h>
#include <poll.h>
#include <time.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hob::detail {

/// Each request goes through three stages, a seeded virtual latency apart: it waits until it can
/// be carried out, it takes effect, and its completion arrives. What comes due at the same time
/// comes in a seeded order. As in the kernel, submissions are looked at in order: what can be done
/// at once may be, and a cancellation takes effect there and then. It finds its target only in the
/// first stage.
///
/// Time is virtual. Waiting makes it jump to whatever comes next, and each further call that does
/// not wait lets a little of it pass, so that a loop that never waits gets on as well.
class simulated_ring final : public ring {
  public:
    explicit simulated_ring(std::shared_ptr<simulation_state> state)
        : state_(std::move(state)), operations_(*state_),
          description_("a simulated kernel, seed " + std::to_string(state_->options.seed)),
          entries_(std::bit_ceil(std::max(1U, state_->options.submission_entries))),
          completions_(std::bit_ceil(std::max(1U, state_->options.completion_entries))) {
        queues_.sq.khead = &sq_head_;
        queues_.sq.ktail = &sq_tail_;
        queues_.sq.kflags = &sq_flags_;
        queues_.sq.sqes = entries_.data();
        queues_.sq.ring_entries = static_cast<unsigned>(entries_.size());
        queues_.sq.ring_mask = queues_.sq.ring_entries - 1;
        queues_.cq.khead = &cq_head_;
        queues_.cq.ktail = &cq_tail_;
        queues_.cq.cqes = completions_.data();
        queues_.cq.ring_entries = static_cast<unsigned>(completions_.size());
        queues_.cq.ring_mask = queues_.cq.ring_entries - 1;
        hidden_flags_ |= IORING_SQ_TASKRUN;
    }

    [[nodiscard]] int enter(enter_mode mode, time_point deadline) noexcept override {
        const std::optional<int> fault = state_->faults.next_enter(state_->random);
        if (fault && *fault != -EINTR)
            return *fault;
        const unsigned count = state_->faults.next_batch(queued(), state_->random);
        // As in the kernel, a submission that stops early does not wait.
        const bool wait = waits(mode) && !fault && count == queued();
        for (unsigned submitted = 0; submitted != count; ++submitted)
            submit(queues_.sq.sqes[sq_head_++ & queues_.sq.ring_mask]);
        if (!std::exchange(has_waited_, wait) && !wait)
            state_->now += tick;
        do {
            flush_overflow();
            run_what_is_due();
        } while (wait && !has_completions() &&
                 pass_time(deadline, mode == enter_mode::wait_for_job));
        sq_flags_ = (waiting_.empty() && scheduled_.empty() ? 0U : unsigned{IORING_SQ_TASKRUN}) |
                    (overflow_.empty() ? 0U : unsigned{IORING_SQ_CQ_OVERFLOW});
        return 0;
    }

    [[nodiscard]] time_point now() const noexcept override { return state_->now; }
    [[nodiscard]] bool supports(unsigned opcode) const noexcept override {
        return simulated_operations::supports(opcode);
    }
    [[nodiscard]] const char* describe() const noexcept override { return description_.c_str(); }

  private:
    using request_pointer = std::unique_ptr<simulated_request>;

    static constexpr std::chrono::nanoseconds tick = std::chrono::microseconds(1);

    void submit(const io_uring_sqe& entry) {
        auto request = std::make_unique<simulated_request>(entry);
        if (const auto fault = state_->faults.next(entry.opcode, state_->random)) {
            finish(std::move(request), *fault);
        } else if (entry.opcode == IORING_OP_ASYNC_CANCEL) {
            const int result = cancel(entry);
            finish(std::move(request), result);
        } else if (const int error = operations_.begin(*request)) {
            finish(std::move(request), error);
        } else if (entry.opcode == IORING_OP_CLOSE) {
            // The number is free from here on, as in the kernel.
            const int result = operations_.carry_out(*request).value_or(0);
            finish(std::move(request), result);
        } else {
            start(std::move(request));
        }
    }
    /// What can be done without waiting often is, before the next entry is looked at.
    void start(request_pointer request) {
        if (!operations_.is_ready(*request)) {
            waiting_.push_back(std::move(request));
            return;
        }
        const auto latency = state_->next_latency();
        if (latency.count() == 0)
            advance(std::move(request));
        else
            scheduled_.emplace(state_->now + latency, std::move(request));
    }

    /// Returns the cancellation's own result.
    [[nodiscard]] int cancel(const io_uring_sqe& entry) {
        if (entry.cancel_flags != 0 || entry.flags != 0)
            return -EINVAL;
        for (auto each = waiting_.begin(); each != waiting_.end(); ++each)
            if ((*each)->entry().user_data == entry.addr) {
                request_pointer found = std::move(*each);
                waiting_.erase(each);
                return interrupt(std::move(found));
            }
        for (auto each = scheduled_.begin(); each != scheduled_.end(); ++each)
            if (each->second->entry().user_data == entry.addr) {
                // It runs, or it has ended and only its completion is on the way.
                if (each->second->has_result)
                    return state_->random.below(2) == 0 ? -EALREADY : -ENOENT;
                request_pointer found = std::move(each->second);
                scheduled_.erase(each);
                return interrupt(std::move(found));
            }
        return -ENOENT;
    }
    /// Ends a request that has had no effect, in one of the ways that the kernel has for it.
    [[nodiscard]] int interrupt(request_pointer request) {
        const std::uint64_t way = state_->random.below(8);
        finish(std::move(request), way == 0 ? -EINTR : -ECANCELED);
        return way == 0 ? -EALREADY : way == 1 ? 1 : 0;
    }

    void run_what_is_due() {
        for (;;) {
            for (auto each = waiting_.begin(); each != waiting_.end();) {
                if (!operations_.is_ready(**each)) {
                    ++each;
                    continue;
                }
                schedule(std::move(*each));
                each = waiting_.erase(each);
            }
            std::vector<request_pointer> due;
            const auto end = scheduled_.upper_bound(state_->now);
            for (auto each = scheduled_.begin(); each != end; ++each)
                due.push_back(std::move(each->second));
            scheduled_.erase(scheduled_.begin(), end);
            if (due.empty())
                return;
            if (state_->options.shuffle)
                state_->random.shuffle(due);
            for (request_pointer& each : due)
                advance(std::move(each));
        }
    }

    void schedule(request_pointer request) {
        scheduled_.emplace(state_->now + state_->next_latency(), std::move(request));
    }
    /// The request has taken effect, or never will.
    void finish(request_pointer request, int result) {
        request->has_result = true;
        request->result = result;
        request->end = nullptr;
        schedule(std::move(request));
    }
    void advance(request_pointer request) {
        if (request->has_result) {
            post(*request, request->result, 0);
            return;
        }
        const std::optional<int> result = operations_.carry_out(*request);
        if (!result) {
            // Another one was faster.
            waiting_.push_back(std::move(request));
        } else if (request->is_multishot_poll() && overflow_.empty() &&
                   state_->random.below(8) != 0) {
            post(*request, *result, IORING_CQE_F_MORE);
            waiting_.push_back(std::move(request));
        } else {
            finish(std::move(request), *result);
        }
    }

    void post(const simulated_request& request, int result, unsigned flags) {
        state_->trace.add(state_->now, request.entry().opcode, result);
        io_uring_cqe completion{};
        completion.user_data = request.entry().user_data;
        completion.res = result;
        completion.flags = flags;
        // What has overflown goes first.
        if (overflow_.empty() && has_room())
            append(completion);
        else
            overflow_.push_back(completion);
    }
    void flush_overflow() {
        for (; !overflow_.empty() && has_room(); overflow_.pop_front())
            append(overflow_.front());
    }
    [[nodiscard]] bool has_room() const noexcept {
        return cq_tail_ - cq_head_ != queues_.cq.ring_entries;
    }
    void append(const io_uring_cqe& completion) noexcept {
        completions_[cq_tail_++ & queues_.cq.ring_mask] = completion;
    }

    /// Lets time pass until something may have happened. Returns false at the deadline.
    [[nodiscard]] bool pass_time(time_point deadline, bool job_runs) {
        if (!scheduled_.empty() && scheduled_.begin()->first <= deadline) {
            state_->now = std::max(state_->now, scheduled_.begin()->first);
            return true;
        }
        if (deadline == time_point::max())
            return wait_for_others(nullptr) > 0;
        if (job_runs) {
            const auto left = std::max(deadline - state_->now, std::chrono::nanoseconds(0)).count();
            const timespec limit{left / 1'000'000'000, left % 1'000'000'000};
            if (const int found = wait_for_others(&limit); found != 0)
                return found > 0;
        }
        state_->now = std::max(state_->now, deadline);
        return false;
    }
    /// Nothing in the simulation can go on by itself, but another thread or process may help. That
    /// takes real time, at most `limit`. Returns what `ppoll` does; -1 if nobody can.
    [[nodiscard]] int wait_for_others(const timespec* limit) {
        std::vector<pollfd> watched;
        for (const request_pointer& each : waiting_)
            if (const auto one = simulated_operations::watch(*each))
                watched.push_back(*one);
        return watched.empty() ? -1 : ::ppoll(watched.data(), watched.size(), limit, nullptr);
    }

    std::shared_ptr<simulation_state> state_;
    simulated_operations operations_;
    std::string description_;

    std::vector<io_uring_sqe> entries_;
    std::vector<io_uring_cqe> completions_;
    unsigned sq_head_ = 0;
    unsigned sq_tail_ = 0;
    unsigned sq_flags_ = 0;
    unsigned cq_head_ = 0;
    unsigned cq_tail_ = 0;
    bool has_waited_ = true; ///< in the last call

    std::list<request_pointer> waiting_;
    std::multimap<time_point, request_pointer> scheduled_;
    std::deque<io_uring_cqe> overflow_;
};

} // namespace hob::detail
