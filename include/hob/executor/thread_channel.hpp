// SPDX-License-Identifier: MIT
// hob::thread_channel: items from the tasks of one loop to those of another.
#pragma once

#include <hob/core/awaitable.hpp>
#include <hob/core/check.hpp>
#include <hob/core/intrusive_list.hpp>
#include <hob/core/reactor.hpp>
#include <hob/sync/channel.hpp>

#include <coroutine>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace hob {

template <class T> class thread_channel;

namespace detail {

/// A task that waits for a channel which other threads use. In the channel's line, it is guarded by
/// the channel's mutex; once it has been taken out, it belongs to its loop again, which gets it
/// back through its inbox.
template <class T>
class thread_channel_waiter : public operation, public ready_callback, public list_node {
  public:
    /// On any thread, when it has left the line. Nothing of it may be touched afterwards.
    void wake() noexcept {
        const std::shared_ptr<inbox> loop = std::move(loop_);
        const bool posted = loop->post(*this);
        check(posted, "a loop was closed while a task waited for a thread_channel");
    }

    std::optional<T> item;
    bool is_closed = false; ///< the channel was, before anything else

  protected:
    explicit thread_channel_waiter(thread_channel<T>& channel) noexcept : channel_(channel) {}
    ~thread_channel_waiter() = default;

    [[nodiscard]] thread_channel<T>& channel() const noexcept { return channel_; }

    /// Waits unless `at_once()` holds, which is asked under the mutex and takes effect then.
    template <class AtOnce>
    bool wait_unless(promise_base& waiter, intrusive_list<thread_channel_waiter>& line,
                     AtOnce&& at_once) {
        if (!begin(waiter))
            return true;
        const bool is_budget_left = scheduler::here().spend_budget();
        {
            const std::lock_guard lock(channel_.mutex_);
            if (!at_once()) {
                loop_ = reactor::here().expect_post();
                line.push_back(*this);
                return true;
            }
        }
        if (is_budget_left) {
            waiter.owner().resume_running();
            return false;
        }
        complete();
        return true;
    }

  private:
    void run() noexcept final {
        reactor::here().post_arrived();
        complete();
    }
    void cancel() noexcept final {
        {
            const std::lock_guard lock(channel_.mutex_);
            // Somebody has served it: it is on its way home, and has its result.
            if (!is_linked())
                return;
            intrusive_list<thread_channel_waiter>::remove(*this);
        }
        reactor::here().post_arrived();
        stop();
    }

    thread_channel<T>& channel_;
    std::shared_ptr<inbox> loop_;
};

template <class T> class thread_send final : public thread_channel_waiter<T> {
  public:
    thread_send(thread_channel<T>& channel, T value) : thread_channel_waiter<T>(channel) {
        this->item.emplace(std::move(value));
    }
    static constexpr bool await_ready() noexcept { return false; }
    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        return this->wait_unless(awaiting.promise(), this->channel().senders_,
                                 [this] { return this->channel().send_at_once(*this); });
    }
    void await_resume() const {
        if (this->is_closed)
            throw channel_closed_error();
    }

  private:
    [[nodiscard]] std::string describe() const override { return "room in a thread_channel"; }
};

template <class T> class thread_receive final : public thread_channel_waiter<T> {
  public:
    explicit thread_receive(thread_channel<T>& channel) noexcept
        : thread_channel_waiter<T>(channel) {}
    static constexpr bool await_ready() noexcept { return false; }
    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        return this->wait_unless(awaiting.promise(), this->channel().receivers_,
                                 [this] { return this->channel().receive_at_once(*this); });
    }
    std::optional<T> await_resume() noexcept { return std::move(this->item); }

  private:
    [[nodiscard]] std::string describe() const override { return "an item of a thread_channel"; }
};

} // namespace detail

/// Hands items from tasks to tasks, whichever threads' loops they run in. First in, first out, also
/// among those who wait. Holds up to `capacity` items; with 0, a send waits until its item has been
/// received. Must outlive the tasks that use it. `T` can be moved without an exception.
template <class T> class thread_channel {
    static_assert(std::is_nothrow_move_constructible_v<T>,
                  "hob: the items of a thread_channel must be movable without exceptions");

  public:
    /// Throws `std::bad_alloc`.
    explicit thread_channel(std::size_t capacity) : items_(capacity) {}
    thread_channel(const thread_channel&) = delete;
    thread_channel& operator=(const thread_channel&) = delete;
    ~thread_channel() {
        detail::check(senders_.empty() && receivers_.empty(),
                      "a thread_channel was destroyed while tasks wait for it");
    }

    /// Awaiting waits for room and puts `item` in. Cancelled before that, it sends nothing. Throws
    /// `channel_closed_error`.
    [[nodiscard]] auto send(T item) {
        return detail::deferred<detail::thread_send<T>, thread_channel&, T>(*this, std::move(item));
    }
    /// Awaiting waits for an item and takes it out; gives an empty optional once the channel is
    /// closed and empty. Cancelled before that, it takes nothing.
    [[nodiscard]] auto receive() {
        return detail::deferred<detail::thread_receive<T>, thread_channel&>(*this);
    }

    /// Refuses further items. Who waits to send gets `channel_closed_error`; what is in the channel
    /// can still be received. On any thread, with a loop or without. Idempotent.
    void close() noexcept {
        const std::lock_guard lock(mutex_);
        closed_ = true;
        for (detail::intrusive_list<waiter>* const line : {&senders_, &receivers_})
            while (!line->empty()) {
                waiter& each = line->pop_front();
                each.is_closed = true;
                each.wake();
            }
    }

  private:
    using waiter = detail::thread_channel_waiter<T>;
    friend waiter;
    friend class detail::thread_send<T>;
    friend class detail::thread_receive<T>;

    // With the mutex held.
    [[nodiscard]] bool send_at_once(waiter& sender) noexcept {
        if (closed_) {
            sender.is_closed = true;
            return true;
        }
        if (!receivers_.empty()) {
            waiter& receiver = receivers_.pop_front();
            receiver.item = std::move(sender.item);
            receiver.wake();
            return true;
        }
        if (count_ == items_.size())
            return false;
        put(std::move(sender.item));
        return true;
    }
    [[nodiscard]] bool receive_at_once(waiter& receiver) noexcept {
        if (count_ != 0) {
            receiver.item = std::move(items_[first_]);
            items_[first_].reset();
            first_ = (first_ + 1) % items_.size();
            --count_;
            if (!senders_.empty()) {
                waiter& sender = senders_.pop_front();
                put(std::move(sender.item));
                sender.wake();
            }
            return true;
        }
        if (!senders_.empty()) {
            waiter& sender = senders_.pop_front();
            receiver.item = std::move(sender.item);
            sender.wake();
            return true;
        }
        return closed_;
    }
    void put(std::optional<T> item) noexcept {
        items_[(first_ + count_) % items_.size()] = std::move(item);
        ++count_;
    }

    std::mutex mutex_;
    std::vector<std::optional<T>> items_; ///< in a circle from `first_`
    std::size_t first_ = 0;
    std::size_t count_ = 0;
    detail::intrusive_list<waiter> senders_;
    detail::intrusive_list<waiter> receivers_;
    bool closed_ = false;
};

} // namespace hob
