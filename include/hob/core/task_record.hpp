// SPDX-License-Identifier: MIT
// What keeps a spawned task while it runs, and its outcome for the handles.
#pragma once

#include <hob/core/current_context.hpp>
#include <hob/core/reactor.hpp>
#include <hob/core/result.hpp>
#include <hob/core/task_scope.hpp>
#include <hob/task.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace hob::detail {

/// Told when a task has ended: once, in the loop's turn, in the order of registration.
class task_watcher : public list_node {
  public:
    virtual void task_ended() noexcept = 0;

  protected:
    task_watcher() = default;
    ~task_watcher() = default;
};

/// A task whose outcome handles may ask for.
class joinable_task : public task_scope {
  public:
    /// An exception left it.
    [[nodiscard]] bool has_failed() const noexcept { return failed_; }
    void add_watcher(task_watcher& watcher) noexcept { watchers_.push_back(watcher); }
    void remove_watcher(task_watcher& watcher) noexcept { watchers_.remove(watcher); }
    /// Somebody has seen how it ended: an exception need not be reported.
    void mark_retrieved() noexcept { retrieved_ = true; }

    /// Throws the exception, if there is one.
    void rethrow() const {
        if (failed_)
            std::rethrow_exception(error_);
    }

  protected:
    joinable_task(task_owner& owner, std::uint32_t number) noexcept
        : task_scope(owner, number), watchers_() {}
    ~joinable_task() {
        if (failed_)
            std::destroy_at(&error_);
    }

    /// The keeper lets go, and whoever watches is told.
    void ended() noexcept {
        leave_owner();
        tell_watchers();
        release();
    }
    [[gnu::cold, gnu::noinline]] void ended(const std::exception_ptr& error) noexcept {
        failed_ = true;
        leave_owner(error);
        tell_watchers();
        keep_error(error);
        release();
    }
    void stopped() noexcept final { ended(); }

    /// Destroys the root coroutine, which an exception has left.
    [[gnu::cold, gnu::noinline]] void fail(promise_base& root, std::exception_ptr error) noexcept {
        root.coroutine().destroy();
        ended(error);
    }

    /// Before the last reference goes.
    void report_if_unretrieved() noexcept {
        if (failed_ && is_linked()) [[unlikely]] {
            intrusive_list<task_scope>::remove(*this);
            report_unretrieved();
        }
    }

  private:
    void tell_watchers() noexcept {
        while (!watchers_.empty())
            watchers_.pop_front().task_ended();
    }
    void keep_error(const std::exception_ptr& error) noexcept {
        ::new (&error_) std::exception_ptr(error);
        try {
            details().trace = std::make_unique<exception_trace>(scheduler::here().trace);
        } catch (...) {
            // The report will do without.
        }
        if (retrieved_)
            return;
        reactor& loop = reactor::here();
        change_keeper(loop);
        loop.failed_tasks().push_back(*this);
    }
    void tell_failure() noexcept final {
        // The exception handler may drop the last handle.
        keep();
        report_unretrieved();
        release();
    }
    [[gnu::cold, gnu::noinline]] void report_unretrieved() noexcept {
        if (retrieved_ || is_fatal(error_))
            return;
        const task_details* const known = details_if_any();
        home().report("an exception left a task that nobody awaited", this, error_,
                      known != nullptr ? known->trace.get() : nullptr);
    }

    bool failed_ = false;
    bool retrieved_ = false;
    union {
        compact_list<task_watcher> watchers_; // until it has ended
        std::exception_ptr error_;            // if it has failed then
    };
};

template <class T> class task_record final : public joinable_task {
    using stored = std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*,
                                      std::remove_const_t<T>>;

  public:
    task_record(task_owner& owner, std::uint32_t number) noexcept : joinable_task(owner, number) {}

    // Of a task that has ended and was not stopped.

    /// Moves the value out, or throws the exception.
    T get() {
        rethrow();
        if constexpr (std::is_reference_v<T>)
            return static_cast<T>(*value_);
        else
            return std::move(value_);
    }
    /// The value in place, or throws the exception.
    decltype(auto) peek() const {
        rethrow();
        if constexpr (std::is_reference_v<T>)
            return static_cast<T>(*value_);
        else
            return static_cast<const stored&>(value_);
    }

  private:
    ~task_record() {
        if (is_done() && !has_been_stopped() && !has_failed())
            std::destroy_at(&value_);
    }

    void finished(promise_base& root) noexcept override {
        auto& child = static_cast<promise<T>&>(root);
        if (child.result().state() == outcome_state::exception) [[unlikely]] {
            fail(root, child.result().exception());
            return;
        }
        try {
            if constexpr (std::is_reference_v<T>)
                value_ = std::addressof(child.result().get());
            else
                ::new (static_cast<void*>(&value_)) stored(child.result().get());
        } catch (...) {
            fail(root, std::current_exception());
            return;
        }
        root.coroutine().destroy();
        this->ended();
    }
    void destroy() noexcept override {
        report_if_unretrieved();
        delete this;
    }

    union {
        stored value_;
    };
};

/// The record of a million sleeping tasks has no room for a value that is none.
template <> class task_record<void> final : public joinable_task {
  public:
    task_record(task_owner& owner, std::uint32_t number) noexcept : joinable_task(owner, number) {}
    void get() const { rethrow(); }
    void peek() const { rethrow(); }

  private:
    ~task_record() = default;

    void finished(promise_base& root) noexcept override {
        auto& child = static_cast<promise<void>&>(root);
        if (child.result().state() == outcome_state::exception) [[unlikely]] {
            fail(root, child.result().exception());
            return;
        }
        root.coroutine().destroy();
        ended();
    }
    void destroy() noexcept override {
        report_if_unretrieved();
        delete this;
    }
};

/// A task without handles that could ask for its value; its exception goes to its keeper.
template <class T> class unjoined_task_base : public task_scope {
  protected:
    using task_scope::task_scope;
    ~unjoined_task_base() = default;

  private:
    void finished(promise_base& root) noexcept override {
        auto& child = static_cast<promise<T>&>(root);
        if (child.result().state() == outcome_state::exception) [[unlikely]] {
            const std::exception_ptr error = child.result().exception();
            root.coroutine().destroy();
            this->leave_owner(error);
            this->release();
        } else {
            root.coroutine().destroy();
            stopped();
        }
    }
    void stopped() noexcept override {
        this->leave_owner();
        this->release();
    }
};

template <class T> class unjoined_task final : public unjoined_task_base<T> {
  public:
    unjoined_task(task_owner& owner, std::uint32_t number) noexcept
        : unjoined_task_base<T>(owner, number) {}

  private:
    ~unjoined_task() = default;
    void destroy() noexcept override { delete this; }
};

/// A new task takes a copy of the context variables of what makes it. Throws `std::bad_alloc`, and
/// gives up the record then.
[[gnu::cold, gnu::noinline]] inline void inherit_context(task_scope& child) {
    const context* const here = find_context();
    if (here == nullptr || here->empty())
        return;
    try {
        child.details().variables = *here;
    } catch (...) {
        child.release();
        throw;
    }
}

/// Makes the record of a task below `owner`, which is yet to be started. `Record` is what keeps it.
template <class Record, class T, class... Arguments>
Record& make_record(reactor& loop, task_owner& owner, intrusive_list<task_scope>& siblings,
                    const task<T>& coroutine, Arguments&&... arguments) {
    require_root(coroutine);
    auto* const record =
        new Record(owner, loop.next_task_number(), std::forward<Arguments>(arguments)...);
    if (context::is_used()) [[unlikely]]
        inherit_context(*record);
    siblings.push_back(*record);
    return *record;
}

/// Spawns a task below `owner`: its first step runs in the next turn.
template <class Record, class T>
Record& spawn(reactor& loop, task_owner& owner, intrusive_list<task_scope>& siblings,
              task<T>& coroutine, bool born_cancelled) {
    Record& record = make_record<Record>(loop, owner, siblings, coroutine);
    record.start_soon(loop, *coroutine.release(), born_cancelled);
    return record;
}

} // namespace hob::detail
