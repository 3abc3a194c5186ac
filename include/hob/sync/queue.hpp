// SPDX-License-Identifier: MIT
// hob::queue, hob::lifo_queue, hob::priority_queue: items from task to task.
#pragma once

#include <hob/sync/gate.hpp>
#include <hob/sync/item_buffer.hpp>
#include <hob/sync/item_exchange.hpp>

#include <concepts>
#include <cstddef>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace hob {

/// Thrown by puts into a queue that was shut down, and by gets once nothing is left in it.
class queue_shut_down : public std::runtime_error {
  public:
    queue_shut_down() : std::runtime_error("the queue was shut down") {}
};

namespace detail {

class queue_names {
  public:
    static constexpr const char* item = "an item of a queue";
    static constexpr const char* room = "room in a queue";
};

template <class T, class Buffer>
class queue_get final : public get_awaiter<T, Buffer, queue_names> {
  public:
    explicit queue_get(item_exchange<T, Buffer>& source) noexcept
        : get_awaiter<T, Buffer, queue_names>(source) {}
    T await_resume() {
        if (!this->item())
            throw queue_shut_down();
        return *std::move(this->item());
    }
};

template <class T, class Buffer>
class queue_put final : public put_awaiter<T, Buffer, queue_names> {
  public:
    queue_put(item_exchange<T, Buffer>& target, T&& item) noexcept
        : put_awaiter<T, Buffer, queue_names>(target, std::move(item)) {}
    void await_resume() {
        if (!this->was_accepted())
            throw queue_shut_down();
    }
};

/// What the queues have in common: see `hob::queue`.
template <class T, class Buffer> class basic_queue {
  public:
    using value_type = T;

    /// For at most `capacity` items. With 0 nothing is kept: a put waits until its item is taken.
    explicit basic_queue(std::size_t capacity, Buffer buffer = Buffer()) noexcept
        : exchange_(capacity, std::move(buffer)) {}
    /// For any number of items: puts never wait.
    explicit basic_queue(unbounded_t, Buffer buffer = Buffer()) noexcept
        : exchange_(unbounded, std::move(buffer)) {}
    basic_queue(const basic_queue&) = delete;
    basic_queue& operator=(const basic_queue&) = delete;

    /// Awaiting puts the item in, and waits for room first. A task that is cancelled while it waits
    /// has put nothing, and the item is destroyed. Throws `queue_shut_down`; `usage_error` in a
    /// second loop; `std::bad_alloc`, having put nothing; what making a `T` of the item throws.
    template <class U = T>
        requires std::constructible_from<T, U>
    [[nodiscard]] auto put(U&& item) {
        check_item<T, U>();
        return deferred<queue_put<T, Buffer>, item_exchange<T, Buffer>&, T>(
            exchange_, T(std::forward<U>(item)));
    }
    /// Awaiting gives the next item, and waits for one first. A task that is cancelled while it
    /// waits has taken nothing; one that already got its item keeps it. Throws `queue_shut_down`
    /// once nothing is left; `usage_error` in a second loop.
    [[nodiscard]] auto get() noexcept {
        return deferred<queue_get<T, Buffer>, item_exchange<T, Buffer>&>(exchange_);
    }

    /// Puts the item in if that needs no waiting; otherwise returns false and leaves it alone.
    /// Throws like `put`.
    template <class U = T>
        requires std::constructible_from<T, U>
    [[nodiscard]] bool try_put(U&& item) {
        exchange_.enter_without_waiting();
        if (exchange_.is_closed())
            throw queue_shut_down();
        return exchange_.try_accept(std::forward<U>(item));
    }
    /// The next item if there is one. Throws like `get`.
    [[nodiscard]] std::optional<T> try_get() {
        exchange_.enter_without_waiting();
        std::optional<T> item;
        exchange_.take(item);
        if (!item && exchange_.is_closed())
            throw queue_shut_down();
        return item;
    }

    /// How many items it keeps.
    [[nodiscard]] std::size_t size() const noexcept { return exchange_.size(); }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }
    /// The largest `std::size_t` when unbounded.
    [[nodiscard]] std::size_t capacity() const noexcept { return exchange_.capacity(); }

    /// Says that the work on one item that was got is done. Throws `usage_error` when called more
    /// often than items were put, and where the tasks that join belong to another loop.
    void task_done() {
        if (unfinished() == 0)
            throw usage_error("task_done was called more often than items were put");
        finish(1);
    }
    /// Awaiting waits until the work on every item that was put is done. A cancelled waiter leaves
    /// no trace. Throws `usage_error` in a second loop.
    [[nodiscard]] auto join() noexcept {
        return deferred<gate_wait<basic_queue>, basic_queue&>(*this);
    }
    /// How many items were put on which the work is not done.
    [[nodiscard]] std::size_t unfinished() const noexcept {
        return exchange_.accepted() - finished_;
    }

    /// Refuses all puts from now on, also those that wait. What is in the queue can still be got;
    /// then, or at once if `immediate`, which drops the items and counts the work on them as done,
    /// gets are refused too. Throws `usage_error` where the waiting tasks belong to another loop.
    void shutdown(bool immediate = false) {
        line_.enter_to_open();
        exchange_.close();
        if (immediate && size() != 0) {
            const std::size_t count = size();
            const Buffer dropped = exchange_.take_all();
            finish(count);
        }
    }
    [[nodiscard]] bool is_shut_down() const noexcept { return exchange_.is_closed(); }

  private:
    friend class gate_wait<basic_queue>;
    static constexpr const char* gate_name = "the work on a queue's items";
    [[nodiscard]] bool is_open() const noexcept { return unfinished() == 0; }

    void finish(std::size_t count) {
        if (count == unfinished())
            line_.enter_to_open();
        finished_ += count;
        if (is_open())
            line_.let_pass();
    }

    item_exchange<T, Buffer> exchange_;
    gate_line line_;
    std::size_t finished_ = 0;
};

} // namespace detail

/// Items come out in the order in which they were put, and tasks that wait, for an item or for
/// room, are served in the order of coming; nobody gets ahead. Memory is allocated when the queue
/// becomes longer than it ever was, and not otherwise.
///
///     hob::queue<std::string> lines(64);
///     co_await lines.put("hello");
///     std::string line = co_await lines.get();
///
/// Items are moved without exceptions, or refused by the compiler. Belongs to the first loop in
/// which it is used; before, it may be filled outside of any. Must not be destroyed while a task
/// waits.
template <class T> class queue : public detail::basic_queue<T, detail::fifo_buffer<T>> {
  public:
    explicit queue(std::size_t capacity) noexcept : queue::basic_queue(capacity) {}
    explicit queue(unbounded_t) noexcept : queue::basic_queue(unbounded) {}
};

/// A `queue` that gives the item first that was put last.
template <class T> class lifo_queue : public detail::basic_queue<T, detail::lifo_buffer<T>> {
  public:
    explicit lifo_queue(std::size_t capacity) noexcept : lifo_queue::basic_queue(capacity) {}
    explicit lifo_queue(unbounded_t) noexcept : lifo_queue::basic_queue(unbounded) {}
};

/// A `queue` that gives the least of its items first, as asyncio's does, and of equal ones the one
/// that was put first. `Compare` orders them; it must not throw. An item that waits for room is not
/// compared yet.
template <class T, class Compare = std::less<T>>
class priority_queue : public detail::basic_queue<T, detail::priority_buffer<T, Compare>> {
    using buffer = detail::priority_buffer<T, Compare>;

  public:
    explicit priority_queue(std::size_t capacity, Compare before = Compare())
        : priority_queue::basic_queue(capacity, buffer(std::move(before))) {}
    explicit priority_queue(unbounded_t, Compare before = Compare())
        : priority_queue::basic_queue(unbounded, buffer(std::move(before))) {}
};

} // namespace hob
