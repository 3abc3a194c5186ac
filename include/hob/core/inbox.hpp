// SPDX-License-Identifier: MIT
// Where other threads leave work for a loop.
#pragma once

#include <hob/core/error.hpp>
#include <hob/core/ready_queue.hpp>
#include <hob/core/ring.hpp>
#include <hob/core/ring_message.hpp>
#include <hob/core/unique_fd.hpp>

#include <sys/eventfd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>

namespace hob::detail {

/// A lock-free list with many producers and one consumer, and what wakes the consumer: an eventfd,
/// or a message to its ring. Outlives its loop while a handle refers to it, so posting late fails
/// cleanly instead of writing to a descriptor that is somebody else's by now.
class inbox {
  public:
    /// `ring` is the descriptor of a ring that takes messages, or -1.
    explicit inbox(int ring = -1)
        : ring_(ring), eventfd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
        if (!eventfd_)
            throw_errno(errno, "eventfd");
    }

    /// On any thread. Wakes the loop if it sleeps. After `close`, returns false and does nothing
    /// but to order what the loop has done before with what follows.
    [[nodiscard]] bool post(ready_node& node) noexcept {
        ready_node* newest = newest_.load(std::memory_order_acquire);
        do {
            if (newest == closed_mark())
                return false;
            node.set_next(newest);
        } while (!newest_.compare_exchange_weak(newest, &node, std::memory_order_seq_cst,
                                                std::memory_order_acquire));
        wake();
        return true;
    }

    /// On any thread: whether its loop has closed.
    [[nodiscard]] bool is_closed() const noexcept {
        return newest_.load(std::memory_order_acquire) == closed_mark();
    }

    /// On any thread.
    void wake() noexcept {
        if (asleep_.load(std::memory_order_seq_cst) &&
            asleep_.exchange(false, std::memory_order_seq_cst) && !send_message())
            ring_bell();
    }

    /// Announces somebody who may post, so that the loop does not take waiting for a deadlock. On
    /// any thread.
    void add_sender() noexcept { senders_.fetch_add(1, std::memory_order_relaxed); }
    void remove_sender() noexcept {
        // The loop asks for senders before it says that it sleeps, so what it has said does not
        // tell whether it has to ask again.
        if (senders_.fetch_sub(1, std::memory_order_seq_cst) == 1)
            ring_bell();
    }
    [[nodiscard]] bool has_senders() const noexcept {
        return senders_.load(std::memory_order_seq_cst) != 0;
    }

    // For the loop's thread.
    /// Whether nothing was posted since the last `drain`.
    [[nodiscard]] bool empty() const noexcept {
        return is_nothing(newest_.load(std::memory_order_relaxed));
    }
    /// Announces that the loop is about to sleep. Returns false if it must not: there is work.
    [[nodiscard]] bool prepare_sleep() noexcept {
        asleep_.store(true, std::memory_order_seq_cst);
        if (is_nothing(newest_.load(std::memory_order_seq_cst)))
            return true;
        asleep_.store(false, std::memory_order_relaxed);
        return false;
    }
    void awake() noexcept { asleep_.store(false, std::memory_order_relaxed); }

    /// Moves what was posted behind `queue`, in the order of posting, but not more than `most`
    /// nodes. Returns whether it has kept some back: who posts faster than the loop runs must not
    /// make its turns longer and longer.
    [[nodiscard]] bool drain(ready_queue& queue, unsigned most) noexcept {
        if (drained_.empty() && !empty())
            push_all(newest_.exchange(nullptr, std::memory_order_acquire), drained_);
        for (; most != 0 && !drained_.empty(); --most)
            queue.push(drained_.pop());
        return !drained_.empty();
    }
    /// Moves everything, and refuses what comes later.
    void close(ready_queue& queue) noexcept {
        while (!drained_.empty())
            queue.push(drained_.pop());
        push_all(newest_.exchange(closed_mark(), std::memory_order_acq_rel), queue);
    }

    /// Before the ring's descriptor is closed: nobody uses it afterwards. `is_forked` says that who
    /// is about to use it may be a thread of the parent's.
    void forget_ring(bool is_forked) noexcept {
        ring_.store(-1, std::memory_order_seq_cst);
        while (!is_forked && messengers_.load(std::memory_order_seq_cst) != 0)
            std::this_thread::yield();
    }

    [[nodiscard]] int eventfd() const noexcept { return eventfd_.get(); }

  private:
    ready_node* closed_mark() const noexcept {
        return reinterpret_cast<ready_node*>(const_cast<inbox*>(this));
    }

    [[nodiscard]] bool is_nothing(const ready_node* newest) const noexcept {
        return newest == nullptr || newest == closed_mark();
    }

    void ring_bell() noexcept {
        const std::uint64_t one = 1;
        // Only a full counter can make this fail, and then the loop is awake anyway.
        [[maybe_unused]] const auto written = ::write(eventfd_.get(), &one, sizeof one);
    }

    /// Returns whether the ring takes messages and has got this one.
    [[nodiscard]] bool send_message() noexcept {
        if (ring_.load(std::memory_order_relaxed) < 0)
            return false;
        // Announced before the descriptor is read, so that it is not closed meanwhile.
        messengers_.fetch_add(1, std::memory_order_seq_cst);
        const int ring = ring_.load(std::memory_order_seq_cst);
        const bool sent = ring >= 0 && send_to_ring(ring, ignored_tag) == 0;
        messengers_.fetch_sub(1, std::memory_order_seq_cst);
        return sent;
    }

    void push_all(ready_node* newest, ready_queue& queue) noexcept {
        if (newest == closed_mark())
            return;
        ready_node* oldest = nullptr;
        while (newest != nullptr) {
            ready_node* const next = newest->next();
            newest->set_next(oldest);
            oldest = newest;
            newest = next;
        }
        while (oldest != nullptr) {
            ready_node* const next = oldest->next();
            queue.push(*oldest);
            oldest = next;
        }
    }

    std::atomic<ready_node*> newest_ = nullptr;
    ready_queue drained_; ///< of the loop's thread: what came before `newest_`
    std::atomic<bool> asleep_ = false;
    std::atomic<unsigned> senders_ = 0;
    std::atomic<unsigned> messengers_ = 0; ///< threads that may be using the ring's descriptor
    std::atomic<int> ring_;
    unique_fd eventfd_;
};

/// Keeps an inbox, and counts as one of its senders.
class inbox_sender {
  public:
    explicit inbox_sender(std::shared_ptr<inbox> target) noexcept : target_(std::move(target)) {
        target_->add_sender();
    }
    inbox_sender(const inbox_sender& other) noexcept : target_(other.target_) {
        if (target_)
            target_->add_sender();
    }
    inbox_sender(inbox_sender&&) noexcept = default;
    inbox_sender& operator=(inbox_sender other) noexcept {
        target_.swap(other.target_);
        return *this;
    }
    ~inbox_sender() {
        if (target_)
            target_->remove_sender();
    }

    [[nodiscard]] inbox& operator*() const noexcept { return *target_; }

  private:
    std::shared_ptr<inbox> target_;
};

} // namespace hob::detail
