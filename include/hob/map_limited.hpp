// SPDX-License-Identifier: MIT
// hob::map_limited: the values of a task for each element, a limited number of them at a time.
#pragma once

#include <hob/core/as_task.hpp>
#include <hob/core/callable.hpp>
#include <hob/for_each_limited.hpp>

#include <cstddef>
#include <deque>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

namespace hob {
namespace detail {

/// What is kept of what `function(element)` gives when it is awaited.
template <class Function, class Range>
using mapped_value_t = kept_result_t<
    task_result_t<std::invoke_result_t<Function&, std::ranges::range_reference_t<Range>>>>;

template <class T, class Task> task<> keep_value(Task work, std::optional<T>& place) {
    T value = co_await std::move(work);
    place.emplace(std::move(value));
}

template <class T, class Range, class Function>
task<std::vector<T>> run_map_limited(std::size_t limit, Range range, Function function) {
    // Tasks write into it while it grows.
    std::deque<std::optional<T>> places;
    auto start_one = [&](auto&& element) {
        return keep_value(as_task(function(std::forward<decltype(element)>(element))),
                          places.emplace_back());
    };
    auto all = run_each_limited<std::remove_reference_t<Range>&, decltype(start_one)&>(limit, range,
                                                                                       start_one);
    co_await std::move(all);
    std::vector<T> values;
    values.reserve(places.size());
    for (std::optional<T>& each : places) {
        if (!each)
            throw cancelled_error("an element of map_limited");
        values.push_back(*std::move(each));
    }
    co_return values;
}

} // namespace detail

/// As `for_each_limited`, and gives a vector of the values of the tasks, in the order of the
/// elements.
///
///     auto fetch_one = [&](const std::string& url) { return fetch(url); };
///     const std::vector<page> pages = co_await hob::map_limited(10, urls, fetch_one);
///
/// Throws `std::bad_alloc` in addition, and `cancelled_error` if the task of an element was
/// cancelled on its own.
template <std::ranges::input_range Range, class Function>
    requires(
        detail::taskable<std::invoke_result_t<Function&, std::ranges::range_reference_t<Range>>> &&
        std::is_object_v<detail::mapped_value_t<Function, Range>>)
auto map_limited(std::size_t limit, Range&& range, Function&& function) {
    detail::check_callable<Function>();
    detail::require_limit(limit);
    return detail::run_map_limited<detail::mapped_value_t<Function, Range>, Range, Function>(
        limit, std::forward<Range>(range), std::forward<Function>(function));
}

} // namespace hob
