// SPDX-License-Identifier: MIT
// A plain function that the loop runs: call_soon, call_later, call_at, call_soon_threadsafe.
#pragma once

#include <hob/core/callable.hpp>
#include <hob/core/current_context.hpp>
#include <hob/core/frame_pool.hpp>
#include <hob/core/inbox.hpp>
#include <hob/core/reactor.hpp>

#include <chrono>
#include <cmath>
#include <concepts>
#include <exception>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace hob {
namespace detail {

/// Counted by the handles and by the loop while it holds the call.
class scheduled_call : public ready_callback, public timed_operation {
  public:
    void keep() noexcept { ++references_; }
    void release() noexcept {
        if (--references_ == 0)
            destroy();
    }

    /// Arms the timer. Throws `std::bad_alloc`.
    void start_timer(reactor& loop, time_point when) {
        loop_ = &loop;
        set_deadline(when);
        loop.timers().insert(*this);
    }

    [[nodiscard]] bool is_cancelled() const noexcept { return state_ == state::cancelled; }

    /// Returns false when the function has run, is running, or was cancelled before. Throws
    /// `wrong_thread_error`.
    bool cancel_call() {
        if (state_ != state::pending)
            return false;
        if (thread_ != this_thread())
            throw wrong_thread_error();
        state_ = state::cancelled;
        // What the function has captured may do anything, also drop this call's handles and close
        // the loop.
        keep();
        const bool is_withdrawn = withdraw();
        drop_function();
        if (is_withdrawn)
            release();
        release();
        return true;
    }

    void run() noexcept final {
        if (state_ == state::pending) {
            state_ = state::ran;
            try {
                const context_guard guard(variables_);
                call();
            } catch (...) {
                const std::exception_ptr error = std::current_exception();
                if (is_fatal(error))
                    scheduler::here().fail(error);
                else
                    scheduler::here().report("an exception left a callback", nullptr, error);
            }
        }
        drop_function();
        release();
    }
    void discard() noexcept final {
        state_ = state::cancelled;
        drop_function();
        release();
    }

    // Of a timed_operation; no coroutine ever waits for a call.
    void expire() noexcept final { make_ready(); }
    void cancel() noexcept final {}
    [[nodiscard]] std::string describe() const final { return "a scheduled call"; }

  protected:
    /// `loop` is for calls that wait for something to make them ready; `start_timer` names another.
    explicit scheduled_call(reactor* loop = nullptr) noexcept
        : loop_(loop), variables_(copy_context()) {}
    ~scheduled_call() = default;
    void make_ready() noexcept { loop_->push(*this); }
    virtual void call() = 0;
    virtual void drop_function() noexcept = 0;
    virtual void destroy() noexcept = 0;
    /// Takes it back from what would make it ready, together with the loop's reference. False if
    /// it is ready: it leaves the ready queue in its turn.
    [[nodiscard]] virtual bool withdraw() noexcept {
        if (!is_armed())
            return false;
        loop_->timers().remove(*this);
        return true;
    }
    /// For a `Base` of `scheduled_function` to hide.
    static void function_dropped() noexcept {}

  private:
    enum class state : unsigned char { pending, ran, cancelled };
    reactor* loop_;
    // The thread of the loop, if there is a handle: a call that waits for the outcome of a future
    // may outlive its loop.
    const void* thread_ = this_thread();
    context variables_;
    unsigned references_ = 1; // the loop's
    state state_ = state::pending;
};

/// `Base` is a `scheduled_call` that knows what it waits for.
template <class Function, class Base> class scheduled_function final : public Base {
  public:
    template <class... Arguments>
    explicit scheduled_function(Function&& function, Arguments&... arguments)
        : Base(arguments...), function_(std::move(function)) {}

    static void* operator new(std::size_t size) { return frame_pool::allocate(size); }
    static void operator delete(void* memory, std::size_t size) noexcept {
        frame_pool::deallocate(memory, size);
    }

  private:
    ~scheduled_function() = default;
    void call() override { (*function_)(); }
    void drop_function() noexcept override {
        function_.reset();
        this->function_dropped();
    }
    void destroy() noexcept override { delete this; }

    std::optional<Function> function_;
};

/// Belongs to whoever will run or discard it.
template <class Base = scheduled_call, class Function, class... Arguments>
[[nodiscard]] Base& make_call(Function&& function, Arguments&... arguments) {
    check_callback<Function&>();
    return *new scheduled_function<Function, Base>(std::move(function), arguments...);
}

/// Posts to a loop from any thread.
template <class Function> [[nodiscard]] bool post_call(inbox& target, Function&& function) {
    scheduled_call& call = make_call(std::move(function));
    if (target.post(call))
        return true;
    call.discard();
    return false;
}

template <class Rep, class Period>
[[nodiscard]] time_point deadline_after(time_point now, std::chrono::duration<Rep, Period> delay) {
    if constexpr (std::is_floating_point_v<Rep>)
        if (std::isnan(delay.count()))
            throw usage_error("a delay is not a number");
    return saturating_add(now, saturating_nanoseconds(delay));
}

} // namespace detail

/// asyncio's Handle and TimerHandle. Dropping it does not cancel the call.
class call_handle {
  public:
    call_handle() = default;
    call_handle(const call_handle& other) noexcept : call_(other.call_) {
        if (call_ != nullptr)
            call_->keep();
    }
    call_handle(call_handle&& other) noexcept : call_(std::exchange(other.call_, nullptr)) {}
    call_handle& operator=(call_handle other) noexcept {
        std::swap(call_, other.call_);
        return *this;
    }
    ~call_handle() {
        if (call_ != nullptr)
            call_->release();
    }

    /// The function will not run, and is destroyed at once. Returns false if it has run, or was
    /// cancelled before. Throws `wrong_thread_error` on a thread other than the loop's.
    bool cancel() { return call_ != nullptr && call_->cancel_call(); }
    [[nodiscard]] bool cancelled() const noexcept {
        return call_ != nullptr && call_->is_cancelled();
    }
    /// When it is due; only for `call_later` and `call_at`.
    [[nodiscard]] detail::time_point when() const noexcept { return call_->deadline(); }

    /// For what is built on calls.
    explicit call_handle(detail::scheduled_call& call) noexcept : call_(&call) { call.keep(); }

  private:
    detail::scheduled_call* call_ = nullptr;
};

} // namespace hob
