// SPDX-License-Identifier: MIT
// hob::thread_channel: items between loops, and between a loop and threads without one.
#pragma once

#include <hob/core/awaitable.hpp>
#include <hob/core/check.hpp>
#include <hob/core/intrusive_list.hpp>
#include <hob/core/reactor.hpp>
#include <hob/sync/channel.hpp>

#include <condition_variable>
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

/// Who waits for a channel, or asks it for something. In the channel's line, it is guarded by the
/// channel's mutex.
template <class T> class thread_channel_waiter : public list_node {
  public:
    /// On any thread, with the channel's mutex held, when it has left the line. Nothing of it may
    /// be touched afterwards.
    virtual void wake() noexcept = 0;

    std::optional<T> item;
    bool is_closed = false; ///< the channel was, before anything else

  protected:
    thread_channel_waiter() = default;
    ~thread_channel_waiter() = default;
};

/// A thread that waits; or only asks.
template <class T> class waiting_thread final : public thread_channel_waiter<T> {
  public:
    waiting_thread() = default;
    explicit waiting_thread(T value) noexcept { this->item.emplace(std::move(value)); }

    void wake() noexcept override {
        is_awake_ = true;
        woken_.notify_one();
    }
    /// Until `wake`.
    void sleep(std::unique_lock<std::mutex>& channel_lock) {
        woken_.wait(channel_lock, [this] { return is_awake_; });
    }

  private:
    std::condition_variable woken_;
    bool is_awake_ = false;
};

/// A task that waits. Once it has been taken out of the line, it belongs to its loop again, which
/// gets it back through its inbox.
template <class T>
class waiting_task : public operation, public ready_callback, public thread_channel_waiter<T> {
  public:
    void wake() noexcept final {
        const std::shared_ptr<inbox> loop = std::move(loop_);
        const bool posted = loop->post(*this);
        check(posted, "a loop was closed while a task waited for a thread_channel");
    }

  protected:
    explicit waiting_task(thread_channel<T>& channel) noexcept : channel_(channel) {}
    ~waiting_task() = default;

    [[nodiscard]] thread_channel<T>& channel() const noexcept { return channel_; }

    /// Waits unless `at_once()` holds, which is asked under the mutex and takes effect then.
    template <class AtOnce>
    bool wait_unless(promise_base& waiter, intrusive_list<thread_channel_waiter<T>>& line,
                     AtOnce&& at_once) {
        const bool may_go_on = scheduler::here().spend_budget();
        if (!may_go_on && !begin(waiter))
            return true;
        {
            const std::lock_guard lock(channel_.mutex_);
            if (!at_once()) {
                if (may_go_on && !begin(waiter))
                    return true;
                loop_ = reactor::here().expect_post();
                line.push_back(*this);
                return true;
            }
        }
        if (!may_go_on)
            complete();
        return !may_go_on;
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
            if (!this->is_linked())
                return;
            intrusive_list<thread_channel_waiter<T>>::remove(*this);
        }
        reactor::here().post_arrived();
        stop();
    }

    thread_channel<T>& channel_;
    std::shared_ptr<inbox> loop_;
};

template <class T> class thread_send final : public waiting_task<T> {
  public:
    thread_send(thread_channel<T>& channel, T value) : waiting_task<T>(channel) {
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

template <class T> class thread_receive final : public waiting_task<T> {
  public:
    explicit thread_receive(thread_channel<T>& channel) noexcept : waiting_task<T>(channel) {}
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

/// Hands items from tasks to tasks, whichever threads' loops they run in, and to and from threads
/// without a loop. First in, first out, also among those who wait. Holds up to `capacity` items;
/// with 0, a send waits until its item has been received. Must outlive whoever uses it. `T` can be
/// moved without an exception.
template <class T> class thread_channel {
    static_assert(std::is_object_v<T> && !std::is_const_v<T> &&
                      std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>,
                  "hob: the items of a thread_channel must be movable without exceptions");

  public:
    /// Throws `std::bad_alloc`.
    explicit thread_channel(std::size_t capacity) : items_(capacity) {}
    thread_channel(const thread_channel&) = delete;
    thread_channel& operator=(const thread_channel&) = delete;
    ~thread_channel() {
        detail::check(senders_.empty() && receivers_.empty(),
                      "a thread_channel was destroyed while somebody waits for it");
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

    /// `send` for a thread without a loop, which it blocks. Throws `channel_closed_error`, and
    /// `usage_error` where it would block a running loop.
    void send_blocking(T item) {
        require_no_loop("send");
        detail::waiting_thread<T> sender(std::move(item));
        {
            std::unique_lock lock(mutex_);
            if (!send_at_once(sender)) {
                senders_.push_back(sender);
                sender.sleep(lock);
            }
        }
        if (sender.is_closed)
            throw channel_closed_error();
    }
    /// `receive` for a thread without a loop, which it blocks. Throws `usage_error` where it would
    /// block a running loop.
    [[nodiscard]] std::optional<T> receive_blocking() {
        require_no_loop("receive");
        detail::waiting_thread<T> receiver;
        std::unique_lock lock(mutex_);
        if (!receive_at_once(receiver)) {
            receivers_.push_back(receiver);
            receiver.sleep(lock);
        }
        return std::move(receiver.item);
    }

    /// Puts `item` in unless that would have to wait: false, and the item is untouched. On any
    /// thread. Throws `channel_closed_error`.
    [[nodiscard]] bool try_send(T&& item) {
        const std::lock_guard lock(mutex_);
        if (closed_)
            throw channel_closed_error();
        if (receivers_.empty() && count_ == items_.size())
            return false;
        detail::waiting_thread<T> sender(std::move(item));
        return send_at_once(sender);
    }
    /// Takes an item out if there is one. On any thread.
    [[nodiscard]] std::optional<T> try_receive() {
        detail::waiting_thread<T> receiver;
        const std::lock_guard lock(mutex_);
        static_cast<void>(receive_at_once(receiver));
        return std::move(receiver.item);
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
    friend detail::waiting_task<T>;
    friend class detail::thread_send<T>;
    friend class detail::thread_receive<T>;

    static void require_no_loop(const char* call) {
        if (detail::current_scheduler != nullptr)
            throw usage_error(std::string("a thread_channel would block the loop: co_await ") +
                              call + "() in a task");
    }

    // With the mutex held.
    [[nodiscard]] bool send_at_once(waiter& sender) noexcept {
        if (closed_) {
            sender.is_closed = true;
            return true;
        }
        if (!receivers_.empty()) {
            waiter& receiver = receivers_.pop_front();
            move(sender.item, receiver.item);
            receiver.wake();
            return true;
        }
        if (count_ == items_.size())
            return false;
        put(sender.item);
        return true;
    }
    [[nodiscard]] bool receive_at_once(waiter& receiver) noexcept {
        if (count_ != 0) {
            move(items_[first_], receiver.item);
            first_ = (first_ + 1) % items_.size();
            --count_;
            if (!senders_.empty()) {
                waiter& sender = senders_.pop_front();
                put(sender.item);
                sender.wake();
            }
            return true;
        }
        if (!senders_.empty()) {
            waiter& sender = senders_.pop_front();
            move(sender.item, receiver.item);
            sender.wake();
            return true;
        }
        return closed_;
    }
    void put(std::optional<T>& item) noexcept {
        move(item, items_[(first_ + count_) % items_.size()]);
        ++count_;
    }
    /// Into an empty place, without the assignment that `T` may not have.
    static void move(std::optional<T>& from, std::optional<T>& to) noexcept {
        to.emplace(std::move(*from));
        from.reset();
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
