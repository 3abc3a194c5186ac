// SPDX-License-Identifier: MIT
// hob::create_task and the handle to a running task.
#pragma once

#include <hob/core/as_task.hpp>
#include <hob/core/awaitable.hpp>
#include <hob/core/callable.hpp>
#include <hob/core/event_loop.hpp>
#include <hob/core/late.hpp>
#include <hob/core/task_record.hpp>

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>

namespace hob {
namespace detail {

/// Tells a handle that the reference it is made from has been counted already.
struct adopt_reference_t {
    explicit adopt_reference_t() = default;
};
inline constexpr adopt_reference_t adopt_reference{};

/// For handles. Throws on a thread other than the loop's.
inline bool cancel_task(task_scope& task) {
    if (task.is_done())
        return false;
    scheduler& home = task.home();
    home.require_here();
    return task.cancel(home);
}

/// A call that waits for the end of a task, which its function keeps.
class done_call : public scheduled_call, public task_watcher {
  public:
    explicit done_call(joinable_task& target) noexcept : target_(target) {}
    void task_ended() noexcept override { scheduler::here().push(*this); }

  protected:
    ~done_call() = default;

  private:
    [[nodiscard]] bool withdraw() noexcept override {
        if (!is_linked())
            return false;
        target_.remove_watcher(*this);
        return true;
    }

    joinable_task& target_;
};

/// Throws `no_running_loop_error` if the task has ended and no loop runs, `std::bad_alloc`.
template <class Function> call_handle call_when_done(joinable_task& task, Function&& function) {
    scheduler* const loop_of_late = task.is_done() ? &scheduler::current() : nullptr;
    done_call& call = make_call<done_call>(std::move(function), task);
    if (loop_of_late != nullptr)
        loop_of_late->push(call);
    else
        task.add_watcher(call);
    return call_handle(call);
}

/// A coroutine that waits for a task to end.
class join_operation final : public operation, public task_watcher {
  public:
    explicit join_operation(joinable_task& target) noexcept : target_(target) {}

    /// Throws `usage_error`.
    // Inlined always, so that the operation is written once, when it is made.
    [[gnu::always_inline]] void start(promise_base& waiter) {
        // Most tasks are kept by the loop itself, and joined before they run: what has not run yet
        // awaits nobody.
        if (&target_.keeper() != &reactor::here() || target_.is_started())
            require_joinable_by(waiter);
        if (begin(waiter))
            go_on();
    }
    /// `start` in two parts, for a target that runs its first step in between.
    void begin_first_step(promise_base& waiter) noexcept { begin_shielded(waiter); }
    void go_on() noexcept {
        if (target_.is_done())
            task_ended();
        else
            target_.add_watcher(*this);
    }

  private:
    [[gnu::noinline]] void require_joinable_by(promise_base& waiter) {
        if (!target_.is_done() && &target_.home() != &scheduler::here())
            throw usage_error("a task was awaited in another loop than its own");
        if (target_.is_started() && &task_of(waiter.owner()) == &target_)
            throw usage_error("a task awaits itself");
    }

    void task_ended() noexcept override {
        // Cancelled together, as in a group: to hear of it would be an error of its own.
        if (target_.has_been_stopped() && waiter_->owner().is_being_cancelled())
            stop();
        else
            complete();
    }
    void cancel() noexcept override {
        target_.remove_watcher(*this);
        stop();
    }
    [[nodiscard]] std::string describe() const override { return "task '" + target_.name() + "'"; }
    [[nodiscard]] const scope* joined_task() const noexcept override { return &target_; }

    joinable_task& target_;
};

/// Keeps the task that is awaited.
template <class T> class join_awaiter_base : public awaiter_base {
  public:
    [[nodiscard]] bool await_ready() const noexcept {
        return target_.is_done() && scheduler::here().spend_budget();
    }
    // Inlined always, like what it calls: a task that is joined as soon as it was spawned then
    // costs little more than its memory, which the benchmarks show.
    template <hob_promise Promise>
    [[gnu::always_inline]] bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        promise_base& waiter = awaiting.promise();
        scope& owner = waiter.owner();
        task_record<T>& target = target_;
        join_operation& joining = waiting_.make(target);
        reactor& loop = reactor::here();
        if (!owner.is_cancelled() && target.is_unstarted() && loop.take_turn_of(target)) {
            joining.begin_first_step(waiter);
            promise_base& root = target.begin_running();
            if (loop.step(root)) {
                loop.set_running(nullptr);
                if (target.may_end(root))
                    target.finish(root);
            }
            loop.set_running(&waiter);
            if (target.is_done() && loop.is_idle()) {
                loop.count_spared_step();
                owner.resume_running();
                return false;
            }
            joining.go_on();
        } else {
            joining.start(waiter);
        }
        return true;
    }

  protected:
    /// Takes over one reference.
    explicit join_awaiter_base(task_record<T>& target) noexcept : target_(target) {}
    ~join_awaiter_base() { target_.release(); }

    /// Throws if the task has failed or was cancelled.
    [[nodiscard]] task_record<T>& joined() {
        target_.require_success();
        return target_;
    }

  private:
    task_record<T>& target_;
    late<join_operation> waiting_;
};

/// For a handle that others may share: the value stays in the task.
template <class T> class shared_join_awaiter final : public join_awaiter_base<T> {
  public:
    explicit shared_join_awaiter(task_record<T>& target) noexcept : join_awaiter_base<T>(target) {}
    decltype(auto) await_resume() { return this->joined().value(); }
};

/// For a handle that is given away: the value is moved out.
template <class T> class owning_join_awaiter final : public join_awaiter_base<T> {
  public:
    explicit owning_join_awaiter(task_record<T>& target) noexcept : join_awaiter_base<T>(target) {}
    T await_resume() { return this->joined().take(); }
};

} // namespace detail

/// Refers to a task that the loop or a group runs. Copies refer to the same task; dropping all of
/// them neither cancels nor destroys it. An exception that no handle ever retrieves is reported
/// to the loop's exception handler once.
///
/// `co_await handle` waits for the end and gives a reference to the value, for any number of
/// waiters, who wake in the order in which they came; `co_await std::move(handle)` moves the value
/// out. Both rethrow the task's exception, and throw `cancelled_error` if the task was cancelled.
/// Cancelling a waiter leaves the task running. If a task that has not started is awaited and is
/// all that the next turn would run, its first step runs inside the await.
template <class T = void> class task_handle {
  public:
    using value_type = T;

    task_handle() = default;
    task_handle(const task_handle& other) noexcept : record_(other.record_) {
        if (record_ != nullptr)
            record_->keep();
    }
    task_handle(task_handle&& other) noexcept : record_(std::exchange(other.record_, nullptr)) {}
    task_handle& operator=(task_handle other) noexcept {
        std::swap(record_, other.record_);
        return *this;
    }
    ~task_handle() {
        if (record_ != nullptr)
            record_->release();
    }

    /// False for a default-constructed or moved-from handle, which must not be used.
    [[nodiscard]] explicit operator bool() const noexcept { return record_ != nullptr; }

    /// Asks the task to stop at its current or next suspension; this call runs none of its code.
    /// Returns false, and changes nothing, when it has ended.
    /// Throws `wrong_thread_error` on a thread other than the loop's.
    bool cancel() const { return detail::cancel_task(*record_); }
    /// Whether the task has ended, in whichever way.
    [[nodiscard]] bool done() const noexcept { return record_->is_done(); }
    /// Whether the task has ended by being cancelled.
    [[nodiscard]] bool cancelled() const noexcept { return record_->has_been_stopped(); }

    /// The outcome of a task that has ended, where nothing can be awaited: in a done-callback, or
    /// of what `wait` gives. Like `co_await handle`, gives a reference to the value, throws the
    /// task's exception, or `cancelled_error`; `std::move(handle).result()` moves the value out.
    /// Throws `usage_error` if the task has not ended.
    decltype(auto) result() const& {
        require_ended();
        record_->require_success();
        return record_->value();
    }
    T result() && {
        require_ended();
        record_->require_success();
        return record_->take();
    }
    /// The exception that left a task that has ended, and that is not reported any more; null if
    /// there is none. Throws `cancelled_error` if the task was cancelled, and `usage_error` if it
    /// has not ended.
    [[nodiscard]] std::exception_ptr exception() const {
        require_ended();
        return record_->error();
    }

    /// For diagnostics; "task-N" at first.
    [[nodiscard]] std::string name() const { return record_->name(); }
    const task_handle& set_name(std::string name) const {
        record_->set_name(std::move(name));
        return *this;
    }

    /// What `co_await handle` waits with.
    [[nodiscard]] auto make_awaiter() const& {
        require();
        record_->keep();
        return detail::shared_join_awaiter<T>(*record_);
    }
    /// What `co_await std::move(handle)` waits with.
    [[nodiscard]] auto make_awaiter() && {
        require();
        return detail::owning_join_awaiter<T>(*std::exchange(record_, nullptr));
    }

    /// Lets the loop call `function(handle)` in a later turn once the task has ended, in the order
    /// of registration and of the awaits on it; if it has ended already, in the next turn of the
    /// loop that runs here. Throws `wrong_thread_error` on a thread other than that of the loop
    /// which runs the task, `no_running_loop_error` if the task has ended and no loop runs here,
    /// `std::bad_alloc`.
    template <class Function> call_handle add_done_callback(Function function) const {
        detail::check_callback<Function&, task_handle&>();
        require();
        // Before the handle is copied: its count is not for two threads.
        if (!done())
            record_->home().require_here();
        auto call = [handle = *this, function = std::move(function)]() mutable {
            function(handle);
        };
        return detail::call_when_done(*record_, std::move(call));
    }

    /// Takes over one reference.
    task_handle(detail::task_record<T>& record, detail::adopt_reference_t) noexcept
        : record_(&record) {}
    /// For what is built on tasks.
    [[nodiscard]] detail::task_record<T>& record() const {
        require();
        return *record_;
    }

    friend bool operator==(const task_handle&, const task_handle&) = default;

  private:
    friend std::hash<task_handle>;

    void require() const {
        if (record_ == nullptr)
            throw usage_error("an empty task_handle was awaited");
    }
    void require_ended() const {
        require();
        if (!done())
            throw usage_error("the result of a task was asked for before it has ended");
    }

    detail::task_record<T>* record_ = nullptr;
};

/// Asks `create_task` to run the first step at once.
struct eager_t {
    explicit eager_t() = default;
};
inline constexpr eager_t eager{};

/// Starts `coroutine` as a task of the running loop, which owns it from then on: its first step
/// runs in the next turn, never inside this call. Throws `no_running_loop_error`,
/// `usage_error` for a task that was awaited before, `std::bad_alloc`.
///
/// A task that is cancelled is stopped where it waits: its operation is ended first, and if that
/// completes all the same, its result is delivered and the stop comes at the next suspension.
/// Then its frames are destroyed, innermost first; destructors run, `catch` blocks do not.
template <class T> [[gnu::always_inline]] inline task_handle<T> create_task(task<T> coroutine) {
    // Inlined always: the task need not go through memory then, which the benchmarks show.
    detail::reactor& loop = detail::reactor::current();
    return task_handle<T>(
        detail::spawn<detail::task_record<T>>(loop, loop, loop.tasks(), coroutine, false),
        detail::adopt_reference);
}

/// The same, but the task runs to its first suspension before this call returns, inside the
/// caller's step: what needs no waiting costs no turn of the loop. Where eager starts are nested
/// too deep for the stack, and after 128 of them in one step, the first step runs in the next turn.
template <class T> task_handle<T> create_task(task<T> coroutine, eager_t) {
    detail::reactor& loop = detail::reactor::current();
    const task_handle<T> handle(
        detail::make_record<detail::task_record<T>>(loop, loop, loop.tasks(), coroutine),
        detail::adopt_reference);
    handle.record().start_now(false);
    return handle;
}

/// The same for anything that can be awaited: `create_task(hob::to_thread(compress, data))` lets
/// the thread begin, and the handle is awaited later. `awaited` is kept until it has been awaited;
/// what it refers to has to live as long. Of a result that is a reference, the task keeps a copy if
/// there can be one.
template <detail::awaitable_to_spawn Awaitable>
auto create_task(Awaitable&& awaited, detail::source_pointer where = __builtin_source_location()) {
    return create_task(detail::as_spawned_task(std::forward<Awaitable>(awaited), where));
}
template <detail::awaitable_to_spawn Awaitable>
auto create_task(Awaitable&& awaited, eager_t,
                 detail::source_pointer where = __builtin_source_location()) {
    return create_task(detail::as_spawned_task(std::forward<Awaitable>(awaited), where), eager);
}

} // namespace hob

/// So that tasks may be the keys of a table.
template <class T> struct std::hash<hob::task_handle<T>> {
    [[nodiscard]] std::size_t operator()(const hob::task_handle<T>& handle) const noexcept {
        return std::hash<const void*>()(handle.record_);
    }
};
