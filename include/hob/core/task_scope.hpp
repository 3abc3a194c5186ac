// SPDX-License-Identifier: MIT
// The scope of a spawned task, and who keeps it.
#pragma once

#include <hob/core/context.hpp>
#include <hob/core/exception_trace.hpp>
#include <hob/core/intrusive_list.hpp>
#include <hob/core/scope.hpp>
#include <hob/core/task_watcher.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

namespace hob::detail {

/// Who a task belongs to: the loop or a group.
class task_owner {
  public:
    /// The scope that a task of this owner hangs below; null for the loop.
    [[nodiscard]] virtual scope* owning_scope() const noexcept = 0;
    [[nodiscard]] virtual scheduler& home() noexcept = 0;
    /// A task has ended, and is in no list any more. `error` is null unless an exception left it,
    /// which is the owner's then.
    virtual void task_ended(task_scope& ended, const std::exception_ptr& error) noexcept = 0;
    /// It is told of failures only, which spares every other end a virtual call.
    [[nodiscard]] bool ignores_success() const noexcept { return told_of_ == ends::failures; }

  protected:
    enum class ends : unsigned char { all, failures };

    explicit task_owner(ends told_of = ends::all) noexcept : told_of_(told_of) {}
    ~task_owner() = default;

  private:
    ends told_of_;
};

/// What few tasks have, kept apart for the sake of the size of the others.
class task_details {
  public:
    std::string name; ///< empty: not set
    context variables;
    std::unique_ptr<exception_trace> trace; ///< only of a failed task
    compact_list<task_watcher> watchers;    ///< of a task that has no list of its own
};

/// What a new task gets from what makes it.
struct task_origin {
    std::uint32_t number;
    task_details* details; ///< null while there are none
};

/// Counted by the handles to it and, until it has ended, by its keeper.
class task_scope : public scope, public list_node {
  public:
    /// Given by `set_name`; otherwise "task-N".
    [[nodiscard]] std::string name() const {
        return details_ != nullptr && !details_->name.empty() ? details_->name
                                                              : "task-" + std::to_string(number_);
    }
    /// Copies it, cut to fit, without allocating: for a signal handler on the task's own thread.
    void copy_name(char* text, std::size_t size) const noexcept {
        if (details_ != nullptr && !details_->name.empty())
            std::snprintf(text, size, "%s", details_->name.c_str());
        else
            std::snprintf(text, size, "task-%u", static_cast<unsigned>(number_));
    }
    void set_name(std::string name) { details().name = std::move(name); }

    /// Throws `std::bad_alloc`.
    [[nodiscard]] task_details& details() {
        if (details_ == nullptr)
            details_ = new task_details;
        return *details_;
    }
    [[nodiscard]] const task_details* details_if_any() const noexcept { return details_; }

    void keep() noexcept { ++references_; }
    void release() noexcept {
        if (drop_reference())
            destroy();
    }

    [[nodiscard]] scope* parent() const noexcept final { return owner_->owning_scope(); }
    [[nodiscard]] scheduler& home() noexcept final { return owner_->home(); }
    [[nodiscard]] task_scope* as_task() noexcept final { return this; }
    /// Makes room for watchers, before the first one comes. Throws `std::bad_alloc`.
    virtual void make_watchable() { static_cast<void>(details()); }
    // While it has not ended.
    virtual void add_watcher(task_watcher& watcher) noexcept {
        details_->watchers.push_back(watcher);
    }
    virtual void remove_watcher(task_watcher& watcher) noexcept {
        details_->watchers.remove(watcher);
    }

    [[nodiscard]] task_owner& keeper() const noexcept { return *owner_; }

    /// A task changes hands, or has ended and outlives its keeper because handles refer to it.
    void change_keeper(task_owner& owner) noexcept { owner_ = &owner; }
    /// The loop closes, which holds this task for the sake of an exception that nobody has seen.
    virtual void tell_failure() noexcept {}

    [[gnu::always_inline]] static void* operator new(std::size_t size) {
        return frame_pool::allocate(size);
    }
    [[gnu::always_inline]] static void operator delete(void* memory, std::size_t size) noexcept {
        frame_pool::deallocate(memory, size);
    }

  protected:
    /// One of the `references` is its keeper's.
    task_scope(task_owner& owner, task_origin origin, promise_base* root,
               unsigned references) noexcept
        : scope(root, origin.number, references), details_(origin.details), owner_(&owner) {}
    ~task_scope() = default;
    /// Before it is destroyed, see `check_ended`.
    void dispose() noexcept {
        check_ended();
        if (details_ != nullptr) [[unlikely]]
            delete_details();
    }

    /// Whether this was the last reference.
    [[nodiscard]] bool drop_reference() noexcept { return --references_ == 0; }

    /// Takes it from its owner: it has returned, or was stopped.
    [[gnu::always_inline]] void leave_owner() noexcept {
        intrusive_list<task_scope>::remove(*this);
        if (!owner_->ignores_success())
            owner_->task_ended(*this, nullptr);
    }
    /// The same after an exception has left it.
    void leave_owner(const std::exception_ptr& error) noexcept {
        intrusive_list<task_scope>::remove(*this);
        owner_->task_ended(*this, error);
    }

    /// For tasks that have no list of their own: it has ended.
    [[gnu::always_inline]] void tell_watchers_of_details() noexcept {
        if (details_ != nullptr) [[unlikely]]
            tell(details_->watchers);
    }
    [[gnu::noinline]] static void tell(compact_list<task_watcher>& watchers) noexcept {
        while (!watchers.empty())
            watchers.pop_front().task_ended();
    }

    virtual void destroy() noexcept = 0;

  private:
    [[gnu::cold, gnu::noinline]] void delete_details() noexcept { delete details_; }

    task_details* details_;
    task_owner* owner_;
};

/// The task that a scope belongs to. Every chain of parents ends at one.
[[nodiscard]] inline task_scope& task_of(scope& inner) noexcept {
    scope* each = &inner;
    while (each->as_task() == nullptr)
        each = each->parent();
    return *each->as_task();
}

} // namespace hob::detail
