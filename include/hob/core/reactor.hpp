// SPDX-License-Identifier: MIT
// Turns: runs what is ready, fires timers, submits and waits, takes completions.
#pragma once

#include <hob/core/event_count.hpp>
#include <hob/core/fork_handlers.hpp>
#include <hob/core/frame_pool.hpp>
#include <hob/core/inbox.hpp>
#include <hob/core/lag_histogram.hpp>
#include <hob/core/loop_registry.hpp>
#include <hob/core/post_patience.hpp>
#include <hob/core/ring.hpp>
#include <hob/core/ring_request.hpp>
#include <hob/core/task_scope.hpp>

#include <poll.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <utility>

namespace hob::detail {

/// The scheduler together with what wakes it: timers, the ring, and the inbox of other threads.
class reactor : public scheduler, public task_owner, private registered_loop {
  public:
    /// How many completions are taken before ready tasks run again.
    static constexpr unsigned completions_per_turn = 256;
    /// The same for what other threads have posted.
    static constexpr unsigned posts_per_turn = 256;

    explicit reactor(std::unique_ptr<ring> kernel)
        : task_owner(ends::failures), ring_(std::move(kernel)),
          inbox_(std::make_shared<inbox>(ring_->message_descriptor())) {}

    /// The reactor of the running loop, where a coroutine of ours is running.
    [[nodiscard]] static reactor& here() noexcept {
        return static_cast<reactor&>(scheduler::here());
    }
    /// The same; throws `no_running_loop_error` when there is none.
    [[nodiscard, gnu::always_inline]] static reactor& current() {
        return static_cast<reactor&>(scheduler::current());
    }

    [[nodiscard]] time_point now() const noexcept { return ring_->now(); }
    [[nodiscard]] ring& kernel() noexcept { return *ring_; }
    [[nodiscard]] timer_queue& timers() noexcept { return timers_; }
    [[nodiscard]] const std::shared_ptr<inbox>& get_inbox() const noexcept { return inbox_; }
    /// Operations that the kernel has, or is about to get.
    [[nodiscard]] std::size_t operations_in_flight() const noexcept { return in_flight_; }

    // Figures for people, from the loop's beginning.
    [[nodiscard]] std::uint64_t turns() const noexcept { return turns_; }
    [[nodiscard]] std::uint64_t steps() const noexcept { return steps_.value(); }
    [[nodiscard]] std::uint64_t system_calls() const noexcept { return system_calls_.value(); }
    [[nodiscard]] const lag_histogram& lag() const noexcept { return lag_; }
    [[nodiscard]] std::size_t pending_timers() const noexcept { return timers_.size(); }

    /// The tasks that the loop itself keeps; those of groups hang below them.
    [[nodiscard]] intrusive_list<task_scope>& tasks() noexcept { return tasks_; }
    /// Ended tasks whose handles may still retrieve an exception, at the latest until the loop
    /// closes.
    [[nodiscard]] intrusive_list<task_scope>& failed_tasks() noexcept { return failed_tasks_; }
    [[nodiscard]] std::uint32_t next_task_number() noexcept { return ++tasks_made_; }
    [[nodiscard]] std::uint32_t tasks_made() const noexcept { return tasks_made_; }

    /// Another thread will post a node for an operation of this loop. Returns where to, and what
    /// keeps it alive meanwhile.
    [[nodiscard]] const std::shared_ptr<inbox>& expect_post() noexcept {
        ++expected_posts_;
        return inbox_;
    }
    /// It has, or will not any more.
    void post_arrived() noexcept { --expected_posts_; }
    /// The same for a post at the end of a job that a thread has to do.
    [[nodiscard]] const std::shared_ptr<inbox>& expect_job() noexcept {
        ++jobs_;
        return expect_post();
    }
    void job_arrived() noexcept {
        --jobs_;
        post_arrived();
    }

    // task_owner
    [[nodiscard]] scope* owning_scope() const noexcept final { return nullptr; }
    [[nodiscard]] scheduler& home() noexcept final { return *this; }
    void task_ended(task_scope&, const std::exception_ptr& error) noexcept final {
        if (is_fatal(error))
            fail(error);
    }

    /// Sends an operation to the kernel with the next batch.
    void submit(ring_request& operation) noexcept { submit(operation, next_entry()); }
    /// The same for one that usually completes inside the system call that submits it: the loop
    /// looks for the completion before it makes ready to sleep, which is not free.
    void submit_quick(ring_request& operation) noexcept { submit(operation, next_quick_entry()); }

    /// Asks the kernel to end an operation, whose completion then tells what became of it. One
    /// that the kernel has not seen yet is taken back and never takes effect.
    void cancel(ring_request& operation) noexcept {
        check(operation.in_flight_, "an operation that is not in flight was cancelled");
        const auto tag = reinterpret_cast<std::uintptr_t>(&operation);
        if (io_uring_sqe* const entry = find_unsubmitted(operation.number_, tag)) {
            io_uring_prep_nop(entry);
            entry->user_data = ignored_tag;
            deliver(operation, -ECANCELED, 0);
            return;
        }
        io_uring_sqe& entry = next_entry();
        io_uring_prep_cancel64(&entry, tag, 0);
        entry.user_data = ignored_tag;
    }

    /// Closes a descriptor that no operation uses any more, with the next batch.
    void close_descriptor(int fd) noexcept {
        io_uring_sqe& entry = next_entry();
        io_uring_prep_close(&entry, fd);
        entry.user_data = ignored_tag;
    }

    /// On any thread: a number that changes with every step and every system call; 0 while the loop
    /// sleeps or does not run.
    [[nodiscard]] std::uint64_t progress() const noexcept {
        return is_awake_.load(std::memory_order_relaxed) ? steps_.value() + system_calls_.value()
                                                         : 0;
    }

    /// Visits every node that is about to run, in order.
    template <class Visitor> void for_each_ready(Visitor&& visit) const {
        for (ready_node* node = ready_.front(); node != nullptr; node = node->next())
            visit(*node);
    }

    /// Whether nothing waits for the step at hand to end: neither what is ready nor a duty.
    [[nodiscard, gnu::always_inline]] bool is_idle() const noexcept {
        return ready_.empty() && has_nothing_else();
    }
    /// The task at hand goes on inside its step because the loop `is_idle`: to whoever watches, a
    /// step like any other.
    void count_spared_step() noexcept { steps_.increment(); }
    /// If the next turn would do nothing but run `node`, which is in the ready queue, takes the
    /// node: the caller runs it inside the step at hand. The last node of the turn at hand stays,
    /// by which `run_ready` knows when the turn is over.
    [[nodiscard, gnu::always_inline]] bool take_turn_of(ready_node& node) noexcept {
        if (ready_.front() != &node || ready_.back() != &node || &node == last_of_turn_ ||
            !has_nothing_else() || !may_nest() || !spend_budget())
            return false;
        ready_.pop();
        count_spared_step();
        return true;
    }

  protected:
    ~reactor() { inbox_->forget_ring(is_forked()); }

    /// One turn; or several, while there is neither a timer nor an operation that a turn would have
    /// to look after, and nobody wants the loop back. If then nothing is ready and `may_sleep()`
    /// holds, waits until something happens.
    template <class MaySleep> void turn(MaySleep&& may_sleep) noexcept {
        do {
            ++turns_;
            if (!inbox_->empty() || has(duty::posts))
                take_posts();
            if (!ready_.empty()) [[likely]]
                run_ready();
            run_urgent();
        } while (!ready_.empty() && !has_duties());
        set_running(nullptr);
        frame_pool::give_wanted();
        if (!timers_.empty()) {
            fire_timers();
            run_urgent();
        }
        exchange_with_kernel(!is_ready() && !has(duty::leave) && may_sleep());
    }

    [[nodiscard]] bool is_ready() const noexcept {
        return !ready_.empty() || !urgent_.empty() || has(duty::posts);
    }

    /// Nothing is ready or pending, and nobody else can wake the loop.
    [[nodiscard]] bool is_stuck() const noexcept {
        return in_flight_ == 0 && timers_.empty() && is_without_wakers();
    }

    /// Gives the kernel what is queued.
    void flush() noexcept {
        do {
            drain_backlog();
            enter(enter_mode::look);
            take_completions();
        } while (has(duty::submission));
    }

    /// Makes posts from other threads and signal handlers wake the loop.
    void watch_inbox() noexcept {
        if (std::exchange(watching_, true))
            return;
        io_uring_sqe& entry = next_entry();
        io_uring_prep_poll_add(&entry, inbox_->eventfd(), POLLIN);
        if (!single_poll_)
            entry.len |= IORING_POLL_ADD_MULTI;
        entry.user_data = wake_tag;
    }

    void take_posts() noexcept {
        set(duty::posts, inbox_->drain(ready_, posts_per_turn));
        // What came with the posts before is free by now.
        frame_pool::give_wanted();
    }

    /// Runs what is in the queue now, which is not empty; what comes meanwhile waits for the next
    /// turn.
    void run_ready() noexcept {
        const ready_node* const last = last_of_turn_ = ready_.back();
        const ready_node* ran;
        do {
            ready_node& node = ready_.pop();
            ran = &node;
            steps_.increment();
            if (has(duty::debug)) [[unlikely]]
                run_timed(node);
            else
                run(node);
        } while (ran != last && !has(duty::leave));
    }

    void run_urgent() noexcept {
        while (!urgent_.empty())
            run(urgent_.pop());
    }

    void run(ready_node& node) noexcept {
        if (!node.is_callback())
            resume(static_cast<promise_base&>(node));
        else if (node.is_scope())
            static_cast<scope&>(node).run_directly();
        else
            run_callback(static_cast<ready_callback&>(node));
    }
    void run_callback(ready_callback& node) noexcept {
        set_running(nullptr);
        node.run();
    }
    /// `run` in debug mode, which looks at how long it takes.
    virtual void run_timed(ready_node& node) noexcept = 0;

    /// The loop begins or ceases to run.
    void set_awake(bool awake) noexcept { is_awake_.store(awake, std::memory_order_relaxed); }

    /// True in a forked child of the process that made the loop. The ring's memory is shared with
    /// the parent, so the child must not touch it.
    [[nodiscard]] bool is_forked() const noexcept { return fork_count_ != process_forks; }

    /// The kernel refused a call for good.
    virtual void ring_broke(int error) noexcept = 0;

  private:
    void submit(ring_request& operation, io_uring_sqe& entry) noexcept {
        check(!operation.in_flight_, "an operation was submitted twice");
        operation.in_flight_ = true;
        operation.number_ = last_number();
        ++in_flight_;
        operation.prepare(entry);
        entry.user_data = reinterpret_cast<std::uintptr_t>(&operation);
    }

    [[nodiscard, gnu::noinline]] bool is_without_wakers() const noexcept {
        // The senders before the inbox: the last one may have posted and gone in between.
        return !is_ready() && expected_posts_ == 0 && !inbox_->has_senders() && inbox_->empty() &&
               !ring_->has_completions();
    }

    // As `ignored_tag`, no operation's address.
    static constexpr std::uint64_t wake_tag = 3;

    /// The number of the entry that was handed out last.
    [[nodiscard]] std::uint32_t last_number() const noexcept {
        const std::uint32_t last_in_ring = ring_->tail() - 1;
        return backlog_.empty() ? last_in_ring
                                : last_in_ring + static_cast<std::uint32_t>(backlog_.size());
    }

    [[nodiscard]] io_uring_sqe& next_entry() noexcept {
        io_uring_sqe& entry = next_quick_entry();
        set(duty::slow_submission);
        return entry;
    }
    [[nodiscard]] io_uring_sqe& next_quick_entry() noexcept {
        io_uring_sqe* entry = backlog_.empty() ? ring_->next_sqe() : nullptr;
        if (entry == nullptr) [[unlikely]]
            entry = &next_entry_when_full();
        // Afterwards: to make room, others may have been submitted.
        set(duty::submission);
        return *entry;
    }

    /// Submits early to make room. What the kernel does not take at once waits in the backlog.
    [[nodiscard, gnu::noinline]] io_uring_sqe& next_entry_when_full() noexcept {
        if (!is_forked()) {
            enter(enter_mode::look);
            drain_backlog();
        }
        if (backlog_.empty())
            if (io_uring_sqe* const entry = ring_->next_sqe())
                return *entry;
        return backlog_.emplace_back();
    }

    void drain_backlog() noexcept {
        while (!backlog_.empty()) [[unlikely]] {
            io_uring_sqe* const entry = ring_->next_sqe();
            if (entry == nullptr)
                break;
            *entry = backlog_.front();
            backlog_.pop_front();
        }
    }

    [[nodiscard]] io_uring_sqe* find_unsubmitted(std::uint32_t number, std::uint64_t tag) noexcept {
        const std::uint32_t from_tail = number - ring_->tail();
        io_uring_sqe* entry = nullptr;
        if (from_tail < backlog_.size())
            entry = &backlog_[from_tail];
        else if (0U - from_tail <= ring_->queued())
            entry = &ring_->entry(number);
        // Numbers repeat after 2^32 entries; the tag decides.
        return entry != nullptr && entry->user_data == tag ? entry : nullptr;
    }

    [[nodiscard]] bool has_only_quick_entries() const noexcept {
        return has(duty::submission) && !has(duty::slow_submission);
    }
    [[nodiscard]] bool has_duties() const noexcept {
        // Without a branch for each.
        return (in_flight_ | timers_.size() | duties()) != 0;
    }

    /// Besides what is in the ready queue, nothing waits for this step to end.
    [[nodiscard, gnu::always_inline]] bool has_nothing_else() const noexcept {
        return urgent_.empty() && inbox_->empty() && !has_duties();
    }

    void fire_timers() noexcept {
        const time_point present = now();
        while (!timers_.empty() && timers_.next_deadline() <= present) {
            // One that was due before the last look is no sign of lag: it was made later.
            lag_.add(present - std::max(timers_.next_deadline(), last_look_));
            static_cast<timed_operation&>(timers_.pop()).expire();
        }
        last_look_ = present;
    }

    void exchange_with_kernel(bool may_sleep) noexcept {
        if (is_forked()) [[unlikely]] {
            fail(std::make_exception_ptr(fork_error()));
            return;
        }
        drain_backlog();
        if (has_only_quick_entries()) {
            // What they complete at once is visible without a look.
            enter(ring_->has_hidden_completions() ? enter_mode::look : enter_mode::submit);
        } else if (may_sleep && !ring_->has_completions() &&
                   (expected_posts_ == 0 || !patience_.post_comes_soon(*inbox_, *ring_)) &&
                   inbox_->prepare_sleep()) {
            enter(jobs_ == 0 ? enter_mode::wait : enter_mode::wait_for_job);
            inbox_->awake();
        } else if (has(duty::submission) || ring_->has_hidden_completions()) {
            enter(enter_mode::look);
        }
        take_completions();
    }

    void take_completions() noexcept {
        ring_->reap(completions_per_turn,
                    [this](const io_uring_cqe& completion) { take(completion); });
    }

    void enter(enter_mode mode) noexcept {
        system_calls_.increment();
        const bool wait = waits(mode);
        if (wait)
            set_awake(false);
        const int error = ring_->enter(mode, wait && !timers_.empty() ? timers_.next_deadline()
                                                                      : time_point::max());
        if (wait)
            set_awake(true);
        set(duty::submission, ring_->queued() != 0 || !backlog_.empty());
        set(duty::slow_submission, has(duty::submission));
        if (error != 0) [[unlikely]]
            entering_failed(error);
    }
    [[gnu::cold, gnu::noinline]] void entering_failed(int error) noexcept {
        if (error == -EBUSY || error == -EAGAIN || error == -ENOMEM) {
            // The entries stay queued, and the next turn tries again: after the completions that
            // are here have been taken, or after a pause that keeps a lasting lack from spinning.
            if (!ring_->has_completions()) {
                const timespec pause{0, 1'000'000};
                ::nanosleep(&pause, nullptr);
            }
            return;
        }
        ring_broke(-error);
    }

    void take(const io_uring_cqe& completion) noexcept {
        if ((completion.user_data & 1) == 0) [[likely]] {
            deliver(*reinterpret_cast<ring_request*>(completion.user_data), completion.res,
                    completion.flags);
            return;
        }
        if (completion.user_data == wake_tag && (completion.flags & IORING_CQE_F_MORE) == 0)
            rearm_wake(completion.res);
    }

    void deliver(ring_request& operation, int result, unsigned flags) noexcept {
        check(operation.in_flight_, "a completion arrived for an operation that is not in flight");
        if ((flags & IORING_CQE_F_MORE) == 0) {
            operation.in_flight_ = false;
            --in_flight_;
        }
        operation.completed(result, flags);
    }

    /// The poll has ended: before Linux 5.13 it always fires once, later when the kernel says so.
    void rearm_wake(int result) noexcept {
        if (result == -EINVAL)
            single_poll_ = true;
        std::uint64_t count = 0;
        [[maybe_unused]] const auto ignored = ::read(inbox_->eventfd(), &count, sizeof count);
        watching_ = false;
        watch_inbox();
    }

    /// How many forks lie between this process and the first one that used a loop.
    static inline unsigned process_forks = 0;

    static void forked() {
        ++process_forks;
        // A backlog that is never empty keeps the hot path off the ring's memory.
        if (current_scheduler != nullptr)
            reactor::here().backlog_.emplace_back();
    }
    static inline const fork_handlers at_fork_{nullptr, nullptr, forked};

    std::unique_ptr<ring> ring_;
    std::shared_ptr<inbox> inbox_;
    unsigned fork_count_ = process_forks;
    timer_queue timers_;
    intrusive_list<task_scope> tasks_;
    intrusive_list<task_scope> failed_tasks_;
    std::deque<io_uring_sqe> backlog_;
    std::size_t in_flight_ = 0;
    std::size_t expected_posts_ = 0;
    std::size_t jobs_ = 0; ///< among the posts
    std::uint32_t tasks_made_ = 0;
    std::uint64_t turns_ = 0;
    event_count steps_;
    event_count system_calls_;
    std::atomic<bool> is_awake_ = false;
    lag_histogram lag_;
    const ready_node* last_of_turn_ = nullptr; ///< only an address: it may be gone
    time_point last_look_ = ring_->now();
    post_patience patience_;
    bool watching_ = false;
    bool single_poll_ = false;
};

} // namespace hob::detail
