// SPDX-License-Identifier: MIT
// The ready queue and the trampoline that resumes coroutines from it.
#pragma once

#include <hob/core/check.hpp>
#include <hob/core/error.hpp>
#include <hob/core/exception_trace.hpp>
#include <hob/core/promise.hpp>

#include <exception>
#include <utility>

namespace hob::detail {

class scheduler;

/// The loop whose turn runs on this thread, or null.
inline constinit thread_local scheduler* current_scheduler = nullptr;

/// The part of the event loop that coroutines touch on every await.
///
/// No await relies on tail calls, which GCC does not make at -O0 or under a sanitizer: a child is
/// resumed inside its caller's `await_suspend` while at most `inline_limit` of those are nested,
/// and by the trampoline past that; a child that completes after a suspension hands its caller to
/// the trampoline. So the native stack stays bounded whatever the depth of the await chain.
class scheduler {
  public:
    static constexpr unsigned inline_limit = 24;
    /// Awaits that may complete without suspending before the task yields (tokio's budget).
    static constexpr unsigned budget_per_step = 128;

    scheduler() = default;
    scheduler(const scheduler&) = delete;
    scheduler& operator=(const scheduler&) = delete;

    /// The scheduler of the running loop. Throws `no_running_loop_error` when there is none.
    [[nodiscard]] static scheduler& current() {
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

    /// Resumes a coroutine from the loop, and whatever its completion hands to the trampoline.
    void resume(promise_base& coroutine) noexcept {
        budget_ = budget_per_step;
        bounce(&coroutine);
    }

    /// Resumes a coroutine from inside a step of another one, with a trampoline of its own.
    void resume_nested(promise_base& coroutine) noexcept {
        promise_base* const outer = running_;
        ++inline_depth_;
        bounce(&coroutine);
        --inline_depth_;
        running_ = outer;
    }

    /// Makes `coroutine` what the running trampoline goes on with: the caller of one that has
    /// returned, or a child too deep to be started inside its caller's step.
    void continue_with(promise_base& coroutine) noexcept { next_ = &coroutine; }
    /// The same with the end of a scope whose root has returned: its frame must not be destroyed
    /// inside its own `await_suspend`.
    void continue_with_end_of(scope& ended) noexcept { ended_ = &ended; }

    [[nodiscard]] bool may_nest() const noexcept { return inline_depth_ < inline_limit; }
    /// Resumes `child` inside the step of `caller`. Only while `may_nest()`. Returns whether the
    /// child has returned.
    bool resume_inline(promise_base& child, promise_base& caller) noexcept {
        const std::coroutine_handle<> coroutine = child.coroutine();
        ++inline_depth_;
        running_ = &child;
        coroutine.resume();
        --inline_depth_;
        if (!coroutine.done())
            return false;
        running_ = &caller;
        return true;
    }

    /// Counts an await that completes without suspending; false when the task has to yield.
    [[nodiscard]] bool spend_budget() noexcept {
        if (budget_ <= 1) [[unlikely]]
            return false;
        --budget_;
        return true;
    }

    /// The coroutine that is running; null between steps.
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

    /// Which frames the exception at hand has left.
    exception_trace trace;

    /// Debug mode: reports tasks that were never awaited, and slow steps.
    bool debug = false;

  protected:
    ~scheduler() = default;

    ready_queue ready_;
    ready_queue urgent_;

  private:
    /// Runs `coroutine`, what is handed to the trampoline meanwhile, and the end of their scope.
    void bounce(promise_base* coroutine) noexcept;

    promise_base* next_ = nullptr;
    scope* ended_ = nullptr;
    promise_base* running_ = nullptr;
    unsigned inline_depth_ = 0;
    unsigned budget_ = budget_per_step;
};

} // namespace hob::detail
