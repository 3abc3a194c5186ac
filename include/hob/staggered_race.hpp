// SPDX-License-Identifier: MIT
// hob::staggered_race: attempts that start one after the other until one succeeds.
#pragma once

#include <hob/core/optional_task.hpp>
#include <hob/core/scheduled_call.hpp>
#include <hob/race.hpp>
#include <hob/sync/event.hpp>
#include <hob/timeout.hpp>

#include <chrono>
#include <cstddef>
#include <deque>
#include <utility>
#include <vector>

namespace hob {
namespace detail {

/// What the next attempt waits for.
class attempt_state {
  public:
    event started;
    event failed;
};

template <class T>
task<T> staggered_attempt(optional_task<T> attempt, attempt_state* previous, attempt_state& own,
                          std::chrono::nanoseconds delay) {
    try {
        if (previous != nullptr) {
            auto start = previous->started.wait();
            co_await start;
            auto failure = try_timeout(delay, previous->failed.wait());
            [[maybe_unused]] const auto failed = co_await std::move(failure);
        }
        own.started.set();
        task<T> work = attempt.take();
        if constexpr (std::is_void_v<T>) {
            co_await std::move(work);
        } else {
            T value = co_await std::move(work);
            co_return static_cast<T&&>(value);
        }
    } catch (...) {
        // Memory may have been lacking before it started.
        own.started.set();
        own.failed.set();
        throw;
    }
}

template <class T>
task<race_winner<value_or_monostate<T>>> run_staggered(std::chrono::nanoseconds delay,
                                                       std::vector<task<T>> attempts) {
    std::deque<attempt_state> states(attempts.size());
    std::vector<task<T>> staggered;
    staggered.reserve(attempts.size());
    for (std::size_t index = 0; index != attempts.size(); ++index)
        staggered.push_back(staggered_attempt(optional_task<T>(std::move(attempts[index])),
                                              index == 0 ? nullptr : &states[index - 1],
                                              states[index], delay));
    auto racing = race(std::move(staggered));
    race_winner<value_or_monostate<T>> winner = co_await std::move(racing);
    co_return winner;
}

} // namespace detail

/// Starts the first of `attempts`, and each next one when `delay` has passed since the start of the
/// one before it, or when that one fails; takes the first value, cancels the other attempts and
/// returns, after all of them have ended, a `race_winner` that tells who won. An attempt whose turn
/// does not come never runs. What happy eyeballs (RFC 8305) does with addresses.
///
/// If all fail, an `exception_group` with their exceptions is thrown. Cancelling the awaiting task
/// cancels every attempt. Throws `usage_error` if there is no attempt or `delay` is no number.
template <class Rep, class Period, class T>
auto staggered_race(std::chrono::duration<Rep, Period> delay, std::vector<task<T>> attempts) {
    return detail::run_staggered<T>(
        detail::deadline_after(detail::time_point(), delay).time_since_epoch(),
        std::move(attempts));
}

} // namespace hob
