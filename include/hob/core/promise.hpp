// SPDX-License-Identifier: MIT
// The part of a promise that every hob coroutine shares.
#pragma once

#include <hob/core/frame_pool.hpp>
#include <hob/core/ready_queue.hpp>

#include <concepts>
#include <coroutine>
#include <cstdint>
#include <source_location>

namespace hob::detail {

class scope;

/// Links a coroutine to the one that awaits it and to its scope, and knows where it stands.
/// Is its own node in the ready queue, since a coroutine waits for one thing at a time.
class promise_base : public ready_node {
  public:
    [[nodiscard]] static void* operator new(std::size_t size) { return frame_pool::allocate(size); }
    static void operator delete(void* frame, std::size_t size) noexcept {
        frame_pool::deallocate(frame, size);
    }

    /// The coroutine itself. Found from the address, because both compilers put a promise that is
    /// aligned to at most 16 right behind the two pointers of the frame's head; `promise` asserts
    /// that alignment.
    [[nodiscard]] std::coroutine_handle<> coroutine() noexcept {
        return std::coroutine_handle<promise_base>::from_promise(*this);
    }

    /// The coroutine that awaits this one; null for the root of a scope.
    [[nodiscard]] promise_base* caller() const noexcept {
        return reinterpret_cast<promise_base*>(caller_ & ~inline_bit);
    }
    /// True while the caller waits inside its own `await_suspend` for this coroutine to return.
    [[nodiscard]] bool runs_inline() const noexcept { return (caller_ & inline_bit) != 0; }

    void call_inline(promise_base& caller) noexcept {
        caller_ = reinterpret_cast<std::uintptr_t>(&caller) | inline_bit;
        scope_ = caller.scope_;
    }
    /// From here on the completion goes through the trampoline.
    void leave_inline() noexcept { caller_ &= ~inline_bit; }
    void call_from_trampoline(promise_base& caller) noexcept {
        caller_ = reinterpret_cast<std::uintptr_t>(&caller);
        scope_ = caller.scope_;
    }

    [[nodiscard]] scope& owner() const noexcept { return *scope_; }
    /// Makes this the root of a scope.
    void set_owner(scope& owner) noexcept {
        caller_ = 0;
        scope_ = &owner;
    }

    /// Where the await at hand is; before the first one, where the coroutine begins.
    std::source_location position;

  protected:
    promise_base() noexcept : ready_node(0) {}
    ~promise_base() = default;

  private:
    static constexpr std::uintptr_t inline_bit = 1;
    // Both are set when the coroutine gets a caller or a scope, which is before it runs.
    std::uintptr_t caller_;
    scope* scope_;
};

template <class Promise>
concept hob_promise = std::derived_from<Promise, promise_base>;

} // namespace hob::detail
