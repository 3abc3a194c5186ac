// SPDX-License-Identifier: MIT
// What keeps a spawned task while it runs, and its outcome for the handles.
#pragma once

#include <hob/core/context.hpp>
#include <hob/core/reactor.hpp>
#include <hob/core/result.hpp>
#include <hob/core/task_scope.hpp>
#include <hob/task.hpp>

#include <exception>
#include <memory>
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
    static void remove_watcher(task_watcher& watcher) noexcept {
        intrusive_list<task_watcher>::remove(watcher);
    }
    /// Somebody has seen how it ended: an exception need not be reported.
    void mark_retrieved() noexcept { retrieved_ = true; }

  protected:
    using task_scope::task_scope;
    ~joinable_task() = default;

    /// The keeper lets go, and whoever watches is told.
    void ended(const std::exception_ptr& error) noexcept {
        failed_ = error != nullptr;
        leave_owner(error);
        while (!watchers_.empty())
            watchers_.pop_front().task_ended();
        if (failed_ && !retrieved_) [[unlikely]] {
            reactor& loop = reactor::here();
            change_keeper(loop);
            loop.failed_tasks().push_back(*this);
        }
        release();
    }
    [[nodiscard]] bool is_retrieved() const noexcept { return retrieved_; }

  private:
    bool failed_ = false;
    bool retrieved_ = false;
    intrusive_list<task_watcher> watchers_;
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
            keep_trace();
            // A copy: telling the end may release the record.
            const std::exception_ptr error = outcome_.exception();
            ended(error);
        } else {
            ended(nullptr);
        }
    }
    void stopped() noexcept override { ended(nullptr); }

    [[gnu::cold, gnu::noinline]] void keep_trace() noexcept {
        try {
            details().trace = std::make_unique<exception_trace>(scheduler::here().trace);
        } catch (...) {
            // The report will do without.
        }
    }

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
        if (is_retrieved() || is_fatal(outcome_.exception()))
            return;
        const task_details* const known = details_if_any();
        home().report("an exception left a task that nobody awaited", this, outcome_.exception(),
                      known != nullptr ? known->trace.get() : nullptr);
    }

    outcome<T> outcome_;
};

/// A task without handles that could ask for its value; its exception goes to its keeper.
template <class T> class unjoined_task_base : public task_scope {
  protected:
    using task_scope::task_scope;
    ~unjoined_task_base() = default;

  private:
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
        this->leave_owner(error);
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

/// A new task takes a copy of the context variables of the one that makes it. Throws
/// `std::bad_alloc`, and gives up the record then.
[[gnu::cold, gnu::noinline]] inline void inherit_context(const scheduler& loop, task_scope& child) {
    promise_base* const running = loop.running();
    if (running == nullptr)
        return;
    const task_details* const maker = task_of(running->owner()).details_if_any();
    if (maker == nullptr || maker->variables.empty())
        return;
    try {
        child.details().variables = maker->variables;
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
        inherit_context(loop, *record);
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
