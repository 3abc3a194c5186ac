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

/// A task whose outcome handles may ask for.
class joinable_task : public task_scope {
  public:
    void make_watchable() noexcept final {}
    void add_watcher(task_watcher& watcher) noexcept final { watchers_.push_back(watcher); }
    void remove_watcher(task_watcher& watcher) noexcept final { watchers_.remove(watcher); }
    /// Somebody has seen how it ended: an exception need not be reported.
    void mark_retrieved() noexcept { retrieved_ = true; }

    /// For somebody who asks, when it has ended: the exception, if there is one. Throws
    /// `cancelled_error` if it was stopped.
    [[nodiscard]] std::exception_ptr error() {
        if (has_been_stopped())
            throw_outcome();
        if (!has_failed())
            return nullptr;
        mark_retrieved();
        return error_;
    }

    /// Throws the exception, if there is one.
    void rethrow() const {
        if (has_failed()) [[unlikely]]
            rethrow_error();
    }

    /// For a waiter, when it has ended: throws the exception, or `cancelled_error` if it was
    /// stopped.
    void require_success() {
        if (!has_succeeded()) [[unlikely]]
            throw_outcome();
    }

  protected:
    joinable_task(task_owner& owner, task_origin origin, promise_base& root) noexcept
        : task_scope(owner, origin, &root, keeper_and_handle), watchers_() {}
    ~joinable_task() {} // see `dispose`

    /// The keeper lets go, and whoever watches is told.
    [[gnu::always_inline]] void ended() noexcept {
        leave_owner();
        if (!watchers_.empty())
            tell(watchers_);
        release();
    }
    [[gnu::cold, gnu::noinline]] void ended(const std::exception_ptr& error) noexcept {
        note_failure();
        leave_owner(error);
        if (!watchers_.empty())
            tell(watchers_);
        keep_error(error);
        release();
    }
    void unwound() noexcept final { ended(); }

    /// Destroys the root coroutine, which an exception has left.
    [[gnu::cold, gnu::noinline]] void fail(promise_base& root, std::exception_ptr error) noexcept {
        root.coroutine().destroy();
        ended(error);
    }

    /// Before it is destroyed.
    void dispose() noexcept {
        if (has_failed()) [[unlikely]]
            dispose_error();
        task_scope::dispose();
    }

  private:
    static constexpr unsigned keeper_and_handle = 2; // refer to it

    [[noreturn, gnu::cold, gnu::noinline]] void rethrow_error() const {
        std::rethrow_exception(error_);
    }
    [[noreturn, gnu::cold, gnu::noinline]] void throw_outcome() {
        mark_retrieved();
        if (!has_failed())
            throw cancelled_error(name());
        rethrow_error();
    }
    [[gnu::cold, gnu::noinline]] void dispose_error() noexcept {
        if (is_linked()) {
            intrusive_list<task_scope>::remove(*this);
            report_unretrieved();
        }
        std::destroy_at(&error_);
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
    task_record(task_owner& owner, task_origin origin, promise_base& root) noexcept
        : joinable_task(owner, origin, root) {}

    // Of a task that has succeeded.

    /// Moves the value out.
    T take() {
        if constexpr (std::is_reference_v<T>)
            return static_cast<T>(*value_);
        else
            return std::move(value_);
    }
    /// The value in place.
    decltype(auto) value() const noexcept {
        if constexpr (std::is_reference_v<T>)
            return static_cast<T>(*value_);
        else
            return static_cast<const stored&>(value_);
    }

    // Without a virtual call.

    void release() noexcept {
        if (drop_reference())
            dispose_and_delete();
    }
    /// The root coroutine has returned, and the scope `may_end`.
    [[gnu::always_inline]] void finish(promise_base& root) noexcept {
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

  private:
    ~task_record() {} // see `dispose_and_delete`

    void finished(promise_base& root) noexcept override { finish(root); }
    void destroy() noexcept override { dispose_and_delete(); }
    void dispose_and_delete() noexcept {
        if constexpr (!std::is_trivially_destructible_v<stored>)
            if (has_succeeded())
                std::destroy_at(&value_);
        dispose();
        delete this;
    }

    union {
        stored value_;
    };
};

/// The record of a million sleeping tasks has no room for a value that is none.
template <> class task_record<void> final : public joinable_task {
  public:
    task_record(task_owner& owner, task_origin origin, promise_base& root) noexcept
        : joinable_task(owner, origin, root) {}
    void take() const noexcept {}
    void value() const noexcept {}
    void release() noexcept {
        if (drop_reference())
            dispose_and_delete();
    }
    [[gnu::always_inline]] void finish(promise_base& root) noexcept {
        auto& child = static_cast<promise<void>&>(root);
        if (child.result().state() == outcome_state::exception) [[unlikely]] {
            fail(root, child.result().exception());
            return;
        }
        root.coroutine().destroy();
        ended();
    }

  private:
    ~task_record() = default;

    void finished(promise_base& root) noexcept override { finish(root); }
    void destroy() noexcept override { dispose_and_delete(); }
    void dispose_and_delete() noexcept {
        dispose();
        delete this;
    }
};

/// A task without handles that could ask for its value; its exception goes to its keeper.
template <class T> class unjoined_task_base : public task_scope {
  protected:
    unjoined_task_base(task_owner& owner, task_origin origin, promise_base* root,
                       unsigned references) noexcept
        : task_scope(owner, origin, root, references) {}
    ~unjoined_task_base() = default;

  private:
    void finished(promise_base& root) noexcept override {
        auto& child = static_cast<promise<T>&>(root);
        if (child.result().state() == outcome_state::exception) [[unlikely]] {
            const std::exception_ptr error = child.result().exception();
            root.coroutine().destroy();
            this->note_failure();
            this->leave_owner(error);
            this->tell_watchers_of_details();
            this->release();
        } else {
            root.coroutine().destroy();
            unwound();
        }
    }
    void unwound() noexcept override {
        this->leave_owner();
        this->tell_watchers_of_details();
        this->release();
    }
};

template <class T> class unjoined_task final : public unjoined_task_base<T> {
  public:
    unjoined_task(task_owner& owner, task_origin origin, promise_base& root) noexcept
        : unjoined_task_base<T>(owner, origin, &root, 1) {}

  private:
    ~unjoined_task() = default;
    void destroy() noexcept override {
        this->dispose();
        delete this;
    }
};

/// The context variables of what makes a task, if it has any. Throws `std::bad_alloc`.
[[nodiscard, gnu::cold, gnu::noinline]] inline task_details* inherited_details() {
    const context* const here = find_context();
    if (here == nullptr || here->empty())
        return nullptr;
    auto details = std::make_unique<task_details>();
    details->variables = *here;
    return details.release();
}

/// A new task takes a copy of the context variables of what makes it. Throws `std::bad_alloc`.
[[nodiscard, gnu::always_inline]] inline task_origin originate(reactor& loop) {
    const std::uint32_t number = loop.next_task_number();
    return {number, context::is_used() ? inherited_details() : nullptr};
}

/// Makes the record of a task below `owner`, which is yet to be started, and is the record's then.
/// `Record` is what keeps it.
template <class Record, class T>
[[gnu::always_inline]] inline Record& make_record(reactor& loop, task_owner& owner,
                                                  intrusive_list<task_scope>& siblings,
                                                  task<T>& coroutine) {
    require_root(coroutine);
    auto* const record = new Record(owner, originate(loop), coroutine.root());
    siblings.push_back(*record);
    static_cast<void>(coroutine.release());
    return *record;
}

/// Spawns a task below `owner`: its first step runs in the next turn.
template <class Record, class T>
[[gnu::always_inline]] inline Record& spawn(reactor& loop, task_owner& owner,
                                            intrusive_list<task_scope>& siblings,
                                            task<T>& coroutine, bool born_cancelled) {
    Record& record = make_record<Record>(loop, owner, siblings, coroutine);
    record.start_soon(loop, born_cancelled);
    return record;
}

} // namespace hob::detail
