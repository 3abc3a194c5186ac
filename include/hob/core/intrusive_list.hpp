// SPDX-License-Identifier: MIT
// A doubly linked list whose links live in its elements: no allocation, O(1) removal.
#pragma once

namespace hob::detail {

/// Base of an element of an `intrusive_list`. Immovable, because its neighbours point at it.
class list_node {
  public:
    list_node() = default;
    list_node(const list_node&) = delete;
    list_node& operator=(const list_node&) = delete;

    [[nodiscard]] bool is_linked() const noexcept { return next_ != nullptr; }

  protected:
    ~list_node() = default;

  private:
    template <class T> friend class intrusive_list;
    template <class T> friend class compact_list;
    list_node* next_ = nullptr;
    list_node* previous_; // only while linked
};

/// A first-in first-out list of `T`, which derives from `list_node`. Owns nothing.
template <class T> class intrusive_list {
  public:
    intrusive_list() noexcept { head_.next_ = head_.previous_ = &head_; }

    [[nodiscard]] bool empty() const noexcept { return head_.next_ == &head_; }
    [[nodiscard]] T& front() noexcept { return static_cast<T&>(*head_.next_); }

    void push_back(T& element) noexcept {
        list_node& node = element;
        node.next_ = &head_;
        node.previous_ = head_.previous_;
        head_.previous_->next_ = &node;
        head_.previous_ = &node;
    }

    /// Takes a linked element out of whichever list holds it.
    static void remove(T& element) noexcept {
        list_node& node = element;
        node.previous_->next_ = node.next_;
        node.next_->previous_ = node.previous_;
        node.next_ = nullptr;
    }

    T& pop_front() noexcept {
        T& element = front();
        remove(element);
        return element;
    }

    /// Calls `visit(T&)` for each element; the element at hand may be removed meanwhile.
    template <class Visitor> void for_each(Visitor&& visit) {
        for (list_node* node = head_.next_; node != &head_;) {
            list_node* next = node->next_;
            visit(static_cast<T&>(*node));
            node = next;
        }
    }

  private:
    struct head_node : list_node {};
    head_node head_;
};

/// The same in one pointer, and trivially destructible: what is made by the million has one each.
template <class T> class compact_list {
  public:
    [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }

    void push_back(T& element) noexcept {
        list_node& node = element;
        if (first_ == nullptr) {
            node.next_ = node.previous_ = &node;
            first_ = &node;
            return;
        }
        node.next_ = first_;
        node.previous_ = first_->previous_;
        first_->previous_->next_ = &node;
        first_->previous_ = &node;
    }

    void remove(T& element) noexcept {
        list_node& node = element;
        if (node.next_ == &node) {
            first_ = nullptr;
        } else {
            node.previous_->next_ = node.next_;
            node.next_->previous_ = node.previous_;
            if (first_ == &node)
                first_ = node.next_;
        }
        node.next_ = nullptr;
    }

    T& pop_front() noexcept {
        T& element = static_cast<T&>(*first_);
        remove(element);
        return element;
    }

  private:
    list_node* first_ = nullptr;
};

} // namespace hob::detail
