// SPDX-License-Identifier: MIT
// What the synchronisation primitives share: the loop that they belong to, and a line of waiters.
#pragma once

#include <hob/core/check.hpp>
#include <hob/core/error.hpp>
#include <hob/core/intrusive_list.hpp>
#include <hob/core/operation.hpp>

#include <cstddef>
#include <string>

namespace hob::detail {

/// The loop whose tasks use a primitive: the first one in which it is used, for good. Primitives
/// have no locks, so two loops on two threads must never share one.
class home_loop {
  public:
    /// For every use that may find or leave somebody waiting. Outside of any loop, a primitive may
    /// be prepared and looked at. Returns the loop that runs, or null. Throws `usage_error` in
    /// another loop than before.
    scheduler* enter() {
        scheduler* const running = current_scheduler;
        if (running != loop_) [[unlikely]]
            enter_from_elsewhere();
        return running;
    }
    /// Before waiters are woken. Between two runs of their loop that may be done on its thread,
    /// outside of any loop. Throws `usage_error` in another loop, `wrong_thread_error`.
    void enter_to_wake() const {
        if (current_scheduler == loop_) [[likely]]
            return;
        if (current_scheduler != nullptr)
            throw_elsewhere();
        // The loop is alive, since its tasks wait here.
        loop_->require_usable();
    }

  private:
    [[gnu::cold, gnu::noinline]] void enter_from_elsewhere() {
        if (current_scheduler == nullptr)
            return;
        if (loop_ != nullptr)
            throw_elsewhere();
        loop_ = current_scheduler;
    }
    [[noreturn, gnu::cold, gnu::noinline]] static void throw_elsewhere() {
        throw usage_error("a synchronisation primitive was used in a second event loop: it belongs "
                          "to the first one that used it; make one for each loop");
    }

    scheduler* loop_ = nullptr;
};

/// A coroutine that waits in the line of a primitive. Once it has been woken it touches nothing of
/// the primitive, which may be gone when it runs.
class waiter : public operation, public list_node {
  public:
    void wake() noexcept {
        const borrowed_loop running(*this);
        complete();
    }

  protected:
    waiter() = default;
    ~waiter() = default;

    void cancel() noexcept override {
        intrusive_list<waiter>::remove(*this);
        stop();
    }

    /// Makes the waiter's loop the running one where none runs: between two runs, a waiter gets
    /// ready for the next one.
    class borrowed_loop {
      public:
        explicit borrowed_loop(const waiter& guest) noexcept
            : borrowed_(current_scheduler == nullptr) {
            if (borrowed_) [[unlikely]]
                current_scheduler = &guest.waiter_->owner().home();
        }
        ~borrowed_loop() {
            if (borrowed_) [[unlikely]]
                current_scheduler = nullptr;
        }
        borrowed_loop(const borrowed_loop&) = delete;
        borrowed_loop& operator=(const borrowed_loop&) = delete;

      private:
        bool borrowed_;
    };
};

/// Waiters, first in, first out.
template <class Waiter = waiter> class waiter_list {
  public:
    waiter_list() = default;
    ~waiter_list() {
        check(empty(), "a synchronisation primitive was destroyed while tasks wait for it");
    }

    [[nodiscard]] bool empty() const noexcept { return list_.empty(); }
    void push_back(Waiter& newcomer) noexcept { list_.push_back(newcomer); }
    Waiter& pop_front() noexcept { return list_.pop_front(); }
    template <class Visitor> void for_each(Visitor&& visit) { list_.for_each(visit); }
    void wake_all() noexcept {
        while (!empty())
            pop_front().wake();
    }

    /// Counts them, for people.
    [[nodiscard]] std::size_t size() noexcept {
        std::size_t count = 0;
        list_.for_each([&count](Waiter&) { ++count; });
        return count;
    }
    /// What one of them waits for: "mutex (3 waiting)".
    [[nodiscard]] std::string describe(const char* what) {
        return what + (" (" + std::to_string(size()) + " waiting)");
    }

  private:
    intrusive_list<Waiter> list_;
};

} // namespace hob::detail
