// SPDX-License-Identifier: MIT
// What a queue keeps its items in: first in first out, last in first out, or by priority.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace hob::detail {

// Each buffer has: `make_room()`, which allocates for one more item if need be, and may throw;
// `push`, which then does not; `pop`, of a buffer that is not empty; `size`; `space`, the size that
// it can have without allocating. None gives memory back while it lives, so that one that has found
// its size never allocates.

inline constexpr std::size_t smallest_buffer = 16;

/// A ring.
template <class T> class fifo_buffer {
  public:
    fifo_buffer() = default;
    fifo_buffer(fifo_buffer&& other) noexcept
        : items_(std::exchange(other.items_, nullptr)), space_(std::exchange(other.space_, 0)),
          first_(other.first_), end_(std::exchange(other.end_, other.first_)) {}
    fifo_buffer& operator=(fifo_buffer&&) = delete;
    ~fifo_buffer() {
        while (size() != 0)
            pop();
        release();
    }

    [[nodiscard]] std::size_t size() const noexcept { return end_ - first_; }
    [[nodiscard]] std::size_t space() const noexcept { return space_; }
    void make_room() {
        if (size() == space_) [[unlikely]]
            grow();
    }
    void push(T&& item) noexcept {
        std::construct_at(place(end_), std::move(item));
        ++end_;
    }
    T pop() noexcept {
        T* const front = place(first_);
        T item = std::move(*front);
        std::destroy_at(front);
        ++first_;
        return item;
    }

  private:
    /// The place of the item with this number. The space is a power of two.
    [[nodiscard]] T* place(std::size_t number) const noexcept {
        return items_ + (number & (space_ - 1));
    }

    [[gnu::noinline]] void grow() {
        const std::size_t wider = std::max(smallest_buffer, 2 * space_);
        T* const items = std::allocator<T>().allocate(wider);
        const std::size_t count = size();
        for (std::size_t index = 0; index != count; ++index)
            std::construct_at(items + index, pop());
        release();
        items_ = items;
        space_ = wider;
        first_ = 0;
        end_ = count;
    }
    void release() noexcept {
        if (items_ != nullptr)
            std::allocator<T>().deallocate(items_, space_);
    }

    T* items_ = nullptr;
    std::size_t space_ = 0;
    // Items are numbered in the order in which they came.
    std::size_t first_ = 0;
    std::size_t end_ = 0;
};

/// Makes room in a vector for one more element.
template <class Element> void make_room_in(std::vector<Element>& elements) {
    if (elements.size() == elements.capacity()) [[unlikely]]
        elements.reserve(std::max(smallest_buffer, 2 * elements.size()));
}

/// A stack.
template <class T> class lifo_buffer {
  public:
    [[nodiscard]] std::size_t size() const noexcept { return items_.size(); }
    [[nodiscard]] std::size_t space() const noexcept { return items_.capacity(); }
    void make_room() { make_room_in(items_); }
    void push(T&& item) noexcept { items_.push_back(std::move(item)); }
    T pop() noexcept {
        T item = std::move(items_.back());
        items_.pop_back();
        return item;
    }

  private:
    std::vector<T> items_;
};

/// A heap. Equals leave in the order in which they came.
template <class T, class Compare> class priority_buffer {
    static_assert(std::is_nothrow_move_assignable_v<T>,
                  "hob: the items of a priority queue are moved by assignment without exceptions");

  public:
    explicit priority_buffer(Compare before = Compare()) : leaves_later_{std::move(before)} {}

    [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
    [[nodiscard]] std::size_t space() const noexcept { return entries_.capacity(); }
    void make_room() { make_room_in(entries_); }
    void push(T&& item) noexcept {
        entries_.push_back(entry{std::move(item), pushed_++});
        std::push_heap(entries_.begin(), entries_.end(), leaves_later_);
    }
    T pop() noexcept {
        std::pop_heap(entries_.begin(), entries_.end(), leaves_later_);
        T item = std::move(entries_.back().item);
        entries_.pop_back();
        return item;
    }

  private:
    struct entry {
        T item;
        std::uint64_t number;
    };
    struct later {
        bool operator()(const entry& left, const entry& right) const {
            if (before(right.item, left.item))
                return true;
            return !before(left.item, right.item) && right.number < left.number;
        }
        [[no_unique_address]] Compare before;
    };

    std::vector<entry> entries_;
    std::uint64_t pushed_ = 0;
    [[no_unique_address]] later leaves_later_;
};

} // namespace hob::detail
