// SPDX-License-Identifier: MIT
// The scope of a spawned task, and who keeps it.
#pragma once

#include <hob/core/intrusive_list.hpp>
#include <hob/core/scope.hpp>

#include <cstdint>
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
    /// A task has ended. `error` is null unless an exception left it, which is the owner's then.
    virtual void task_ended(task_scope& ended, const std::exception_ptr& error) noexcept = 0;

  protected:
    ~task_owner() = default;
};

/// The root scope of a task, and what people call it. A base of its own for the sake of its size:
/// the number fills the scope's last bytes, which a million sleeping tasks notice.
class named_scope : public scope {
  public:
    /// Given by `set_name`; otherwise "task-N".
    [[nodiscard]] std::string name() const {
        return name_ ? *name_ : "task-" + std::to_string(number_);
    }
    void set_name(std::string name) { name_ = std::make_unique<std::string>(std::move(name)); }

  protected:
    explicit named_scope(std::uint32_t number) noexcept : number_(number) {}
    ~named_scope() = default;

  private:
    std::uint32_t number_;
    std::unique_ptr<std::string> name_;
};

class task_scope : public named_scope, public list_node {
  public:
    [[nodiscard]] scope* parent() const noexcept final { return owner_->owning_scope(); }
    [[nodiscard]] scheduler& home() noexcept final { return owner_->home(); }
    [[nodiscard]] task_scope* as_task() noexcept final { return this; }
    [[nodiscard]] task_owner& keeper() const noexcept { return *owner_; }

    /// A task that has ended outlives its keeper if handles refer to it.
    void change_keeper(task_owner& owner) noexcept { owner_ = &owner; }
    /// The loop closes, which holds this task for the sake of an exception that nobody has seen.
    virtual void tell_failure() noexcept {}

    static void* operator new(std::size_t size) { return frame_pool::allocate(size); }
    static void operator delete(void* memory, std::size_t size) noexcept {
        frame_pool::deallocate(memory, size);
    }

  protected:
    task_scope(task_owner& owner, std::uint32_t number) noexcept
        : named_scope(number), owner_(&owner) {}
    ~task_scope() = default;

  private:
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
