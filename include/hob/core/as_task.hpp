// SPDX-License-Identifier: MIT
// Anything that can be awaited, as a task.
#pragma once

#include <hob/core/awaitable.hpp>
#include <hob/task.hpp>

#include <concepts>
#include <type_traits>
#include <utility>
#include <vector>

namespace hob::detail {

// In the coroutines of these headers, what lives across an await has a name: GCC numbers the rest,
// and takes the versions of two units for different types when it links with -flto.

/// A task that does nothing but await. What it awaits lives as long as it does, and no longer.
template <class Result, class Awaitable>
task<Result> run_await(std::decay_t<Awaitable> awaited, source_pointer where) {
    placed<Awaitable> each{static_cast<Awaitable&&>(awaited), where};
    if constexpr (std::is_void_v<Result>) {
        co_await each;
    } else {
        Result result = co_await each;
        co_return static_cast<Result&&>(result);
    }
}
/// The same, seen by a reader at `where` from its beginning.
template <class Result, class Awaitable>
task<Result> await_in_task(Awaitable&& awaited, source_pointer where) {
    task<Result> made = run_await<Result, Awaitable>(std::forward<Awaitable>(awaited), where);
    made.root().set_position(where);
    return made;
}

/// For a combinator, which a reader is shown in its place. A task stays what it is.
template <class T> task<T> as_task(task<T>&& coroutine) noexcept {
    return std::move(coroutine);
}
template <class Awaitable>
    requires(!is_task<std::remove_cvref_t<Awaitable>> && awaitable<Awaitable>)
auto as_task(Awaitable&& awaited) {
    return await_in_task<await_result_t<Awaitable>, Awaitable>(std::forward<Awaitable>(awaited),
                                                               nowhere);
}

template <class Awaitable>
concept taskable = requires(Awaitable&& a) { as_task(std::forward<Awaitable>(a)); };

/// What awaiting gives, seen through `as_task`.
template <class Awaitable>
using task_result_t = typename decltype(as_task(std::declval<Awaitable>()))::value_type;

/// What can be awaited and is no task.
template <class Awaitable>
concept awaitable_to_spawn = taskable<Awaitable> && !is_task<std::remove_cvref_t<Awaitable>>;

/// What is kept of the result when the task ends before somebody asks for it: a reference may point
/// into what was awaited, so the value, unless it cannot be copied.
template <class Result>
using kept_result_t =
    std::conditional_t<std::is_reference_v<Result> &&
                           std::constructible_from<std::remove_cvref_t<Result>, Result>,
                       std::remove_cvref_t<Result>, Result>;

/// For a combinator that gives the result as a part of another object: a value for a reference.
template <class Awaitable> auto as_kept_task(Awaitable&& awaited) {
    using Result = task_result_t<Awaitable>;
    static_assert(
        !std::is_reference_v<kept_result_t<Result>>,
        "hob: this gives a reference to what cannot be copied: give the handle away, with "
        "std::move");
    if constexpr (std::is_reference_v<Result>)
        return await_in_task<kept_result_t<Result>, Awaitable>(std::forward<Awaitable>(awaited),
                                                               nowhere);
    else
        return as_task(std::forward<Awaitable>(awaited));
}
template <class Awaitable>
using kept_task_result_t = typename decltype(as_kept_task(std::declval<Awaitable>()))::value_type;

/// A task to be spawned, which keeps its result.
template <awaitable_to_spawn Awaitable>
auto as_spawned_task(Awaitable&& awaited, source_pointer where) {
    return await_in_task<kept_result_t<await_result_t<Awaitable>>, Awaitable>(
        std::forward<Awaitable>(awaited), where);
}

/// Such tasks for a range. Results are moved out of awaitables that are given away.
template <class Awaitable>
    requires awaitable_to_spawn<Awaitable>
auto as_spawned_tasks(std::vector<Awaitable>&& awaitables) {
    std::vector<decltype(as_spawned_task(std::declval<Awaitable>(), nowhere))> tasks;
    tasks.reserve(awaitables.size());
    for (Awaitable& each : awaitables)
        tasks.push_back(as_spawned_task(std::move(each), nowhere));
    return tasks;
}
template <class Awaitable>
    requires awaitable_to_spawn<const Awaitable&>
auto as_spawned_tasks(const std::vector<Awaitable>& awaitables) {
    std::vector<decltype(as_spawned_task(std::declval<const Awaitable&>(), nowhere))> tasks;
    tasks.reserve(awaitables.size());
    for (const Awaitable& each : awaitables)
        tasks.push_back(as_spawned_task(each, nowhere));
    return tasks;
}

template <class Task>
inline constexpr bool keeps_value = !std::is_reference_v<typename Task::value_type>;

/// A vector of awaitables whose results can be kept in another one.
template <class Range>
concept spawnable_range = requires(Range&& range) {
    requires keeps_value<typename decltype(as_spawned_tasks(
        static_cast<Range&&>(range)))::value_type>;
};

} // namespace hob::detail
