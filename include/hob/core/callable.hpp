// SPDX-License-Identifier: MIT
// Refuses the callables that GCC 12 would destroy twice, and coroutines where functions belong.
#pragma once

#include <hob/core/awaitable.hpp>

#include <concepts>
#include <type_traits>

namespace hob::detail {

/// GCC before 13 destroys some temporaries of a `co_await` expression twice (PR 99576, 98401): a
/// closure that has captured something with a destructor, and an aggregate of such things.
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
inline constexpr bool destroys_temporaries_twice = true;
#else
inline constexpr bool destroys_temporaries_twice = false;
#endif

/// Whether `F`, as deduced for a parameter `F&&`, may be such a temporary. A closure with captures
/// is told by its missing default constructor, which takes some innocent classes along.
template <class F>
concept fragile_temporary = std::is_class_v<F> && !std::is_trivially_destructible_v<F> &&
                            (!std::is_default_constructible_v<F> || std::is_aggregate_v<F>);

/// For every public function that takes a callable as `F&&` and returns something to be awaited.
/// What has a name is an lvalue, which passes. The caller takes a copy of it; `std::ref` spares the
/// copy, and the awaiting coroutine keeps the original alive.
template <class F> consteval void check_callable() {
    static_assert(!destroys_temporaries_twice || !fragile_temporary<F>,
                  "hob: this compiler (GCC before 13) destroys such a temporary callable of a "
                  "co_await expression twice. Name the callable first: "
                  "`auto job = [...] {...}; co_await f(job);` "
                  "or, if it cannot be copied, `co_await f(std::ref(job));`");
}

/// Whether the call makes a task.
template <class Function, class... Arguments> inline constexpr bool makes_task = false;
template <class Function, class... Arguments>
    requires std::invocable<Function, Arguments...>
inline constexpr bool makes_task<Function, Arguments...> =
    is_task<std::invoke_result_t<Function, Arguments...>>;

/// For a function that the loop calls, and whose result it drops: a task would never run.
template <class Function, class... Arguments> consteval void check_callback() {
    static_assert(!makes_task<Function, Arguments...>,
                  "hob: nobody would await the task that this function returns. Give a function "
                  "that starts it: `[] { hob::create_task(f()); }`");
}

/// For a function that a thread of a pool calls, where a task would not run either.
template <class Function, class... Arguments> consteval void check_job() {
    static_assert(!makes_task<Function, Arguments...>,
                  "hob: a coroutine cannot run on a thread of a pool: give a function, or await "
                  "the coroutine directly");
}

} // namespace hob::detail
