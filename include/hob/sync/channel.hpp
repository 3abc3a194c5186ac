// SPDX-License-Identifier: MIT
// hob::channel: a queue with two ends that close when they are dropped.
#pragma once

#include <hob/core/frame_pool.hpp>
#include <hob/sync/item_buffer.hpp>
#include <hob/sync/item_exchange.hpp>

#include <concepts>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace hob {

/// Thrown where an item is sent into a channel that is closed or whose receiving ends are all gone.
class channel_closed_error : public std::runtime_error {
  public:
    channel_closed_error()
        : std::runtime_error("the channel is closed: nobody will receive the item") {}
};

namespace detail {

/// Shared by the ends of a channel, and counted by them.
template <class T> class channel_state {
  public:
    using exchange_type = item_exchange<T, fifo_buffer<T>>;

    explicit channel_state(std::size_t capacity) noexcept : exchange_(capacity) {}

    [[nodiscard]] exchange_type& exchange() noexcept { return exchange_; }

    static void* operator new(std::size_t size) { return frame_pool::allocate(size); }
    static void operator delete(void* memory, std::size_t size) noexcept {
        frame_pool::deallocate(memory, size);
    }

    /// Counts the sending ends; when the last is gone, receivers see the end behind the items.
    class senders {
      public:
        static void add(channel_state& state) noexcept { ++state.senders_; }
        /// Throws where those who wait cannot be woken.
        static void prepare_drop(channel_state& state) {
            if (state.senders_ == 1)
                state.exchange_.close();
        }
        static void drop(channel_state& state) noexcept {
            --state.senders_;
            state.destroy_if_unused();
        }
    };
    /// Counts the receiving ends; when the last is gone, so are the items, and sending fails.
    class receivers {
      public:
        static void add(channel_state& state) noexcept { ++state.receivers_; }
        static void prepare_drop(channel_state& state) {
            if (state.receivers_ == 1)
                state.exchange_.close();
        }
        static void drop(channel_state& state) noexcept {
            if (--state.receivers_ != 0)
                return;
            // Destroyed last: an item may hold an end of this channel.
            const fifo_buffer<T> dropped = state.exchange_.take_all();
            state.destroy_if_unused();
        }
    };

    [[nodiscard]] bool has_senders() const noexcept { return senders_ != 0; }
    [[nodiscard]] bool has_receivers() const noexcept { return receivers_ != 0; }

  private:
    ~channel_state() = default;
    void destroy_if_unused() noexcept {
        if (senders_ == 0 && receivers_ == 0)
            delete this;
    }

    exchange_type exchange_;
    std::size_t senders_ = 0;
    std::size_t receivers_ = 0;
};

/// One reference of an end to its channel.
template <class T, class Count> class channel_end {
  public:
    /// False for an end that was made without a channel, closed or moved from: using it throws.
    [[nodiscard]] explicit operator bool() const noexcept { return state_ != nullptr; }

    /// Drops this end early. Throws `usage_error` if it is the last one of its kind and the waiting
    /// tasks belong to another loop; dropping it there ends the process.
    void close() {
        if (state_ == nullptr)
            return;
        Count::prepare_drop(*state_);
        // Without a state first: the items that go may close this end.
        Count::drop(*std::exchange(state_, nullptr));
    }

  protected:
    channel_end() = default;
    explicit channel_end(channel_state<T>& state) noexcept : state_(&state) { Count::add(state); }
    channel_end(const channel_end& other) noexcept : state_(other.state_) {
        if (state_ != nullptr)
            Count::add(*state_);
    }
    channel_end(channel_end&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
    channel_end& operator=(const channel_end& other) noexcept {
        channel_end copy(other);
        std::swap(state_, copy.state_);
        return *this;
    }
    channel_end& operator=(channel_end&& other) noexcept {
        channel_end taken(std::move(other));
        std::swap(state_, taken.state_);
        return *this;
    }
    ~channel_end() { close(); }

    [[nodiscard]] channel_state<T>& state() const {
        if (state_ == nullptr)
            throw usage_error("an end of a channel was used that is closed or was moved from");
        return *state_;
    }

  private:
    channel_state<T>* state_ = nullptr;
};

class channel_names {
  public:
    static constexpr const char* item = "an item of a channel";
    static constexpr const char* room = "room in a channel";
};

template <class T> class channel_send final : public put_awaiter<T, fifo_buffer<T>, channel_names> {
    using base = put_awaiter<T, fifo_buffer<T>, channel_names>;

  public:
    channel_send(typename base::exchange_type& target, T&& item) noexcept
        : base(target, std::move(item)) {}
    void await_resume() {
        if (!this->was_accepted())
            throw channel_closed_error();
    }
};

template <class T>
class channel_receive final : public get_awaiter<T, fifo_buffer<T>, channel_names> {
    using base = get_awaiter<T, fifo_buffer<T>, channel_names>;

  public:
    explicit channel_receive(typename base::exchange_type& source) noexcept : base(source) {}
    std::optional<T> await_resume() noexcept {
        // Part by part: copied as a whole, right after it was written in parts, it stalls the CPU.
        std::optional<T>& item = this->item();
        return item ? std::optional<T>(std::move(*item)) : std::nullopt;
    }
};

} // namespace detail

template <class T> class channel_sender;
template <class T> class channel_receiver;
template <class T> std::pair<channel_sender<T>, channel_receiver<T>> channel(std::size_t capacity);

/// The end of a channel that items are sent into. Copies are further sending ends; when the last
/// one is gone, the receivers see the end behind the items. An end outlives the awaits of what it
/// returned.
template <class T>
class channel_sender : private detail::channel_end<T, typename detail::channel_state<T>::senders> {
    using end = detail::channel_end<T, typename detail::channel_state<T>::senders>;

  public:
    channel_sender() = default;
    using end::close;
    using end::operator bool;

    /// Awaiting sends the item, and waits for room first. A task that is cancelled while it waits
    /// has sent nothing, and the item is destroyed. Throws `channel_closed_error`, also while it
    /// waits, when no receiving end is left; `usage_error` in a second loop and for a closed end;
    /// `std::bad_alloc`, having sent nothing; what making a `T` of the item throws.
    template <class U = T>
        requires std::constructible_from<T, U>
    [[nodiscard]] auto send(U&& item) const {
        detail::check_item<T, U>();
        using operation = detail::channel_send<T>;
        return detail::deferred<operation, typename operation::exchange_type&, T>(
            this->state().exchange(), T(std::forward<U>(item)));
    }
    /// Sends the item if that needs no waiting; otherwise returns false and leaves it alone.
    /// Throws like `send`.
    template <class U = T>
        requires std::constructible_from<T, U>
    [[nodiscard]] bool try_send(U&& item) const {
        auto& exchange = this->state().exchange();
        exchange.enter_without_waiting();
        if (exchange.is_closed())
            throw channel_closed_error();
        return exchange.try_accept(std::forward<U>(item));
    }
    /// Whether sending can only fail.
    [[nodiscard]] bool is_closed() const { return !this->state().has_receivers(); }

  private:
    friend std::pair<channel_sender, channel_receiver<T>> channel<T>(std::size_t capacity);
    using end::end;
};

/// The end of a channel that items come out of. Copies share the items; when the last one is gone,
/// the items that are left are destroyed and sending fails. An end outlives the awaits of what it
/// returned.
template <class T>
class channel_receiver
    : private detail::channel_end<T, typename detail::channel_state<T>::receivers> {
    using end = detail::channel_end<T, typename detail::channel_state<T>::receivers>;

  public:
    channel_receiver() = default;
    using end::close;
    using end::operator bool;

    /// Awaiting gives the next item, and waits for one first; empty once all sending ends are gone
    /// and nothing is left. A task that is cancelled while it waits has taken nothing; one that
    /// already got its item keeps it. Throws `usage_error` in a second loop and for a closed end.
    ///
    ///     while (auto item = co_await receiver.receive())
    ///         use(*item);
    [[nodiscard]] auto receive() const {
        using operation = detail::channel_receive<T>;
        return detail::deferred<operation, typename operation::exchange_type&>(
            this->state().exchange());
    }
    /// The next item if there is one. Throws like `receive`.
    [[nodiscard]] std::optional<T> try_receive() const {
        auto& exchange = this->state().exchange();
        exchange.enter_without_waiting();
        std::optional<T> item;
        exchange.take(item);
        return item;
    }
    /// Whether all sending ends are gone and nothing is left.
    [[nodiscard]] bool is_finished() const {
        return !this->state().has_senders() && !this->state().exchange().has_item();
    }
    /// How many items are kept.
    [[nodiscard]] std::size_t size() const { return this->state().exchange().size(); }

  private:
    friend std::pair<channel_sender<T>, channel_receiver> channel<T>(std::size_t capacity);
    using end::end;
};

/// Makes a channel for at most `capacity` items, with 0 a rendezvous, and `unbounded` for any
/// number; gives its two ends. Like `hob::queue`, it serves tasks and items in their order, and
/// belongs to the first loop in which it is used. Throws `std::bad_alloc`.
///
///     auto [sender, receiver] = hob::channel<int>(64);
template <class T> std::pair<channel_sender<T>, channel_receiver<T>> channel(std::size_t capacity) {
    auto& state = *new detail::channel_state<T>(capacity);
    return {channel_sender<T>(state), channel_receiver<T>(state)};
}
template <class T> std::pair<channel_sender<T>, channel_receiver<T>> channel(unbounded_t) {
    return channel<T>(std::numeric_limits<std::size_t>::max());
}

} // namespace hob
