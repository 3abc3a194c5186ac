// SPDX-License-Identifier: MIT
// What may be awaited in a hob coroutine.
#pragma once

#include <hob/core/operation.hpp>

#include <concepts>
#include <coroutine>
#include <tuple>
#include <type_traits>
#include <utility>

namespace hob {

template <class T> class task;

namespace detail {

template <class T> inline constexpr bool is_task = false;
template <class T> inline constexpr bool is_task<task<T>> = true;

/// Derive from this to be awaited by a hob coroutine as you are. Operations are so by nature.
class awaiter_base {};

/// Awaiters that speak hob's protocol: their `await_suspend` takes a `hob_promise`.
template <class Awaitable>
concept hob_awaiter = is_task<std::remove_cvref_t<Awaitable>> ||
                      std::derived_from<std::remove_cvref_t<Awaitable>, operation> ||
                      std::derived_from<std::remove_cvref_t<Awaitable>, awaiter_base>;

/// Awaitables of hob that make their awaiter when they are awaited.
template <class Awaitable>
concept makes_hob_awaiter = requires(Awaitable&& a) {
    { static_cast<Awaitable&&>(a).make_awaiter() } -> hob_awaiter;
};

/// A task is consumed by its await, so it has to be given away.
template <class Awaitable>
inline constexpr bool may_be_awaited =
    !is_task<std::remove_cvref_t<Awaitable>> || !std::is_lvalue_reference_v<Awaitable>;

template <class Awaitable>
concept has_member_co_await =
    requires(Awaitable&& a) { static_cast<Awaitable&&>(a).operator co_await(); };
template <class Awaitable>
concept has_free_co_await =
    requires(Awaitable&& a) { operator co_await(static_cast<Awaitable&&>(a)); };
template <class Awaiter>
concept standard_awaiter = requires(Awaiter& a, std::coroutine_handle<> h) {
    { a.await_ready() } -> std::convertible_to<bool>;
    a.await_suspend(h);
    a.await_resume();
};

/// What is no awaitable of hob, but can be awaited by the language's rules.
template <class Awaitable>
concept foreign_awaitable = !hob_awaiter<Awaitable> && !makes_hob_awaiter<Awaitable> &&
                            (has_member_co_await<Awaitable> || has_free_co_await<Awaitable> ||
                             standard_awaiter<std::remove_reference_t<Awaitable>>);

template <class Awaitable>
concept awaitable =
    hob_awaiter<Awaitable> || makes_hob_awaiter<Awaitable> || foreign_awaitable<Awaitable>;

template <class Awaitable> decltype(auto) get_foreign_awaiter(Awaitable&& awaited) {
    if constexpr (has_member_co_await<Awaitable>)
        return static_cast<Awaitable&&>(awaited).operator co_await();
    else if constexpr (has_free_co_await<Awaitable>)
        return operator co_await(static_cast<Awaitable&&>(awaited));
    else
        return static_cast<Awaitable&&>(awaited);
}

template <class Awaitable> decltype(auto) await_resume_of(Awaitable&& awaited) {
    if constexpr (makes_hob_awaiter<Awaitable>)
        return static_cast<Awaitable&&>(awaited).make_awaiter().await_resume();
    else if constexpr (hob_awaiter<Awaitable>)
        return awaited.await_resume();
    else
        return get_foreign_awaiter(static_cast<Awaitable&&>(awaited)).await_resume();
}

/// What `co_await` of it gives.
template <class Awaitable>
using await_result_t = decltype(await_resume_of(std::declval<Awaitable>()));

/// A reference is copied, and not what it refers to.
template <class... Ts>
concept all_copyable = ((std::is_lvalue_reference_v<Ts> || std::copy_constructible<Ts>) && ...);

/// An operation that is made when it is awaited. Operations cannot move, but this can: it may be
/// stored, and given to a combinator.
template <class Operation, class... Arguments>
class [[nodiscard("an operation does nothing until it is awaited")]] deferred {
  public:
    using operation_type = Operation;

    explicit deferred(Arguments... arguments) : arguments_(std::forward<Arguments>(arguments)...) {}

    [[nodiscard]] Operation make_awaiter() && {
        return std::apply(
            [](Arguments&... each) { return Operation(std::forward<Arguments>(each)...); },
            arguments_);
    }
    [[nodiscard]] Operation make_awaiter() &
        requires all_copyable<Arguments...>
    {
        return std::apply([](auto&... each) { return Operation(static_cast<Arguments>(each)...); },
                          arguments_);
    }

    /// The same arguments for a variation of the operation.
    template <class Other> [[nodiscard]] deferred<Other, Arguments...> change() && {
        return std::apply(
            [](Arguments&... each) {
                return deferred<Other, Arguments...>(std::forward<Arguments>(each)...);
            },
            arguments_);
    }

  private:
    std::tuple<Arguments...> arguments_;
};

} // namespace detail
} // namespace hob
