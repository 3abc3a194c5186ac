// SPDX-License-Identifier: MIT
// The queue of what runs next: suspended coroutines and callbacks.
#pragma once

#include <cstdint>

namespace hob::detail {

/// Base of what stands in a ready queue. A node is in at most one queue at a time.
class alignas(8) ready_node {
  public:
    ready_node(const ready_node&) = delete;
    ready_node& operator=(const ready_node&) = delete;

    /// True for a `ready_callback`, false for the promise of a suspended coroutine.
    [[nodiscard]] bool is_callback() const noexcept { return (link_ & callback_bit) != 0; }
    /// True for a scope in the queue: of all callbacks only scopes have flags.
    [[nodiscard]] bool is_scope() const noexcept { return (link_ & second_flag) != 0; }
    [[nodiscard]] ready_node* next() const noexcept {
        return reinterpret_cast<ready_node*>(link_ & ~flags);
    }
    void set_next(ready_node* node) noexcept {
        link_ = reinterpret_cast<std::uintptr_t>(node) | (link_ & flags);
    }

  protected:
    // The link's lowest bits hold the kind, and two flags of whatever the node is part of: a
    // million sleeping tasks notice every word.
    static constexpr std::uintptr_t callback_bit = 1;
    static constexpr std::uintptr_t first_flag = 2;
    static constexpr std::uintptr_t second_flag = 4;

    explicit ready_node(std::uintptr_t kind) noexcept : link_(kind) {}
    ~ready_node() = default;

    [[nodiscard]] bool has_flag(std::uintptr_t flag) const noexcept { return (link_ & flag) != 0; }
    void set_flag(std::uintptr_t flag) noexcept { link_ |= flag; }
    void clear_flag(std::uintptr_t flag) noexcept { link_ &= ~flag; }

  private:
    static constexpr std::uintptr_t flags = callback_bit | first_flag | second_flag;
    std::uintptr_t link_;
};

/// A node that the loop runs by a call.
class ready_callback : public ready_node {
  public:
    virtual void run() noexcept = 0;
    /// In place of `run` when the loop closes first.
    virtual void discard() noexcept {}

  protected:
    ready_callback() noexcept : ready_node(callback_bit) {}
    ~ready_callback() = default;
};

/// First in, first out; intrusive.
class ready_queue {
  public:
    ready_queue() = default;
    ready_queue(const ready_queue&) = delete;
    ready_queue& operator=(const ready_queue&) = delete;

    [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
    [[nodiscard]] ready_node* front() const noexcept { return first_; }
    /// Of a queue that is not empty.
    [[nodiscard]] ready_node* back() const noexcept { return last_; }

    void push(ready_node& node) noexcept {
        node.set_next(nullptr);
        if (first_ == nullptr)
            first_ = &node;
        else
            last_->set_next(&node);
        last_ = &node;
    }

    /// Takes the first node of a queue that is not empty.
    ready_node& pop() noexcept {
        ready_node& node = *first_;
        first_ = node.next();
        return node;
    }

  private:
    ready_node* first_ = nullptr;
    ready_node* last_ = nullptr;
};

} // namespace hob::detail
