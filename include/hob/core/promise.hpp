// SPDX-License-Identifier: MIT
// The part of a promise that every hob coroutine shares.
#pragma once

#include <hob/core/frame_pool.hpp>
#include <hob/core/ready_queue.hpp>

#include <bit>
#include <concepts>
#include <coroutine>
#include <source_location>

namespace hob::detail {

class scope;

/// What a `std::source_location` consists of, as the default argument of a function. GCC keeps such
/// arguments in the coroutine's frame if they are of class type, which costs every await two
/// stores.
using source_pointer = decltype(__builtin_source_location());
inline constexpr source_pointer nowhere = nullptr;

/// Links a coroutine to the one that awaits it and to its scope, and knows where it stands.
/// Is its own node in the ready queue, since a coroutine waits for one thing at a time.
class promise_base : public ready_node {
  public:
    [[nodiscard]] static void* operator new(std::size_t size) { return frame_pool::allocate(size); }
    [[gnu::always_inline]] static void operator delete(void* frame, std::size_t size) noexcept {
        // To the scheduler, one that was destroyed looks like one that has returned.
        void*& resume = *static_cast<void**>(frame);
        if (resume != nullptr)
            resume = nullptr;
        frame_pool::deallocate(frame, size);
    }

    /// The coroutine itself. Found from the address, because both compilers put a promise that is
    /// aligned to at most 16 right behind the two pointers of the frame's head; `promise` asserts
    /// that alignment.
    [[nodiscard]] std::coroutine_handle<> coroutine() noexcept {
        return std::coroutine_handle<promise_base>::from_promise(*this);
    }

    /// The coroutine that awaits this one; null for the root of a scope.
    [[nodiscard]] promise_base* caller() const noexcept { return caller_; }
    void set_caller(promise_base& caller) noexcept {
        caller_ = &caller;
        scope_ = caller.scope_;
    }

    [[nodiscard]] scope& owner() const noexcept { return *scope_; }
    /// Makes this the root of a scope.
    void set_owner(scope& owner) noexcept {
        caller_ = nullptr;
        scope_ = &owner;
    }

    /// Where the await at hand is; before the first one, where the coroutine begins. Line 0 if that
    /// is of no interest to a reader, who is not shown this coroutine then.
    std::source_location position;
    [[nodiscard]] bool is_shown() const noexcept { return position.line() != 0; }
    void set_position(source_pointer where) noexcept {
        position = std::bit_cast<std::source_location>(where);
    }

  protected:
    promise_base() noexcept : ready_node(0) {}
    ~promise_base() = default;

  private:
    // Both are set when the coroutine gets a caller or a scope, which is before it runs.
    promise_base* caller_;
    scope* scope_;
};

template <class Promise>
concept hob_promise = std::derived_from<Promise, promise_base>;

} // namespace hob::detail
