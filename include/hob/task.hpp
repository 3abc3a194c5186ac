// SPDX-License-Identifier: MIT
// hob::task<T>: a coroutine that starts when it is awaited.
#pragma once

#include <hob/core/foreign_awaitable.hpp>
#include <hob/core/operation.hpp>
#include <hob/core/result.hpp>

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

namespace hob {

template <class T = void> class task;

namespace detail {

/// Tells the exception handler, in debug mode, of a task that nobody awaited.
[[gnu::cold]] inline void report_never_awaited(promise_base& never) noexcept {
    if (current_scheduler == nullptr || !current_scheduler->reports_unawaited())
        return;
    try {
        std::string what = "a task was never awaited";
        if (never.is_shown())
            what += std::string(": ") + never.position.function_name() + " at " +
                    never.position.file_name() + ":" + std::to_string(never.position.line());
        current_scheduler->report(what.c_str(), nullptr, nullptr);
    } catch (...) {
        current_scheduler->report("a task was never awaited", nullptr, nullptr);
    }
}

/// An await that stands elsewhere, in the eyes of a reader.
template <class Awaitable> struct placed {
    Awaitable&& awaited;
    source_pointer where;
};

/// What the promises of all hob coroutines do alike.
class coroutine_promise : public promise_base {
  public:
    static std::suspend_always initial_suspend() noexcept { return {}; }
    /// Whoever has resumed it sees that it has returned.
    static std::suspend_always final_suspend() noexcept { return {}; }

    /// Notes where the await stands, and gives the awaiter. Awaitables of hob pass through; a
    /// foreign one is wrapped, and cannot be cancelled while it is suspended.
    template <class Awaitable>
    decltype(auto) await_transform(Awaitable&& awaited,
                                   source_pointer where = __builtin_source_location()) {
        this->set_position(where);
        if constexpr (makes_hob_awaiter<Awaitable>) {
            return static_cast<Awaitable&&>(awaited).make_awaiter();
        } else if constexpr (hob_awaiter<Awaitable>) {
            static_assert(may_be_awaited<Awaitable>,
                          "hob: a task is awaited once: write `co_await std::move(task)`");
            return static_cast<Awaitable&&>(awaited);
        } else {
            static_assert(awaitable<Awaitable>,
                          "hob: this cannot be awaited: it has neither an operator co_await nor "
                          "await_ready, await_suspend and await_resume");
            return foreign_awaiter<Awaitable>(static_cast<Awaitable&&>(awaited));
        }
    }
    /// The same for an await that stands elsewhere.
    template <class Awaitable> decltype(auto) await_transform(placed<Awaitable>& each) {
        return await_transform(static_cast<Awaitable&&>(each.awaited), each.where);
    }

  protected:
    coroutine_promise() = default;
    ~coroutine_promise() = default;
};

template <class T> class promise;

template <class T> class promise_result : public coroutine_promise {
  public:
    void unhandled_exception() noexcept {
        scheduler::here().trace.leave(*this);
        outcome_.set_exception(std::current_exception());
    }
    [[nodiscard]] outcome<T>& result() noexcept { return outcome_; }

  protected:
    outcome<T> outcome_;
};

/// Whether a task of the reference `T` would refer to a temporary if `U&&` were returned: an
/// expiring object of its type, or what a conversion between types that are no classes makes.
template <class T, class U>
inline constexpr bool returns_temporary =
    std::is_lvalue_reference_v<T> &&
    (std::is_convertible_v<std::remove_reference_t<U>*, std::remove_reference_t<T>*>
         ? !std::is_lvalue_reference_v<U>
         : !std::is_class_v<std::remove_cvref_t<U>>);

template <class T> class promise : public promise_result<T> {
  public:
    task<T> get_return_object(source_pointer where = __builtin_source_location()) noexcept;

    // Of a reference, also what cannot be bound to it: a local variable must not be taken as an
    // lvalue for want of another way.
    template <class U = std::remove_reference_t<T>>
        requires(std::is_lvalue_reference_v<T> || std::convertible_to<U &&, T>)
    void return_value(U&& value) noexcept(std::is_nothrow_constructible_v<T, U&&>) {
        static_assert(!returns_temporary<T, U>,
                      "hob: this task would return a reference to a temporary");
        this->outcome_.set_value(std::forward<U>(value));
    }
};

template <> class promise<void> : public promise_result<void> {
  public:
    task<void> get_return_object(source_pointer where = __builtin_source_location()) noexcept;
    void return_void() noexcept { outcome_.set_value(); }
};

/// Runs a coroutine inside the step of the one that awaits it.
template <class T> class task_awaiter : public awaiter_base {
  public:
    /// Null stands for a task that was moved from or awaited before.
    explicit task_awaiter(promise<T>* child) noexcept : child_(child) {}

    static constexpr bool await_ready() noexcept { return false; }
    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        if (child_ == nullptr) [[unlikely]]
            throw_not_awaitable();
        promise_base& child = *child_;
        promise_base& caller = awaiting.promise();
        scheduler& loop = scheduler::here();
        if (!loop.spend_budget()) [[unlikely]] {
            start_in_a_later_turn(child, caller);
            return true;
        }
        child.set_caller(caller);
        if (!loop.may_nest()) [[unlikely]] {
            loop.start_from_trampoline(child);
            return true;
        }
        return !loop.resume_inline(child, caller);
    }
    T await_resume() {
        const finished_frame returned(*child_);
        return returned.child.result().get();
    }

  private:
    /// Destroys the frame before the outcome reaches the awaiting coroutine.
    class finished_frame {
      public:
        explicit finished_frame(promise<T>& finished) noexcept : child(finished) {}
        ~finished_frame() { child.coroutine().destroy(); }
        finished_frame(const finished_frame&) = delete;
        finished_frame& operator=(const finished_frame&) = delete;

        promise<T>& child;
    };

    [[noreturn, gnu::cold, gnu::noinline]] static void throw_not_awaitable() {
        throw usage_error("a task was awaited that was moved from or awaited before");
    }

    /// The budget of synchronous awaits is spent: other tasks get their turn first.
    [[gnu::cold, gnu::noinline]] static void start_in_a_later_turn(promise_base& child,
                                                                   promise_base& caller) noexcept {
        if (caller.owner().is_being_cancelled()) {
            const scheduler::refusal refusing(scheduler::here());
            child.coroutine().destroy();
            caller.owner().stop_at(caller);
            return;
        }
        child.set_caller(caller);
        scheduler::here().push(child);
    }

    // Not destroyed with the awaiter: when the awaiting coroutine is unwound, the child has been.
    promise<T>* child_;
};

} // namespace detail

/// A lazy coroutine: it runs no code until it is awaited, or given to `create_task`, a task group
/// or a combinator, and that happens once. Move-only. `T` may be void, a reference, move-only or
/// not default-constructible, and is aligned to at most 16 bytes.
///
/// Awaiting runs it inside the current step; its value or exception arrives in the awaiting
/// coroutine after its locals and parameters have been destroyed. If the awaiting task is
/// cancelled, this coroutine is stopped first: see `hob::create_task`. Awaiting a task that was
/// moved from or awaited before throws `usage_error`.
///
/// Its frame comes from a pool of recycled memory; if the coroutine's first two parameters are
/// `std::allocator_arg` and an allocator, from that. What allocating throws leaves the call of the
/// coroutine.
template <class T> class [[nodiscard("a task does nothing until it is awaited")]] task {
  public:
    using promise_type = detail::promise<T>;
    using value_type = T;

    /// Holds no coroutine, as after a move.
    explicit task(std::nullptr_t) noexcept : child_(nullptr) {}
    task(task&& other) noexcept : child_(other.release()) {}
    task& operator=(task&& other) noexcept {
        if (this != &other) {
            destroy();
            child_ = other.release();
        }
        return *this;
    }
    ~task() { destroy(); }

    /// False after the task was moved from or awaited.
    [[nodiscard]] explicit operator bool() const noexcept { return child_ != nullptr; }

    // Declared for the message that a coroutine gets which is not of hob and awaits a task.
    static constexpr bool await_ready() noexcept { return false; }
    template <detail::hob_promise Promise> void await_suspend(std::coroutine_handle<Promise>);
    T await_resume();

    /// What `co_await std::move(task)` waits with.
    [[nodiscard]] auto make_awaiter() && noexcept {
        return detail::task_awaiter<T>(std::exchange(child_, nullptr));
    }

    /// Destroys a coroutine that was not started on purpose.
    void discard() noexcept {
        if (child_ != nullptr)
            std::exchange(child_, nullptr)->coroutine().destroy();
    }

    /// For what is going to start it: the coroutine, which there has to be.
    [[nodiscard]] promise_type& root() const noexcept { return *child_; }
    /// For combinators: gives up the coroutine. Null when there is none.
    [[nodiscard]] promise_type* release() noexcept { return std::exchange(child_, nullptr); }

  private:
    friend promise_type;
    explicit task(promise_type& child) noexcept : child_(&child) {}

    void destroy() noexcept {
        if (child_ != nullptr) [[unlikely]]
            destroy_unawaited(*std::exchange(child_, nullptr));
    }
    [[gnu::noinline]] static void destroy_unawaited(promise_type& child) noexcept {
        detail::report_never_awaited(child);
        child.coroutine().destroy();
    }

    promise_type* child_;
};

namespace detail {

template <class T> task<T> promise<T>::get_return_object(source_pointer where) noexcept {
    static_assert(alignof(promise<T>) <= 16,
                  "hob: the result of a task may be aligned to at most 16 bytes");
    this->set_position(where);
    return task<T>(*this);
}
inline task<void> promise<void>::get_return_object(source_pointer where) noexcept {
    this->set_position(where);
    return task<void>(*this);
}

/// Refuses a task that cannot be started, before anything else has been.
template <class T> void require_root(const task<T>& coroutine) {
    if (!coroutine)
        throw usage_error("a task was started that was moved from or awaited before");
}

/// The promise of a coroutine that was called with an allocator, a copy of which is kept behind
/// the frame. `Class` is that of a member function or a closure, and `Rest` the parameters behind
/// the allocator: GCC takes an `operator new` that is a template for no match of this
/// `operator delete`, and warns.
template <class T, class Allocator, class Class, class... Rest>
class allocated_promise final : public promise<T> {
    struct alignas(16) block {
        std::byte bytes[16];
    };
    using allocator_type = typename std::allocator_traits<Allocator>::template rebind_alloc<block>;
    using traits = std::allocator_traits<allocator_type>;
    static_assert(std::is_same_v<typename traits::pointer, block*>,
                  "hob: the allocator of a coroutine must have plain pointers");
    static_assert(alignof(allocator_type) <= alignof(block),
                  "hob: the allocator of a coroutine may be aligned to at most 16 bytes");

  public:
    // Of a closure, too, which Clang leaves out.
    [[nodiscard]] static void* operator new(std::size_t size, std::allocator_arg_t,
                                            const Allocator& allocator,
                                            const std::remove_reference_t<Rest>&...) {
        return allocate(size, allocator);
    }
    [[nodiscard]] static void* operator new(std::size_t size, const std::remove_reference_t<Class>&,
                                            std::allocator_arg_t, const Allocator& allocator,
                                            const std::remove_reference_t<Rest>&...) {
        return allocate(size, allocator);
    }
    static void operator delete(void* frame, std::size_t size) noexcept {
        auto* const kept = std::launder(reinterpret_cast<allocator_type*>(behind(frame, size)));
        allocator_type allocator(std::move(*kept));
        std::destroy_at(kept);
        traits::deallocate(allocator, static_cast<block*>(frame), blocks(size));
    }

  private:
    static void* allocate(std::size_t size, const Allocator& given) {
        allocator_type allocator(given);
        block* const frame = traits::allocate(allocator, blocks(size));
        ::new (behind(frame, size)) allocator_type(std::move(allocator));
        return frame;
    }
    static constexpr std::size_t blocks_of(std::size_t size) noexcept {
        return (size + sizeof(block) - 1) / sizeof(block);
    }
    static constexpr std::size_t blocks(std::size_t frame_size) noexcept {
        return blocks_of(frame_size) + blocks_of(sizeof(allocator_type));
    }
    static void* behind(void* frame, std::size_t size) noexcept {
        return static_cast<block*>(frame) + blocks_of(size);
    }
};

} // namespace detail
} // namespace hob

template <class T, class Allocator, class... Rest>
struct std::coroutine_traits<hob::task<T>, std::allocator_arg_t, Allocator, Rest...> {
    using promise_type =
        hob::detail::allocated_promise<T, std::remove_cvref_t<Allocator>, std::nullptr_t, Rest...>;
};
template <class T, class Class, class Allocator, class... Rest>
struct std::coroutine_traits<hob::task<T>, Class, std::allocator_arg_t, Allocator, Rest...> {
    using promise_type =
        hob::detail::allocated_promise<T, std::remove_cvref_t<Allocator>, Class, Rest...>;
};
