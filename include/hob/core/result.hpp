// SPDX-License-Identifier: MIT
// hob::result<T>, and the slot in which a coroutine leaves its outcome.
#pragma once

#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

namespace hob {

/// A value or a `std::error_code`: what `hob::as_result` gives. `T` may be void.
template <class T> class [[nodiscard]] result {
  public:
    result(T value) : value_(std::move(value)) {}
    result(std::error_code error) noexcept : error_(error) {}

    [[nodiscard]] bool has_value() const noexcept { return value_.has_value(); }
    [[nodiscard]] explicit operator bool() const noexcept { return has_value(); }

    /// The error; a default `std::error_code` (no error) when there is a value.
    [[nodiscard]] std::error_code error() const noexcept { return error_; }

    /// The value. Throws `std::system_error` with the error when there is none.
    [[nodiscard]] T& value() & { return require(), *value_; }
    [[nodiscard]] const T& value() const& { return require(), *value_; }
    [[nodiscard]] T value() && { return require(), *std::move(value_); }

    /// The value, unchecked: there has to be one.
    [[nodiscard]] T& operator*() & noexcept { return *value_; }
    [[nodiscard]] const T& operator*() const& noexcept { return *value_; }
    [[nodiscard]] T operator*() && { return *std::move(value_); }
    [[nodiscard]] T* operator->() noexcept { return &*value_; }

    [[nodiscard]] T value_or(T other) && { return value_ ? *std::move(value_) : std::move(other); }

  private:
    void require() const {
        if (!value_)
            throw std::system_error(error_);
    }

    std::optional<T> value_;
    std::error_code error_;
};

template <> class [[nodiscard]] result<void> {
  public:
    result() = default;
    result(std::error_code error) noexcept : error_(error) {}

    [[nodiscard]] bool has_value() const noexcept { return !error_; }
    [[nodiscard]] explicit operator bool() const noexcept { return has_value(); }
    [[nodiscard]] std::error_code error() const noexcept { return error_; }
    /// Throws `std::system_error` when there is an error.
    void value() const {
        if (error_)
            throw std::system_error(error_);
    }

  private:
    std::error_code error_;
};

namespace detail {

/// How a coroutine or an operation ended, or that it has not.
enum class outcome_state : unsigned char { empty, value, exception, stopped };

/// Holds the outcome of a coroutine: nothing yet, a value, an exception, or stopped.
template <class T> class outcome {
    using stored = std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*,
                                      std::remove_const_t<T>>;

  public:
    outcome() noexcept {}
    outcome(const outcome&) = delete;
    outcome& operator=(const outcome&) = delete;
    ~outcome() { reset(); }

    [[nodiscard]] outcome_state state() const noexcept { return state_; }
    [[nodiscard]] const std::exception_ptr& exception() const noexcept { return exception_; }

    template <class U> void set_value(U&& value) {
        if constexpr (std::is_reference_v<T>)
            ::new (static_cast<void*>(&value_)) stored(std::addressof(value));
        else
            ::new (static_cast<void*>(&value_)) stored(std::forward<U>(value));
        state_ = outcome_state::value;
    }
    void set_exception(std::exception_ptr error) noexcept {
        ::new (static_cast<void*>(&exception_)) std::exception_ptr(std::move(error));
        state_ = outcome_state::exception;
    }
    void set_stopped() noexcept { state_ = outcome_state::stopped; }

    /// Moves the outcome of `other` here. A throwing move constructor becomes the exception.
    void take(outcome& other) noexcept {
        if (other.state_ == outcome_state::value) {
            try {
                ::new (static_cast<void*>(&value_)) stored(std::move(other.value_));
                state_ = outcome_state::value;
            } catch (...) {
                set_exception(std::current_exception());
            }
        } else if (other.state_ == outcome_state::exception) {
            set_exception(std::move(other.exception_));
        } else {
            state_ = other.state_;
        }
        other.reset();
    }

    /// The value, or throws the exception.
    T get() {
        if (state_ == outcome_state::exception)
            std::rethrow_exception(std::move(exception_));
        if constexpr (std::is_reference_v<T>)
            return static_cast<T>(*value_);
        else
            return std::move(value_);
    }
    /// The value in place, or throws the exception, which stays.
    decltype(auto) peek() const {
        if (state_ == outcome_state::exception)
            std::rethrow_exception(exception_);
        if constexpr (std::is_reference_v<T>)
            return static_cast<T>(*value_);
        else
            return static_cast<const stored&>(value_);
    }

    void reset() noexcept {
        if (state_ == outcome_state::value)
            std::destroy_at(&value_);
        else if (state_ == outcome_state::exception)
            std::destroy_at(&exception_);
        state_ = outcome_state::empty;
    }

  private:
    union {
        stored value_;
        std::exception_ptr exception_;
    };
    outcome_state state_ = outcome_state::empty;
};

/// Of a void coroutine only the exception is kept, in eight bytes: a million sleeping tasks notice.
template <> class outcome<void> {
  public:
    [[nodiscard]] outcome_state state() const noexcept {
        return exception_ ? outcome_state::exception : outcome_state::value;
    }
    [[nodiscard]] const std::exception_ptr& exception() const noexcept { return exception_; }
    void set_value() noexcept {}
    void set_exception(std::exception_ptr error) noexcept { exception_ = std::move(error); }
    void set_stopped() noexcept {}
    void take(outcome& other) noexcept { exception_ = std::move(other.exception_); }
    void get() {
        if (exception_)
            std::rethrow_exception(std::move(exception_));
    }
    void peek() const {
        if (exception_)
            std::rethrow_exception(exception_);
    }

  private:
    std::exception_ptr exception_;
};

} // namespace detail
} // namespace hob
