// SPDX-License-Identifier: MIT
// hob::for_each_limited: a task for each element, a limited number of them at a time.
#pragma once

#include <hob/core/as_task.hpp>
#include <hob/core/callable.hpp>
#include <hob/sleep.hpp>
#include <hob/sync/semaphore.hpp>
#include <hob/task_group.hpp>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <iterator>
#include <limits>
#include <ranges>
#include <type_traits>
#include <utility>

namespace hob {
namespace detail {

inline void require_limit(std::size_t limit) {
    if (limit == 0)
        throw usage_error("a limit of tasks at a time has to be at least 1");
}

/// Keeps its place among the tasks that run at a time until it has ended.
template <class T> task<> run_limited(task<T> work, semaphore_permit) {
    co_await std::move(work);
}

template <class Range, class Function> class limited_starter {
  public:
    limited_starter(std::size_t limit, Range& range, Function& function)
        : places_(static_cast<std::ptrdiff_t>(
              std::min(limit, std::size_t(std::numeric_limits<std::ptrdiff_t>::max())))),
          range_(range), function_(function) {}

    task<> operator()(task_group& group) {
        auto each = std::ranges::begin(range_);
        const auto end = std::ranges::end(range_);
        while (each != end) {
            auto acquiring = places_.acquire();
            semaphore_permit place = co_await acquiring;
            // The place may be one of a task that has failed. The cancellation of the body comes
            // within this turn or the next one; to return instead would look like success.
            while (group.is_cancelled()) {
                auto stop = yield();
                co_await stop;
            }
            if (is_taken_ && ++each == end)
                co_return;
            is_taken_ = true;
            group.start(run_limited(as_task(function_(*each)), std::move(place)));
        }
    }

  private:
    semaphore places_;
    Range& range_;
    Function& function_;
    bool is_taken_ = false; ///< the element at hand, so that the next one waits for a place
};

template <class Range, class Function>
task<> run_each_limited(std::size_t limit, Range range, Function function) {
    limited_starter<std::remove_reference_t<Range>, std::remove_reference_t<Function>> starter(
        limit, range, function);
    auto group = with_task_group(std::ref(starter));
    co_await std::move(group);
}

} // namespace detail

/// Calls `function(element)`, which returns a task or another awaitable, for each element of
/// `range` in order, and runs at most `limit` of them at a time; returns when all have ended. The
/// next element is taken only when a place is free, so `range` may be lazy. For their values, see
/// `map_limited`.
///
///     auto fetch_one = [&](const std::string& url) { return fetch(url, pages); };
///     co_await hob::for_each_limited(10, urls, fetch_one);
///
/// A temporary range or callable is kept; one with a name is referred to and has to live as long.
/// If a task fails, the others are cancelled and awaited, and an `exception_group` is thrown, as by
/// `with_task_group`. Cancelling the awaiting task cancels all of them. Throws `usage_error` for a
/// limit of 0.
template <std::ranges::input_range Range, class Function>
    requires detail::taskable<
        std::invoke_result_t<Function&, std::ranges::range_reference_t<Range>>>
task<> for_each_limited(std::size_t limit, Range&& range, Function&& function) {
    detail::check_callable<Function>();
    detail::require_limit(limit);
    return detail::run_each_limited<Range, Function>(limit, std::forward<Range>(range),
                                                     std::forward<Function>(function));
}

} // namespace hob
