// SPDX-License-Identifier: MIT
// How items get from those who put to those who get: the heart of queues and channels.
#pragma once

#include <hob/core/awaitable.hpp>
#include <hob/core/callable.hpp>
#include <hob/core/late.hpp>
#include <hob/sync/waiter_list.hpp>

#include <algorithm>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace hob {

/// Says that a queue or channel takes any number of items. A capacity of 0 is a rendezvous.
struct unbounded_t {
    explicit unbounded_t() = default;
};
inline constexpr unbounded_t unbounded{};

namespace detail {

template <class T, class Buffer> class item_exchange;

/// GCC before 13 destroys an aggregate that is a temporary of a `co_await` expression twice; so a
/// closure, which may also hide behind a conversion to `T`.
template <class T, class U>
inline constexpr bool is_safe_item =
    !destroys_temporaries_twice || !std::is_class_v<U> || std::is_trivially_destructible_v<U> ||
    (!std::is_aggregate_v<U> && (std::same_as<T, U> || !fragile_temporary<U>));

/// For every public function that takes an item as `U&&` and returns something to be awaited.
template <class T, class U> consteval void check_item() {
    static_assert(is_safe_item<T, U>,
                  "hob: this compiler (GCC before 13) destroys such a temporary item of a co_await "
                  "expression twice. Give the item's type a constructor, or put a named item, "
                  "which is copied: `item next{...}; co_await queue.put(next);`");
}

/// Waits in the line for an item. Ends without one if the exchange is closed and empty.
template <class T, class Buffer> class get_operation final : public waiter {
  public:
    using exchange_type = item_exchange<T, Buffer>;

    /// `slot` is empty; `what` says for people what is waited for.
    get_operation(exchange_type& source, std::optional<T>& slot, const char* what) noexcept
        : exchange_(source), slot_(slot), what_(what) {}

    void start(promise_base& caller) noexcept {
        if (!begin(caller))
            return;
        if (exchange_.can_get()) {
            exchange_.take(slot_);
            complete();
        } else {
            exchange_.add(*this);
        }
    }

  private:
    friend exchange_type;
    [[nodiscard]] std::string describe() const override {
        return exchange_.describe_getters(what_);
    }

    exchange_type& exchange_;
    std::optional<T>& slot_;
    const char* what_;
};

/// Waits in the line for room. Ends without having put its item if the exchange is closed.
template <class T, class Buffer> class put_operation final : public waiter {
  public:
    using exchange_type = item_exchange<T, Buffer>;

    /// `accepted` is false, and will tell how it ended.
    put_operation(exchange_type& target, T& item, bool& accepted, const char* what) noexcept
        : exchange_(target), item_(item), accepted_(accepted), what_(what) {}

    void start(promise_base& caller) noexcept {
        if (!begin(caller))
            return;
        if (exchange_.can_put()) {
            accepted_ = exchange_.accept(item_);
            complete();
        } else {
            exchange_.add(*this);
        }
    }

  private:
    friend exchange_type;
    [[nodiscard]] std::string describe() const override {
        return exchange_.describe_putters(what_);
    }

    exchange_type& exchange_;
    T& item_;
    bool& accepted_;
    const char* what_;
};

/// Gets an item, and waits for one if need be. `Names` says for people what is waited for.
template <class T, class Buffer, class Names> class get_awaiter : public awaiter_base {
  public:
    using exchange_type = item_exchange<T, Buffer>;

    get_awaiter(const get_awaiter&) = delete;
    get_awaiter& operator=(const get_awaiter&) = delete;

    [[nodiscard, gnu::always_inline]] bool await_ready() {
        scheduler& loop = exchange_.enter();
        if (exchange_.size() == 0) [[unlikely]]
            return get_past_buffer();
        if (!loop.spend_budget())
            return false;
        exchange_.take_from_buffer(item_);
        return true;
    }
    template <hob_promise Promise>
    void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
        waiting_.make(exchange_, item_, Names::item).start(awaiting.promise());
    }

  protected:
    explicit get_awaiter(exchange_type& source) noexcept : exchange_(source) {}
    ~get_awaiter() = default;

    /// Empty if the exchange is closed and nothing is left.
    [[nodiscard]] std::optional<T>& item() noexcept { return item_; }

  private:
    /// From who waits to put, or the end.
    [[nodiscard, gnu::noinline]] bool get_past_buffer() noexcept {
        if (!exchange_.can_get() || !scheduler::here().spend_budget())
            return false;
        exchange_.take(item_);
        return true;
    }

    exchange_type& exchange_;
    std::optional<T> item_;
    late<get_operation<T, Buffer>> waiting_;
};

/// Puts an item, and waits for room if need be.
template <class T, class Buffer, class Names> class put_awaiter : public awaiter_base {
  public:
    using exchange_type = item_exchange<T, Buffer>;

    put_awaiter(const put_awaiter&) = delete;
    put_awaiter& operator=(const put_awaiter&) = delete;

    [[nodiscard, gnu::always_inline]] bool await_ready() {
        scheduler& loop = exchange_.enter();
        if (!exchange_.has_ready_room()) [[unlikely]]
            return put_past_buffer();
        if (!loop.spend_budget())
            return false;
        exchange_.put_into_buffer(item_);
        accepted_ = true;
        return true;
    }
    template <hob_promise Promise>
    void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
        waiting_.make(exchange_, item_, accepted_, Names::room).start(awaiting.promise());
    }

  protected:
    put_awaiter(exchange_type& target, T&& item) noexcept
        : exchange_(target), item_(std::move(item)) {}
    ~put_awaiter() = default;

    /// False if the exchange is closed.
    [[nodiscard]] bool was_accepted() const noexcept { return accepted_; }

  private:
    /// To who waits for an item, or into a buffer that has to grow first, or a refusal.
    [[nodiscard, gnu::noinline]] bool put_past_buffer() {
        if (!exchange_.can_put())
            return false;
        exchange_.make_room();
        if (!scheduler::here().spend_budget())
            return false;
        accepted_ = exchange_.accept(item_);
        return true;
    }

    exchange_type& exchange_;
    T item_;
    bool accepted_ = false;
    late<put_operation<T, Buffer>> waiting_;
};

/// A buffer of limited size and the lines of those who wait for it. While there are items nobody
/// waits for one, and while there is room nobody waits for that.
template <class T, class Buffer> class item_exchange {
    static_assert(std::is_object_v<T> && !std::is_const_v<T> &&
                      std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>,
                  "hob: items are moved without exceptions, so that none is ever lost: put others "
                  "into a std::unique_ptr");

  public:
    using getter = get_operation<T, Buffer>;
    using putter = put_operation<T, Buffer>;

    explicit item_exchange(std::size_t capacity, Buffer buffer = Buffer()) noexcept
        : buffer_(std::move(buffer)), capacity_(capacity) {}
    explicit item_exchange(unbounded_t, Buffer buffer = Buffer()) noexcept
        : item_exchange(std::numeric_limits<std::size_t>::max(), std::move(buffer)) {}

    /// For an await. Returns the loop.
    scheduler& enter() { return *home_.enter(); }
    /// For what does not wait, and may be done outside of any loop.
    void enter_without_waiting() {
        home_.enter();
        if (is_waited_for())
            home_.enter_to_wake();
    }

    /// An item, or the end, can be had without waiting.
    [[nodiscard]] bool can_get() const noexcept { return has_item() || closed_; }
    [[nodiscard]] bool has_item() const noexcept {
        return buffer_.size() != 0 || !putters_.empty();
    }
    /// An item, or a refusal, can be given without waiting.
    [[nodiscard]] bool can_put() const noexcept {
        return closed_ || buffer_.size() < capacity_ || !getters_.empty();
    }

    /// The next item can be put into the buffer, as far as one sees at a glance.
    [[nodiscard]] bool has_ready_room() const noexcept { return buffer_.size() < ready_room_; }

    /// Fills `slot` if there is an item. The room goes to the putter that has waited longest.
    void take(std::optional<T>& slot) noexcept {
        if (buffer_.size() != 0)
            take_from_buffer(slot);
        else if (!putters_.empty())
            slot.emplace(accept_waiting());
    }
    /// The same where the buffer is not empty.
    [[gnu::always_inline]] void take_from_buffer(std::optional<T>& slot) noexcept {
        slot.emplace(buffer_.pop());
        if (!putters_.empty()) [[unlikely]]
            refill();
    }

    /// Before `accept`, which may fill the buffer. Throws `std::bad_alloc`.
    void make_room() {
        if (closed_ || !getters_.empty())
            return;
        buffer_.make_room();
        ready_room_ = std::min(capacity_, buffer_.space());
    }
    /// Where it `has_ready_room()`.
    void put_into_buffer(T& item) noexcept {
        ++accepted_;
        buffer_.push(std::move(item));
    }
    /// Takes the item, where `can_put()`; false when closed.
    [[nodiscard]] bool accept(T& item) noexcept {
        if (closed_)
            return false;
        if (getters_.empty())
            put_into_buffer(item);
        else
            hand_over(item);
        return true;
    }

    /// Makes a `T` of the item and takes that, unless it would have to wait.
    template <class U> [[nodiscard]] bool try_accept(U&& item) {
        if (!can_put())
            return false;
        make_room();
        T made(std::forward<U>(item));
        // What makes it is the user's, and may have used the exchange.
        if (!can_put())
            return false;
        make_room();
        return accept(made);
    }

    void add(getter& newcomer) noexcept {
        ready_room_ = 0;
        getters_.push_back(newcomer);
    }
    void add(putter& newcomer) noexcept { putters_.push_back(newcomer); }

    /// Takes no more items; what is there can still be had. Whoever waits is woken. Idempotent.
    /// Throws where they cannot be woken.
    void close() {
        if (is_waited_for())
            home_.enter_to_wake();
        closed_ = true;
        ready_room_ = 0;
        getters_.wake_all();
        putters_.wake_all();
    }
    [[nodiscard]] bool is_closed() const noexcept { return closed_; }

    /// Gives up the items, whose destructors may use the exchange again.
    [[nodiscard]] Buffer take_all() noexcept { return std::move(buffer_); }

    [[nodiscard]] std::size_t size() const noexcept { return buffer_.size(); }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
    /// How many items were ever taken in.
    [[nodiscard]] std::size_t accepted() const noexcept { return accepted_; }

    [[nodiscard]] std::string describe_getters(const char* what) { return getters_.describe(what); }
    [[nodiscard]] std::string describe_putters(const char* what) { return putters_.describe(what); }

  private:
    [[nodiscard]] bool is_waited_for() const noexcept {
        return !getters_.empty() || !putters_.empty();
    }
    void hand_over(T& item) noexcept {
        ++accepted_;
        getter& first = getters_.pop_front();
        first.slot_.emplace(std::move(item));
        first.wake();
    }
    [[gnu::noinline]] void refill() noexcept { buffer_.push(accept_waiting()); }
    /// The item of the first putter in line, which has been put now.
    [[nodiscard]] T&& accept_waiting() noexcept {
        putter& first = putters_.pop_front();
        ++accepted_;
        first.accepted_ = true;
        first.wake();
        // It does not run before the next turn.
        return std::move(first.item_);
    }

    home_loop home_;
    waiter_list<getter> getters_;
    waiter_list<putter> putters_;
    Buffer buffer_;
    std::size_t capacity_;
    // One comparison instead of four. At most the capacity and the buffer's space, and 0 from the
    // moment that somebody waits for an item or the exchange is closed; `make_room` sees when it
    // could be more.
    std::size_t ready_room_ = 0;
    std::size_t accepted_ = 0;
    bool closed_ = false;
};

} // namespace detail
} // namespace hob
