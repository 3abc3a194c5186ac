// SPDX-License-Identifier: MIT
// A function with its arguments, called on one thread and asked for its outcome on another.
#pragma once

#include <hob/core/current_context.hpp>
#include <hob/core/result.hpp>

#include <exception>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace hob::detail {

template <class Function, class... Arguments> class bound_call {
  public:
    using value_type = std::invoke_result_t<Function, Arguments...>;

    explicit bound_call(Function&& function, Arguments&&... arguments)
        : function_(std::move(function)), arguments_(std::move(arguments)...) {}

    void operator()() noexcept {
        // When the handler ends, the outcome holds the only reference to the exception: it is
        // destroyed where the outcome is.
        const context_guard guard(variables_);
        try {
            if constexpr (std::is_void_v<value_type>) {
                invoke();
                outcome_.set_value();
            } else {
                outcome_.set_value(invoke());
            }
        } catch (...) {
            outcome_.set_exception(std::current_exception());
        }
    }
    void fail(std::exception_ptr error) noexcept { outcome_.set_exception(std::move(error)); }

    /// The value, or throws the exception.
    [[nodiscard]] value_type get() { return outcome_.get(); }
    /// The exception; null if there is none.
    [[nodiscard]] std::exception_ptr error() const noexcept {
        return outcome_.state() == outcome_state::exception ? outcome_.exception() : nullptr;
    }

  private:
    decltype(auto) invoke() {
        return std::apply(
            [this](Arguments&... each) -> decltype(auto) {
                return std::invoke(std::move(function_), std::move(each)...);
            },
            arguments_);
    }

    context variables_ = copy_context();
    Function function_;
    std::tuple<Arguments...> arguments_;
    outcome<value_type> outcome_;
};

} // namespace hob::detail
