// SPDX-License-Identifier: MIT
// hob::future: an outcome that somebody will set, and that tasks wait for.
#pragma once

#include <hob/core/as_task.hpp>
#include <hob/core/callable.hpp>
#include <hob/core/frame_pool.hpp>
#include <hob/core/inbox.hpp>
#include <hob/core/intrusive_list.hpp>
#include <hob/core/reactor.hpp>
#include <hob/core/result.hpp>
#include <hob/core/scheduled_call.hpp>
#include <hob/sync/gate.hpp>

#include <coroutine>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

namespace hob {
namespace detail {

/// A call that waits for the outcome of a future, which may come after its loop has closed.
class outcome_call : public scheduled_call, public list_node {
  public:
    /// There is an outcome. Returns false, and does nothing, if the loop has closed.
    [[nodiscard]] bool outcome_is_set() noexcept {
        // Except in a forked child whose copy of the loop is gone, it lives while this is open.
        if (inbox_->is_closed())
            return false;
        keep_future();
        make_ready();
        return true;
    }

  protected:
    explicit outcome_call(reactor& loop) noexcept
        : scheduled_call(&loop), inbox_(loop.get_inbox()) {}
    ~outcome_call() = default;

  private:
    /// Not before the call is ready: it would keep a future alive that nobody else can set.
    virtual void keep_future() noexcept = 0;
    [[nodiscard]] bool withdraw() noexcept final {
        if (!is_linked())
            return false;
        intrusive_list<outcome_call>::remove(*this);
        return true;
    }

    std::shared_ptr<inbox> inbox_;
};

/// What the copies of a future share, whatever its type.
class future_state_base {
  public:
    void keep() noexcept { ++references_; }

    [[nodiscard]] bool is_open() const noexcept { return done_; }
    [[nodiscard]] bool is_cancelled() const noexcept { return cancelled_; }
    void mark_retrieved() noexcept { retrieved_ = true; }

    void require_done() const {
        if (!done_)
            throw usage_error("the outcome of a future was asked for before it was set");
    }
    void require_pending() const {
        if (done_)
            throw usage_error("the outcome of a future was set that has one already");
    }
    /// The loop that runs here uses it.
    void note_thread() noexcept { thread_ = this_thread(); }
    bool cancel() {
        require_own_thread();
        if (done_)
            return false;
        line_.enter_to_open();
        cancelled_ = true;
        settle();
        return true;
    }
    /// For a callback: the loop that will run it. Throws `no_running_loop_error`, and `usage_error`
    /// in a second loop.
    [[nodiscard]] reactor& enter() {
        reactor& loop = reactor::current();
        line_.enter();
        note_thread();
        return loop;
    }
    void add_call(outcome_call& call) noexcept {
        calls_.push_back(call);
        if (done_)
            make_calls_ready();
    }

    static void* operator new(std::size_t size) { return frame_pool::allocate(size); }
    static void operator delete(void* memory, std::size_t size) noexcept {
        frame_pool::deallocate(memory, size);
    }

  protected:
    future_state_base() = default;
    ~future_state_base() {
        while (!calls_.empty())
            calls_.pop_front().discard();
    }

    /// Whether that was the last one.
    [[nodiscard]] bool drop_reference() noexcept { return --references_ == 0; }
    /// Before the outcome is set. Throws where those who wait cannot be woken.
    void enter_to_settle() {
        require_own_thread();
        require_pending();
        line_.enter_to_open();
    }
    void settle() noexcept {
        done_ = true;
        line_.let_pass();
        make_calls_ready();
    }
    void report_unretrieved(const std::exception_ptr& error) noexcept {
        if (retrieved_)
            return;
        if (current_scheduler != nullptr)
            current_scheduler->report("an exception was set in a future that nobody awaited",
                                      nullptr, error);
        else
            std::fputs("hob: an exception was set in a future that nobody awaited\n", stderr);
    }

  private:
    template <class> friend class detail::gate_wait;
    static constexpr const char* gate_name = "future";

    /// For the sake of those who may come: `line_` knows whose thread it is only while tasks wait.
    void require_own_thread() const {
        if (thread_ != nullptr && thread_ != this_thread())
            throw wrong_thread_error();
    }

    void make_calls_ready() noexcept {
        intrusive_list<outcome_call> refused;
        while (!calls_.empty()) {
            outcome_call& each = calls_.pop_front();
            if (!each.outcome_is_set())
                refused.push_back(each);
        }
        // At the end, because what they have captured may be the last reference to this.
        while (!refused.empty())
            refused.pop_front().discard();
    }

    gate_line line_;
    intrusive_list<outcome_call> calls_;
    // Of the loop that it belongs to, or in which it was made; null: of none. Loops do not change
    // threads.
    const void* thread_ = current_scheduler == nullptr ? nullptr : this_thread();
    unsigned references_ = 1;
    bool done_ = false;
    bool cancelled_ = false;
    bool retrieved_ = false;
};

template <class T> class future_state final : public future_state_base {
  public:
    void release() noexcept {
        if (!drop_reference())
            return;
        if (outcome_.state() == outcome_state::exception)
            report_unretrieved(outcome_.exception());
        delete this;
    }
    template <class... Values> void set_value(Values&&... value) {
        enter_to_settle();
        outcome_.set_value(std::forward<Values>(value)...);
        settle();
    }
    void set_exception(std::exception_ptr error) {
        enter_to_settle();
        outcome_.set_exception(std::move(error));
        settle();
    }
    /// Throws when it was cancelled.
    [[nodiscard]] outcome<T>& result() {
        mark_retrieved();
        if (is_cancelled())
            throw cancelled_error("a future");
        return outcome_;
    }

  private:
    outcome<T> outcome_;
};

/// Keeps its future until its function is dropped.
template <class T> class future_call : public outcome_call {
  protected:
    future_call(future_state<T>& target, reactor& loop) noexcept
        : outcome_call(loop), target_(target) {}
    ~future_call() = default;

    void function_dropped() noexcept {
        if (std::exchange(keeps_target_, false))
            target_.release();
    }

  private:
    void keep_future() noexcept final {
        target_.keep();
        keeps_target_ = true;
    }

    future_state<T>& target_;
    bool keeps_target_ = false;
};

/// `Result` is the value or a reference to it.
template <class T, class Result> class future_await final : public gate_wait<future_state_base> {
  public:
    explicit future_await(future_state<T>& state) noexcept
        : gate_wait<future_state_base>(state), state_(state) {
        state.keep();
    }
    ~future_await() { state_.release(); }
    [[nodiscard]] bool await_ready() {
        const bool ready = gate_wait<future_state_base>::await_ready();
        state_.note_thread();
        return ready;
    }
    Result await_resume() { return state_.result().peek(); }

  private:
    future_state<T>& state_;
};

} // namespace detail

/// asyncio's Future: the bridge from callbacks to tasks. Somebody sets its outcome once, any number
/// of tasks await it. Copies refer to the same future. Cancelling a task that awaits it leaves it
/// as it is. An exception that nobody retrieves is reported to the loop's exception handler.
///
/// Belongs to the first loop in which it is awaited or gets a callback, and until then to the
/// thread of the loop in which it was made. On another thread, set it through
/// `loop_handle::call_soon_threadsafe`.
///
/// `co_await future` gives a reference to the value, rethrows the exception, or throws
/// `cancelled_error`. A temporary future, which may be the last that refers to the value, gives a
/// copy of it if there can be one.
template <class T = void> class future {
    using reference = decltype(std::declval<const detail::outcome<T>&>().peek());
    using kept = std::conditional_t<std::is_reference_v<T>, T, detail::kept_result_t<reference>>;

  public:
    using value_type = T;

    future() : state_(new detail::future_state<T>) {}
    future(const future& other) noexcept : state_(other.state_) { state_->keep(); }
    future& operator=(const future& other) noexcept {
        other.state_->keep();
        std::exchange(state_, other.state_)->release();
        return *this;
    }
    ~future() { state_->release(); }

    /// Sets the value, nothing for void, and wakes those who wait. Throws `usage_error`, and
    /// changes nothing, if there is an outcome or the future was cancelled, or if the tasks that
    /// wait belong to another loop; `wrong_thread_error` on a thread other than its own.
    template <class... Values>
        requires(std::is_void_v<T> ? sizeof...(Values) == 0 : sizeof...(Values) == 1)
    void set_result(Values&&... value) const {
        state_->set_value(std::forward<Values>(value)...);
    }
    /// The same with an exception.
    void set_exception(std::exception_ptr error) const { state_->set_exception(std::move(error)); }
    /// Makes `cancelled_error` the outcome. Returns false, and changes nothing, if there is one.
    /// Throws like `set_result` otherwise.
    bool cancel() const { return state_->cancel(); }

    [[nodiscard]] bool done() const noexcept { return state_->is_open(); }
    [[nodiscard]] bool cancelled() const noexcept { return state_->is_cancelled(); }

    /// The outcome where nothing can be awaited, as in a done-callback: gives a reference to the
    /// value, throws the exception, or `cancelled_error`. Throws `usage_error` if there is none.
    reference result() const {
        state_->require_done();
        return state_->result().peek();
    }
    /// The exception, which is not reported any more; null if there is a value. Throws
    /// `cancelled_error` if the future was cancelled, and `usage_error` if there is no outcome.
    [[nodiscard]] std::exception_ptr exception() const {
        state_->require_done();
        const detail::outcome<T>& outcome = state_->result();
        return outcome.state() == detail::outcome_state::exception ? outcome.exception() : nullptr;
    }

    /// Lets the loop call `function(future)` in a later turn once there is an outcome, in the order
    /// of registration; if there is one already, in the next turn. If the loop has closed before,
    /// the function is destroyed instead. Throws `no_running_loop_error`, `usage_error` in a second
    /// loop, `std::bad_alloc`.
    template <class Function> call_handle add_done_callback(Function function) const {
        detail::check_callback<Function&, future>();
        detail::reactor& loop = state_->enter();
        auto call = [state = state_, function = std::move(function)]() mutable {
            state->keep();
            function(future(*state));
        };
        auto& scheduled = detail::make_call<detail::future_call<T>>(std::move(call), *state_, loop);
        call_handle handle(scheduled);
        state_->add_call(scheduled);
        return handle;
    }

    /// What `co_await future` waits with.
    [[nodiscard]] auto make_awaiter() const& noexcept {
        return detail::future_await<T, reference>(*state_);
    }
    /// What `co_await std::move(future)` waits with.
    [[nodiscard]] auto make_awaiter() && noexcept { return detail::future_await<T, kept>(*state_); }

    friend bool operator==(const future&, const future&) = default;

  private:
    /// Takes over a reference.
    explicit future(detail::future_state<T>& state) noexcept : state_(&state) {}

    detail::future_state<T>* state_;
};

} // namespace hob
