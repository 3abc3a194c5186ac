// SPDX-License-Identifier: MIT
// hob::gather_outcomes: several awaitables at once, values and exceptions alike.
#pragma once

#include <hob/gather.hpp>

#include <exception>
#include <functional>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace hob {

/// How an awaitable ended: with a value or with an exception. For `void` and references the value
/// is what `gather` gives for them: `std::monostate`, and a `std::reference_wrapper`.
template <class T> class [[nodiscard]] task_outcome {
  public:
    using value_type = T;

    task_outcome(T value) : value_(std::move(value)) {}
    task_outcome(std::exception_ptr error) noexcept : error_(std::move(error)) {}

    [[nodiscard]] bool has_value() const noexcept { return value_.has_value(); }
    [[nodiscard]] explicit operator bool() const noexcept { return has_value(); }
    /// Null when there is a value.
    [[nodiscard]] const std::exception_ptr& exception() const noexcept { return error_; }

    /// The value; rethrows the exception when there is none.
    [[nodiscard]] T& value() & { return require(), *value_; }
    [[nodiscard]] const T& value() const& { return require(), *value_; }
    [[nodiscard]] T value() && { return require(), *std::move(value_); }

  private:
    void require() const {
        if (error_)
            std::rethrow_exception(error_);
    }

    std::optional<T> value_;
    std::exception_ptr error_;
};

namespace detail {

/// What a branch leaves to be stored.
template <class T>
using stored_value =
    std::conditional_t<std::is_reference_v<T>, std::reference_wrapper<std::remove_reference_t<T>>,
                       value_or_monostate<T>>;

template <class T> task_outcome<stored_value<T>> outcome_of(branch<T>& ended) {
    if (std::exception_ptr error = ended.error())
        return error;
    return stored_value<T>(ended.take());
}

template <class... Ts> class gather_outcomes_operation final : public gather_operation<Ts...> {
  public:
    using gather_operation<Ts...>::gather_operation;
    auto await_resume() {
        return std::apply(
            [](auto&... each) {
                return std::tuple<task_outcome<stored_value<Ts>>...>(outcome_of(each)...);
            },
            this->branches());
    }
};

template <class T> class gather_range_outcomes_operation final : public gather_range_operation<T> {
  public:
    using gather_range_operation<T>::gather_range_operation;
    auto await_resume() {
        std::vector<task_outcome<stored_value<T>>> outcomes;
        outcomes.reserve(this->branches().size());
        for (branch<T>& each : this->branches())
            outcomes.push_back(outcome_of(each));
        return outcomes;
    }
};

} // namespace detail

/// As `gather`, but no exception is thrown: gives a tuple of `task_outcome`, each with the value or
/// the exception of its argument (asyncio's `return_exceptions=True`). A joined task that was
/// cancelled counts as a `cancelled_error`. A `fatal_error` still leaves `run`.
template <class... Awaitables>
    requires(detail::taskable<Awaitables> && ...)
auto gather_outcomes(Awaitables&&... awaitables) {
    return detail::deferred<detail::gather_outcomes_operation<detail::task_result_t<Awaitables>...>,
                            task<detail::task_result_t<Awaitables>>...>(
        detail::as_task(std::forward<Awaitables>(awaitables))...);
}

/// The same for a number of tasks known only at run time; gives a vector of outcomes.
template <class T> auto gather_outcomes(std::vector<task<T>> tasks) {
    return detail::deferred<detail::gather_range_outcomes_operation<T>, std::vector<task<T>>>(
        std::move(tasks));
}
/// The same for a vector of handles or other awaitables. Their values are copied; moved, if the
/// vector is given away.
template <detail::spawnable_range Range> auto gather_outcomes(Range&& awaitables) {
    return gather_outcomes(detail::as_spawned_tasks(std::forward<Range>(awaitables)));
}

} // namespace hob
