// SPDX-License-Identifier: MIT
// hob::create_task and the handle to a running task.
#pragma once

#include <hob/core/awaitable.hpp>
#include <hob/core/event_loop.hpp>
#include <hob/core/result.hpp>
#include <hob/task.hpp>

#include <concepts>
#include <coroutine>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

namespace hob {
namespace detail {

/// A coroutine that waits for a task to end.
class join_operation : public operation, public list_node {
  protected:
    join_operation() = default;
    ~join_operation() = default;

  private:
    friend class joinable_task;
};

/// A task that handles may refer to. Counted by them and, until it has ended, by its keeper.
class joinable_task : public task_scope {
  public:
    void keep() noexcept { ++references_; }
    void release() noexcept {
        if (--references_ == 0)
            destroy();
    }

    [[nodiscard]] bool was_stopped() const noexcept { return end_ == end::stopped; }
    void add_waiter(join_operation& waiter) noexcept { waiters_.push_back(waiter); }
    static void remove_waiter(join_operation& waiter) noexcept {
        intrusive_list<join_operation>::remove(waiter);
    }
    /// Somebody has seen how it ended: an exception need not be reported.
    void mark_retrieved() noexcept { retrieved_ = true; }

  protected:
    using task_scope::task_scope;
    ~joinable_task() = default;

    virtual void destroy() noexcept = 0;

    /// The keeper lets go, and whoever waits is woken.
    void ended(const std::exception_ptr& error, bool stopped) noexcept {
        end_ = stopped ? end::stopped : end::returned;
        keeper().task_ended(*this, error);
        while (!waiters_.empty())
            wake(waiters_.pop_front());
        if (error && !retrieved_) [[unlikely]] {
            reactor& loop = reactor::here();
            change_keeper(loop);
            loop.failed_tasks().push_back(*this);
        }
        release();
    }
    [[nodiscard]] bool is_retrieved() const noexcept { return retrieved_; }

  private:
    enum class end : unsigned char { pending, returned, stopped };

    static void wake(join_operation& waiter) noexcept { waiter.complete(); }

    intrusive_list<join_operation> waiters_;
    unsigned references_ = 1;
    end end_ = end::pending;
    bool retrieved_ = false;
};

template <class T> class task_record final : public joinable_task {
  public:
    task_record(task_owner& owner, std::uint32_t number) noexcept : joinable_task(owner, number) {}
    [[nodiscard]] outcome<T>& result() noexcept { return outcome_; }

  private:
    ~task_record() = default;

    void finished(promise_base& root) noexcept override {
        auto& child = static_cast<promise<T>&>(root);
        outcome_.take(child.result());
        child.coroutine().destroy();
        if (outcome_.state() == outcome_state::exception) [[unlikely]] {
            trace_.reset(new (std::nothrow) exception_trace(scheduler::here().trace));
            // A copy: telling the end may release the record.
            const std::exception_ptr error = outcome_.exception();
            ended(error, false);
        } else {
            ended(nullptr, false);
        }
    }
    void stopped() noexcept override { ended(nullptr, true); }

    void destroy() noexcept override {
        if (is_linked()) [[unlikely]] {
            intrusive_list<task_scope>::remove(*this);
            report_unretrieved();
        }
        delete this;
    }
    void tell_failure() noexcept override {
        // The exception handler may drop the last handle.
        keep();
        report_unretrieved();
        release();
    }
    [[gnu::cold, gnu::noinline]] void report_unretrieved() noexcept {
        if (!is_retrieved() && !is_fatal(outcome_.exception()))
            home().report("an exception left a task that nobody awaited", this,
                          outcome_.exception(), trace_.get());
    }

    outcome<T> outcome_;
    std::unique_ptr<exception_trace> trace_; ///< only of a failed task
};

/// A task without handles, whose value nobody wants and whose exception goes to its keeper.
template <class T> class unjoined_task final : public task_scope {
  public:
    unjoined_task(task_owner& owner, std::uint32_t number) noexcept : task_scope(owner, number) {}

  private:
    ~unjoined_task() = default;

    void finished(promise_base& root) noexcept override {
        auto& child = static_cast<promise<T>&>(root);
        const std::exception_ptr error = child.result().state() == outcome_state::exception
                                             ? child.result().exception()
                                             : nullptr;
        child.coroutine().destroy();
        ended(error);
    }
    void stopped() noexcept override { ended(nullptr); }

    void ended(const std::exception_ptr& error) noexcept {
        keeper().task_ended(*this, error);
        delete this;
    }
};

/// Spawns a task below `owner`: its first step runs in the next turn. `Record` is what keeps it.
template <class Record, class T>
Record& spawn(reactor& loop, task_owner& owner, intrusive_list<task_scope>& siblings,
              task<T>& coroutine, bool born_cancelled) {
    require_root(coroutine);
    auto* const record = new Record(owner, loop.next_task_number());
    siblings.push_back(*record);
    record->start_soon(loop, *coroutine.release(), born_cancelled);
    return *record;
}

template <class T> class join_awaiter_base : public join_operation {
  public:
    /// Takes over one reference.
    explicit join_awaiter_base(task_record<T>& target) noexcept : target_(target) {}

    [[nodiscard]] bool await_ready() const noexcept {
        return target_.is_done() && scheduler::here().spend_budget();
    }
    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        promise_base& waiter = awaiting.promise();
        if (!target_.is_done() && &target_.home() != &scheduler::here())
            throw usage_error("a task was awaited in another loop than its own");
        // A task that has not run yet awaits nobody.
        if (target_.is_started() && &task_of(waiter.owner()) == &target_)
            throw usage_error("a task awaits itself");
        if (begin(waiter)) {
            if (target_.is_done())
                complete();
            else
                target_.add_waiter(*this);
        }
        return true;
    }

  protected:
    ~join_awaiter_base() { target_.release(); }

    /// Throws if the task was cancelled.
    outcome<T>& joined() {
        target_.mark_retrieved();
        if (target_.was_stopped())
            throw cancelled_error(target_.name());
        return target_.result();
    }

  private:
    void cancel() noexcept final {
        joinable_task::remove_waiter(*this);
        stop();
    }
    [[nodiscard]] std::string describe() const final { return "task '" + target_.name() + "'"; }

    task_record<T>& target_;
};

/// For a handle that others may share: the value stays in the task.
template <class T> class shared_join_awaiter final : public join_awaiter_base<T> {
  public:
    using join_awaiter_base<T>::join_awaiter_base;
    decltype(auto) await_resume() { return this->joined().peek(); }
};

/// For a handle that is given away: the value is moved out.
template <class T> class owning_join_awaiter final : public join_awaiter_base<T> {
  public:
    using join_awaiter_base<T>::join_awaiter_base;
    T await_resume() { return this->joined().get(); }
};

} // namespace detail

/// Refers to a task that the loop or a group runs. Copies refer to the same task; dropping all of
/// them neither cancels nor destroys it. An exception that no handle ever retrieves is reported
/// to the loop's exception handler once.
///
/// `co_await handle` waits for the end and gives a reference to the value, for any number of
/// waiters, who wake in the order in which they came; `co_await std::move(handle)` moves the value
/// out. Both rethrow the task's exception, and throw `cancelled_error` if the task was cancelled.
/// Cancelling a waiter leaves the task running.
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
    bool cancel() const {
        if (done())
            return false;
        detail::scheduler& home = record_->home();
        if (&home != detail::current_scheduler)
            home.require_usable();
        return record_->cancel(home);
    }
    /// Whether the task has ended, in whichever way.
    [[nodiscard]] bool done() const noexcept { return record_->is_done(); }
    /// Whether the task has ended by being cancelled.
    [[nodiscard]] bool cancelled() const noexcept { return record_->was_stopped(); }

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

    explicit task_handle(detail::task_record<T>& record) noexcept : record_(&record) {
        record.keep();
    }

    friend bool operator==(const task_handle&, const task_handle&) = default;

  private:
    void require() const {
        if (record_ == nullptr)
            throw usage_error("an empty task_handle was awaited");
    }

    detail::task_record<T>* record_ = nullptr;
};

/// Starts `coroutine` as a task of the running loop, which owns it from then on: its first step
/// runs in the next turn, after this call has returned. Throws `no_running_loop_error`,
/// `usage_error` for a task that was awaited before, `std::bad_alloc`.
///
/// A task that is cancelled is stopped where it waits: its operation is ended first, and if that
/// completes all the same, its result is delivered and the stop comes at the next suspension.
/// Then its frames are destroyed, innermost first; destructors run, `catch` blocks do not.
template <class T> task_handle<T> create_task(task<T> coroutine) {
    detail::reactor& loop = detail::reactor::current();
    return task_handle<T>(
        detail::spawn<detail::task_record<T>>(loop, loop, loop.tasks(), coroutine, false));
}

} // namespace hob
