// SPDX-License-Identifier: MIT
// The pending timers, ordered by deadline and, among equals, by creation.
#pragma once

#include <hob/core/check.hpp>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>
#include <type_traits>

namespace hob::detail {

/// The loop's clock. Only ever monotonic: setting the wall clock changes nothing.
using clock = std::chrono::steady_clock;
using time_point = std::chrono::time_point<clock, std::chrono::nanoseconds>;

/// `now + delay` without overflow; a negative delay gives a deadline in the past.
[[nodiscard]] constexpr time_point saturating_add(time_point now,
                                                  std::chrono::nanoseconds delay) noexcept {
    std::int64_t sum = 0;
    if (__builtin_add_overflow(now.time_since_epoch().count(), delay.count(), &sum))
        return delay.count() > 0 ? time_point::max() : time_point::min();
    return time_point(std::chrono::nanoseconds(sum));
}

/// A duration of any period and representation in nanoseconds, rounded up so that no timer fires
/// early, and saturated at the ends. The caller has rejected NaN.
template <class Rep, class Period>
[[nodiscard]] constexpr std::chrono::nanoseconds
saturating_nanoseconds(std::chrono::duration<Rep, Period> delay) noexcept {
    using nanoseconds = std::chrono::nanoseconds;
    using approximate = std::chrono::duration<long double, std::nano>;
    const approximate wide = delay;
    if (wide >= approximate(nanoseconds::max()))
        return nanoseconds::max();
    if (wide <= approximate(nanoseconds::min()))
        return nanoseconds::min();
    return std::chrono::ceil<nanoseconds>(delay);
}
[[nodiscard]] constexpr std::chrono::nanoseconds
saturating_nanoseconds(std::chrono::nanoseconds delay) noexcept {
    return delay;
}

/// Base of what waits in a `timer_queue`.
class timer_node {
  public:
    timer_node(const timer_node&) = delete;
    timer_node& operator=(const timer_node&) = delete;

    [[nodiscard]] bool is_armed() const noexcept { return index_ != unarmed; }
    [[nodiscard]] time_point deadline() const noexcept { return deadline_; }
    /// Only while not armed.
    void set_deadline(time_point deadline) noexcept { deadline_ = deadline; }

  protected:
    timer_node() = default;
    ~timer_node() = default;

  private:
    friend class timer_queue;
    static constexpr std::uint32_t unarmed = std::numeric_limits<std::uint32_t>::max();

    time_point deadline_;
    std::uint32_t index_ = unarmed;
    std::uint32_t sequence_ = 0;
};

/// A heap with four children a node, which touches fewer cache lines than a binary one. Insertion
/// and removal of any timer are O(log n).
class timer_queue {
  public:
    timer_queue() = default;
    timer_queue(const timer_queue&) = delete;
    timer_queue& operator=(const timer_queue&) = delete;
    ~timer_queue() { std::free(heap_); }

    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
    /// The earliest deadline. Only while not empty.
    [[nodiscard]] time_point next_deadline() const noexcept { return heap_[0].deadline; }

    /// Throws `std::bad_alloc`, and then changes nothing.
    void insert(timer_node& timer) {
        if (size_ == capacity_) [[unlikely]]
            if (!resize(capacity_ == 0 ? smallest_capacity : capacity_ * 2))
                throw std::bad_alloc();
        timer.sequence_ = next_sequence_++;
        heap_[size_] = {timer.deadline_, &timer};
        sift_up(size_++);
    }

    void remove(timer_node& timer) noexcept {
        const std::size_t hole = timer.index_;
        check(hole < size_ && heap_[hole].timer == &timer, "a timer lost its place");
        timer.index_ = timer_node::unarmed;
        const entry last = heap_[--size_];
        if (hole == size_)
            return;
        heap_[hole] = last;
        last.timer->index_ = static_cast<std::uint32_t>(hole);
        if (hole != 0 && before(last, heap_[(hole - 1) / arity]))
            sift_up(hole);
        else
            sift_down(hole);
        // Gives memory back after a burst; keeping it is no error.
        if (size_ < capacity_ / 4 && capacity_ > smallest_capacity) [[unlikely]]
            resize(capacity_ / 2);
    }

    /// Takes the earliest timer. Only while not empty.
    [[nodiscard]] timer_node& pop() noexcept {
        timer_node& first = *heap_[0].timer;
        remove(first);
        return first;
    }

  private:
    struct entry {
        time_point deadline;
        timer_node* timer;
    };
    static constexpr std::size_t arity = 4;
    static constexpr std::size_t smallest_capacity = 1024;

    static bool before(const entry& left, const entry& right) noexcept {
        if (left.deadline != right.deadline)
            return left.deadline < right.deadline;
        // The difference, so that the order survives a wrap of the counter.
        return static_cast<std::int32_t>(left.timer->sequence_ - right.timer->sequence_) < 0;
    }

    void place(std::size_t index, const entry& moved) noexcept {
        heap_[index] = moved;
        moved.timer->index_ = static_cast<std::uint32_t>(index);
    }

    void sift_up(std::size_t index) noexcept {
        const entry moved = heap_[index];
        while (index != 0) {
            const std::size_t parent = (index - 1) / arity;
            if (!before(moved, heap_[parent]))
                break;
            place(index, heap_[parent]);
            index = parent;
        }
        place(index, moved);
    }

    void sift_down(std::size_t index) noexcept {
        const entry moved = heap_[index];
        for (;;) {
            const std::size_t first = index * arity + 1;
            if (first >= size_)
                break;
            std::size_t least = first;
            const std::size_t end = first + arity < size_ ? first + arity : size_;
            for (std::size_t child = first + 1; child < end; ++child)
                if (before(heap_[child], heap_[least]))
                    least = child;
            if (!before(heap_[least], moved))
                break;
            place(index, heap_[least]);
            index = least;
        }
        place(index, moved);
    }

    /// Not a vector: realloc moves a large heap without a second copy of it.
    bool resize(std::size_t capacity) noexcept {
        static_assert(std::is_trivially_copyable_v<entry>);
        void* const moved = std::realloc(static_cast<void*>(heap_), capacity * sizeof(entry));
        if (moved == nullptr)
            return false;
        heap_ = static_cast<entry*>(moved);
        capacity_ = capacity;
        return true;
    }

    entry* heap_ = nullptr;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
    std::uint32_t next_sequence_ = 0;
};

} // namespace hob::detail
