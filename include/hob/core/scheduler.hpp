// SPDX-License-Identifier: MIT
// The ready queue and the trampoline that resumes coroutines from it.
#pragma once

#include <hob/core/check.hpp>
#include <hob/core/error.hpp>
#include <hob/core/exception_trace.hpp>
#include <hob/core/promise.hpp>
#include <hob/core/stack_pointer.hpp>
#include <hob/core/temporary_value.hpp>

#include <cstdint>
#include <exception>
#include <utility>

namespace hob::detail {

class scheduler;

/// The loop whose turn runs on this thread, or null.
inline constinit thread_local scheduler* current_scheduler = nullptr;

/// Tells this thread from all others that live.
[[nodiscard]] inline const void* this_thread() noexcept {
    return &current_scheduler;
}

/// Makes `loop` the running one, which it may be or not: what is done on its thread between two of
/// its runs gets ready for the next one.
class entered_loop {
  public:
    explicit entered_loop(scheduler& loop) noexcept : running_(current_scheduler, &loop) {}

  private:
    temporary_value<scheduler*> running_;
};

/// The part of the event loop that coroutines touch on every await.
///
/// No await relies on tail calls, which GCC does not make at -O0 or under a sanitizer: a child is
/// resumed inside its caller's `await_suspend` while that takes no more than `inline_stack` bytes
/// of the native stack, and by the trampoline past that; when a child returns that was suspended in
/// between, the trampoline goes on with its caller. So the native stack stays bounded whatever the
/// depth of the await chain.
class scheduler {
  public:
    static constexpr std::uintptr_t inline_stack = 16 * 1024;
    /// Awaits that may complete without suspending before the task yields (tokio's budget).
    static constexpr unsigned budget_per_step = 128;

    scheduler() = default;
    scheduler(const scheduler&) = delete;
    scheduler& operator=(const scheduler&) = delete;

    /// The scheduler of the running loop. Throws `no_running_loop_error` when there is none.
    [[nodiscard, gnu::always_inline]] static scheduler& current() {
        scheduler* const found = current_scheduler;
        if (found == nullptr) [[unlikely]]
            throw no_running_loop_error();
        return *found;
    }
    /// The same where a coroutine of ours is running, so that there is one.
    [[nodiscard]] static scheduler& here() noexcept { return *current_scheduler; }

    void push(ready_node& node) noexcept { ready_.push(node); }
    /// Runs `node` at the end of this turn, before the kernel sees what the turn has submitted: a
    /// cancellation, so that an operation which was submitted and cancelled in one turn never
    /// takes effect.
    void push_before_submission(ready_node& node) noexcept { urgent_.push(node); }
    /// Whether some are on their way.
    [[nodiscard]] bool has_cancellations() const noexcept { return !urgent_.empty(); }

    /// Resumes a coroutine from the loop, and then those that await it, as far as they return.
    void resume(promise_base& coroutine) noexcept {
        budget_ = budget_per_step;
        bounce(coroutine);
    }
    /// The same for the root coroutine of `owner`.
    void start(scope& owner, promise_base& root) noexcept;

    /// Resumes a coroutine from inside a step of another one, with a trampoline of its own.
    void resume_nested(promise_base& coroutine) noexcept {
        promise_base* const outer = running_;
        const bool outer_is_nested = has(duty::outer_step);
        set(duty::outer_step);
        bounce(coroutine);
        set(duty::outer_step, outer_is_nested);
        running_ = outer;
    }
    /// Resumes a coroutine, and says whether it has returned.
    [[nodiscard, gnu::always_inline]] bool step(promise_base& coroutine) noexcept;

    /// Makes the running trampoline go on with `child`, too deep to be started inside its caller's
    /// step.
    void start_from_trampoline(promise_base& child) noexcept { next_ = &child; }

    /// Whether the native stack has room for one more step inside the one at hand.
    [[nodiscard]] bool may_nest() const noexcept { return stack_pointer() > stack_limit_; }
    /// Resumes `child` inside the step of `caller`. Only while `may_nest()`. Returns whether the
    /// child has returned.
    bool resume_inline(promise_base& child, promise_base& caller) noexcept {
        const std::coroutine_handle<> coroutine = child.coroutine();
        running_ = &child;
        coroutine.resume();
        if (!coroutine.done())
            return false;
        running_ = &caller;
        return true;
    }

    /// Counts an await that completes without suspending; false when the task has to yield.
    [[nodiscard]] bool spend_budget() noexcept {
        if (--budget_ != 0) [[likely]]
            return true;
        budget_ = 1;
        return false;
    }

    /// The coroutine that is running; null in a callback. Between two steps of a turn, the last one
    /// that ran: to clear it there would cost every step a store.
    [[nodiscard]] promise_base* running() const noexcept { return running_; }
    void set_running(promise_base* coroutine) noexcept { running_ = coroutine; }

    /// Tells the loop's exception handler of an error that nobody else will see. `trace` is where
    /// it came from; without it, the async stack of `where` is told.
    virtual void report(const char* what, scope* where, std::exception_ptr error,
                        const exception_trace* trace = nullptr) noexcept = 0;
    /// Makes `run` leave with this error at once.
    virtual void fail(std::exception_ptr error) noexcept = 0;

    /// Throws unless this thread and process may use the loop.
    virtual void require_usable() const = 0;
    /// The same at the cost of a comparison inside a run of the loop. It passes between two runs
    /// too, and inside the run of another loop of this thread: this need not be the running loop.
    [[gnu::always_inline]] void require_here() const {
        if (current_scheduler != this) [[unlikely]]
            require_usable();
    }

    /// Which frames the exception at hand has left.
    exception_trace trace;

    /// What keeps the loop from going from one step straight to the next. In one word, because
    /// every turn asks for all of them at once.
    enum class duty : unsigned {
        submission = 1,      ///< the kernel has not seen all entries
        slow_submission = 2, ///< nor one that may take its time
        return_soon = 4,     ///< somebody wants the loop back after the turn at hand
        leave = 8,           ///< the same after the step at hand: a fatal error
        outer_step = 16,     ///< the step at hand is inside one that goes on when it ends
        posts = 32,          ///< the inbox was not drained to its end
        debug = 64           ///< reports tasks that were never awaited, and slow steps
    };
    [[nodiscard]] bool has(duty asked) const noexcept {
        return (duties_ & static_cast<unsigned>(asked)) != 0;
    }
    void set(duty changed, bool on = true) noexcept {
        if (on)
            duties_ |= static_cast<unsigned>(changed);
        else
            duties_ &= ~static_cast<unsigned>(changed);
    }

    /// While a coroutine is destroyed that was cancelled before it began: nobody has forgotten to
    /// await the tasks among its parameters.
    class refusal {
      public:
        /// Of one that did begin, if `is_one` is false.
        explicit refusal(scheduler& loop, bool is_one = true) noexcept
            : refusing_(loop.refusing_, is_one) {}

      private:
        temporary_value<bool> refusing_;
    };
    /// Whether somebody wants to know of a task that is destroyed now, and was not awaited.
    [[nodiscard]] bool reports_unawaited() const noexcept { return has(duty::debug) && !refusing_; }

  protected:
    ~scheduler() = default;

    /// All of them: 0 if there are none.
    [[nodiscard]] unsigned duties() const noexcept { return duties_; }

    /// The loop begins to run on this stack.
    void note_stack() noexcept { stack_limit_ = stack_pointer() - inline_stack; }

    ready_queue ready_;
    ready_queue urgent_;

  private:
    /// The trampoline. Leaves the coroutine that ran last in `running_`.
    void bounce(promise_base& first) noexcept;

    promise_base* next_ = nullptr;
    promise_base* running_ = nullptr;
    std::uintptr_t stack_limit_ = 0;
    unsigned budget_ = budget_per_step;
    unsigned duties_ = 0;
    bool refusing_ = false;
};

} // namespace hob::detail
