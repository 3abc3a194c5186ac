// SPDX-License-Identifier: MIT
// The unit of cancellation: one chain of coroutines and what it waits for.
#pragma once

#include <hob/core/scheduler.hpp>

#include <cstdint>
#include <string>
#include <utility>

namespace hob::detail {

class task_scope;

/// Receives the scopes below a combinator: for stack traces.
class scope_visitor {
  public:
    virtual void visit(scope& child) = 0;

  protected:
    ~scope_visitor() = default;
};

/// What a scope can wait for, seen from the scope.
class waited_for {
  public:
    waited_for(const waited_for&) = delete;
    waited_for& operator=(const waited_for&) = delete;

    /// Asks the operation to end early. It may refuse, and complete later instead. Called in the
    /// loop's own turn, at most once for each wait.
    virtual void cancel() noexcept = 0;
    /// What is being waited for, in a few words.
    [[nodiscard]] virtual std::string describe() const = 0;
    virtual void visit_children(scope_visitor&) {}
    /// Whether a cancellation of the scope that waits passes by `child`, which is below it.
    [[nodiscard]] virtual bool shields(const scope& /*child*/) const noexcept { return false; }
    /// The task whose end is waited for without owning it; null for other waits.
    [[nodiscard]] virtual const scope* joined_task() const noexcept { return nullptr; }

    [[nodiscard]] promise_base& waiter() const noexcept { return *waiter_; }

  protected:
    waited_for() = default;
    ~waited_for() = default;
    promise_base* waiter_; // once it waits
};

/// Runs in place of a frame that is being destroyed, whose promise is gone before its parameters
/// and its memory: for the destructors, and for a signal handler that comes in between.
class frame_stand_in final : public promise_base {
  public:
    void replace(const promise_base& frame) noexcept {
        if (frame.caller() != nullptr)
            set_caller(*frame.caller());
        else
            set_owner(frame.owner());
        position = frame.position;
    }
};

/// What a spawned task, a `timeout`, a `shield`, or one branch of a `gather` runs in. Lives in the
/// awaiter or in the record of the task. `cancel` goes down the tree through what is waited for;
/// outcomes come up through `finished` and `unwound`.
///
/// Cancelling marks the scope; at the end of the turn the loop asks the operation that it waits for
/// to end, which may cancel scopes below, and unwinds the frames when it has. So no user code runs
/// on the stack of whoever cancels, and a tree of any depth is cancelled on a constant stack.
class scope : public ready_callback {
  public:
    [[nodiscard]] bool is_cancelled() const noexcept { return has_flag(cancelled_flag); }
    /// The same, also if a scope above was cancelled and the turn has yet to tell this one: for
    /// what begins or ends in it meanwhile. Once true, stays true: a scope that runs is marked by
    /// asking.
    [[nodiscard]] bool is_being_cancelled() noexcept {
        return is_cancelled() || (scheduler::here().has_cancellations() && learn_of_cancellation());
    }
    [[nodiscard]] bool is_done() const noexcept { return state_ >= state::done; }
    /// It has ended, and its coroutines were stopped.
    [[nodiscard]] bool has_been_stopped() const noexcept { return state_ == state::stopped; }
    // Of a task only: which way it has ended.
    [[nodiscard]] bool has_succeeded() const noexcept { return state_ == state::done; }
    [[nodiscard]] bool has_failed() const noexcept { return state_ == state::failed; }
    [[nodiscard]] bool is_started() const noexcept {
        return state_ != state::unstarted && state_ != state::refused;
    }
    /// Neither started nor cancelled.
    [[nodiscard]] bool is_unstarted() const noexcept { return state_ == state::unstarted; }
    /// It has a coroutine, which may not have run yet.
    [[nodiscard]] bool is_alive() const noexcept {
        return !is_done() && (state_ != state::unstarted || frame_ != nullptr);
    }

    /// Requests cancellation, inside a turn of the scope's own loop. Returns false, and changes
    /// nothing, when the scope has ended.
    bool cancel() noexcept { return cancel(scheduler::here()); }
    /// The same on the thread of `loop`, whose scope this is.
    bool cancel(scheduler& loop) noexcept {
        if (!is_alive() || state_ == state::ending)
            return false;
        if (is_cancelled())
            return true;
        set_flag(cancelled_flag);
        if (state_ == state::unstarted) {
            state_ = state::refused;
            enqueue(loop);
        } else if (state_ == state::waiting && !is_queued()) {
            set_flag(queued_flag);
            loop.push_before_submission(*this);
        }
        // One that runs, or is about to, is stopped by its next wait, or passes it to the branches
        // that it starts.
        return true;
    }

    /// Lets the root coroutine start in a later turn of `loop`. In a scope that is `born_cancelled`
    /// it runs to its first suspension.
    [[gnu::always_inline]] void start_soon(scheduler& loop, bool born_cancelled) noexcept {
        adopt_root(born_cancelled);
        push_onto(loop);
    }
    void start_soon(scheduler& loop, promise_base& root, bool born_cancelled) noexcept {
        frame_ = &root;
        start_soon(loop, born_cancelled);
    }

    /// Starts `root` inside the current step if the stack allows, otherwise in a later turn.
    void start_now(promise_base& root, bool born_cancelled) noexcept {
        frame_ = &root;
        start_now(born_cancelled);
    }
    void start_now(bool born_cancelled) noexcept {
        adopt_root(born_cancelled);
        scheduler& loop = scheduler::here();
        if (loop.may_nest() && loop.spend_budget())
            start_nested();
        else
            enqueue(loop);
    }

    /// What the chain waits for; null while it runs, is ready, or is being stopped.
    [[nodiscard]] waited_for* waiting() const noexcept {
        return state_ == state::waiting ? waiting_ : nullptr;
    }
    /// The innermost suspended coroutine, as far as it is known: null while running or ready.
    [[nodiscard]] promise_base* leaf() const noexcept {
        switch (state_) {
        case state::waiting:
            return &waiting_->waiter();
        case state::unstarted:
        case state::refused:
        case state::stopping:
            return frame_;
        default:
            return nullptr;
        }
    }
    /// One word for the state, for people.
    [[nodiscard]] const char* state_name() const noexcept {
        switch (state_) {
        case state::unstarted:
        case state::refused:
            return "not started";
        case state::running:
            return is_running() ? "running" : "ready";
        case state::waiting:
            return is_cancelled() ? "being cancelled" : "waiting";
        case state::stopping:
        case state::unwinding:
            return "being stopped";
        default:
            return "done";
        }
    }

    /// True while one of its coroutines, and not one of a scope inside it, is being executed.
    [[nodiscard]] bool is_running() const noexcept {
        if (current_scheduler == nullptr)
            return false;
        const promise_base* const running = scheduler::here().running();
        return running != nullptr && &running->owner() == this;
    }

    /// The scope that owns this one; null for a task that the loop owns.
    [[nodiscard]] virtual scope* parent() const noexcept = 0;
    /// The loop that runs it.
    [[nodiscard]] virtual scheduler& home() noexcept = 0;
    /// The task that this scope is the root of; null for a branch inside a task.
    [[nodiscard]] virtual task_scope* as_task() noexcept { return nullptr; }

    /// Its turn in the ready queue, without a virtual call.
    void run_directly() noexcept {
        clear_flag(queued_flag);
        // Apart from the rare cases, which would cost the start of each task some registers.
        if (state_ == state::unstarted) [[likely]] {
            state_ = state::running;
            scheduler::here().start(*this, *frame_);
        } else {
            run_further();
        }
    }

    // For operations.
    void wait_for(waited_for& operation) noexcept {
        waiting_ = &operation;
        state_ = state::waiting;
    }
    void resume_running() noexcept { state_ = state::running; }
    void stop_at(promise_base& leaf) noexcept {
        frame_ = &leaf;
        state_ = state::stopping;
        enqueue(scheduler::here());
    }

    /// Its first step comes, and it is in the ready queue no more. Returns the root.
    [[nodiscard]] promise_base& begin_running() noexcept {
        clear_flag(queued_flag);
        state_ = state::running;
        return *frame_;
    }
    /// The root has returned. False if the end has to wait.
    [[nodiscard]] bool may_end(promise_base& root) noexcept {
        // A queue still holds a scope that was cancelled while it waited.
        if (is_queued()) [[unlikely]] {
            frame_ = &root;
            state_ = state::ending;
            return false;
        }
        state_ = state::done;
        return true;
    }
    /// Tells the outcome, when no step of its coroutines is on the stack any more.
    void root_returned(promise_base& root) noexcept {
        if (may_end(root))
            finished(root);
    }

  protected:
    /// `root` is the first coroutine of the chain, which can also be told when it starts.
    explicit scope(promise_base* root = nullptr, std::uint32_t number = 0,
                   std::uint32_t references = 0) noexcept
        : frame_(root), state_(state::unstarted), number_(number & largest_number),
          references_(references) {}
    ~scope() = default;
    /// Before it is destroyed. Not in the destructor, which would then set the table of virtual
    /// functions once more: of a task that lives for some nanoseconds, one notices.
    void check_ended() const noexcept {
        check(state_ == state::unstarted || is_done(),
              "a scope was destroyed while its coroutines were alive");
        check(!is_queued(), "a scope was destroyed while in the ready queue");
    }

    /// It is done, and its outcome is an exception.
    void note_failure() noexcept { state_ = state::failed; }

    /// The root coroutine has returned: take its outcome and destroy its frame. May destroy
    /// the scope.
    virtual void finished(promise_base& root) noexcept = 0;
    /// Every frame has been destroyed. May destroy the scope.
    virtual void unwound() noexcept = 0;

  private:
    static constexpr std::uintptr_t cancelled_flag = first_flag;
    static constexpr std::uintptr_t queued_flag = second_flag;
    static constexpr std::uint32_t largest_number = (1U << 24) - 1;

    enum class state : unsigned char {
        unstarted, // frame_ is the root
        refused,   // the same, cancelled before it could start
        running,   // or ready to run
        waiting,   // for waiting_
        stopping,  // frame_ is the innermost frame, to be unwound in the next turn
        unwinding, // frames are being destroyed
        ending,    // frame_ is the finished root; the end is yet to be told
        done,
        stopped, // done, and unwound
        failed   // done, and left by an exception
    };

    void adopt_root(bool born_cancelled) noexcept {
        frame_->set_owner(*this);
        if (born_cancelled) [[unlikely]]
            set_flag(cancelled_flag);
    }

    [[gnu::cold, gnu::noinline]] bool learn_of_cancellation() noexcept {
        const scope* below = this;
        for (scope* each = parent(); each != nullptr; each = each->parent()) {
            if (each->waiting() != nullptr && each->waiting()->shields(*below))
                return false;
            if (each->is_cancelled()) {
                // What it waits for has to be told when the cancellation arrives, which it does
                // not do in a scope that is marked already.
                if (state_ != state::waiting)
                    set_flag(cancelled_flag);
                return true;
            }
            below = each;
        }
        return false;
    }

    [[nodiscard]] bool is_queued() const noexcept { return has_flag(queued_flag); }
    void enqueue(scheduler& loop) noexcept {
        if (!is_queued())
            push_onto(loop);
    }
    void push_onto(scheduler& loop) noexcept {
        set_flag(queued_flag);
        loop.push(*this);
    }

    void run() noexcept final { run_directly(); }
    [[gnu::noinline]] void run_further() noexcept {
        scheduler::here().set_running(nullptr);
        switch (state_) {
        case state::waiting:
            // Only a cancellation brings a waiting scope here, and only once.
            waiting_->cancel();
            break;
        case state::refused:
        case state::stopping:
            unwind();
            break;
        case state::ending:
            root_returned(*frame_);
            break;
        case state::unstarted:
        case state::running:
        case state::unwinding:
        case state::done:
        case state::stopped:
        case state::failed:
            break;
        }
    }

    void start_nested() noexcept {
        state_ = state::running;
        scheduler::here().resume_nested(*frame_);
    }

    /// Destroys the frames from the innermost outwards, without recursion.
    void unwind() noexcept {
        scheduler& loop = scheduler::here();
        const bool has_begun = state_ != state::refused;
        state_ = state::unwinding;
        {
            const scheduler::refusal refusing(loop, !has_begun);
            frame_stand_in stand_in;
            for (promise_base* frame = frame_; frame != nullptr;) {
                promise_base* const caller = frame->caller();
                stand_in.replace(*frame);
                loop.set_running(&stand_in);
                frame->coroutine().destroy();
                frame = caller;
            }
            loop.set_running(nullptr);
        }
        state_ = state::stopped;
        unwound();
    }

    union {
        waited_for* waiting_;
        promise_base* frame_;
    };
    state state_ : 8;

  protected:
    // Of a task: in the state's word, which is written once when a scope is made.
    std::uint32_t number_ : 24;
    std::uint32_t references_;
};

inline bool scheduler::step(promise_base& coroutine) noexcept {
    check(!coroutine.coroutine().done(),
          "a coroutine was resumed that has returned or was destroyed");
    running_ = &coroutine;
    coroutine.coroutine().resume();
    return coroutine.coroutine().done();
}

inline void scheduler::bounce(promise_base& first) noexcept {
    promise_base* coroutine = &first;
    for (;;) {
        if (step(*coroutine)) {
            promise_base* const caller = coroutine->caller();
            if (caller == nullptr) {
                running_ = nullptr;
                coroutine->owner().root_returned(*coroutine);
                return;
            }
            coroutine = caller;
        } else {
            if (next_ == nullptr) [[likely]]
                return;
            coroutine = std::exchange(next_, nullptr);
        }
    }
}

inline void scheduler::start(scope& owner, promise_base& root) noexcept {
    budget_ = budget_per_step;
    if (step(root)) {
        running_ = nullptr;
        owner.root_returned(root);
    } else if (next_ != nullptr) [[unlikely]] {
        bounce(*std::exchange(next_, nullptr));
    }
}

} // namespace hob::detail
