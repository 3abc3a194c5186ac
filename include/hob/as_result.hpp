// SPDX-License-Identifier: MIT
// hob::as_result: an operation's error as a value instead of an exception.
#pragma once

#include <hob/core/awaitable.hpp>
#include <hob/core/result.hpp>
#include <hob/task.hpp>

#include <system_error>
#include <type_traits>
#include <utility>

namespace hob {
namespace detail {

/// An operation of the ring whose outcome can be had without an exception.
template <class Operation>
concept has_result = requires(Operation& finished) { finished.take_result(); };

template <class Operation> class result_operation final : public Operation {
  public:
    using Operation::Operation;
    auto await_resume() { return this->take_result(); }
};

template <class Awaitable, class T> task<result<T>> catch_error(Awaitable awaited) {
    try {
        if constexpr (std::is_void_v<T>) {
            co_await std::move(awaited);
            co_return result<T>();
        } else {
            T value = co_await std::move(awaited);
            co_return result<T>(std::move(value));
        }
    } catch (const std::system_error& error) {
        co_return result<T>(error.code());
    }
}

} // namespace detail

/// `co_await as_result(stream.read_some(buffer))` gives a `hob::result`: the value, or the
/// `std::error_code` that would have been thrown as `std::system_error`. For an I/O operation
/// nothing is thrown, nor allocated. For a task, a `std::system_error` that leaves it is caught;
/// other exceptions pass. Cancellation stops the awaiting coroutine as ever.
template <class Operation, class... Arguments>
    requires detail::has_result<Operation>
auto as_result(detail::deferred<Operation, Arguments...> operation) {
    return std::move(operation).template change<detail::result_operation<Operation>>();
}

template <class Awaitable>
    requires(detail::awaitable<Awaitable> && !std::is_lvalue_reference_v<Awaitable>)
auto as_result(Awaitable&& awaited) {
    return detail::catch_error<Awaitable, detail::await_result_t<Awaitable>>(
        std::forward<Awaitable>(awaited));
}

} // namespace hob
