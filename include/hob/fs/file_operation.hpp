// SPDX-License-Identifier: MIT
// What the operations on a file do alike.
#pragma once

#include <hob/core/error.hpp>
#include <hob/core/result.hpp>
#include <hob/core/ring_operation.hpp>
#include <hob/core/stream_error.hpp>
#include <hob/fs/open_file.hpp>

#include <cerrno>
#include <coroutine>
#include <string>
#include <system_error>
#include <utility>

namespace hob::detail {

/// An operation on an open file. The kernel refuses to end most of them before their time; then a
/// cancelled one completes as if nothing had happened.
class file_operation : public ring_operation {
  public:
    static constexpr bool await_ready() noexcept { return false; }

  protected:
    explicit file_operation(file_ref target) noexcept : target_(std::move(target)) {}
    ~file_operation() = default;

    [[nodiscard]] int fd() const noexcept { return target_->fd(); }
    [[nodiscard]] file_ref& target() noexcept { return target_; }
    [[nodiscard]] const file_ref& target() const noexcept { return target_; }

    /// For `await_suspend`: whether the kernel is to be asked. Otherwise the end is on its way.
    [[nodiscard]] bool begin_on_file(promise_base& waiter) noexcept {
        if (!begin(waiter)) [[unlikely]]
            return false;
        if (target_.is_open()) [[likely]]
            return true;
        end(-EBADF);
        return false;
    }
    void end(int result) noexcept {
        result_ = result;
        complete();
    }

    void require_success() const {
        if (result_ < 0) [[unlikely]]
            throw_error();
    }
    template <class T> [[nodiscard]] result<T> value_or_error(T value) const noexcept {
        if (result_ < 0) [[unlikely]]
            return error_code_of(result_);
        return value;
    }
    [[nodiscard]] result<void> success_or_error() const noexcept {
        if (result_ < 0) [[unlikely]]
            return error_code_of(result_);
        return {};
    }

  private:
    [[noreturn, gnu::cold, gnu::noinline]] void throw_error() const {
        if (result_ == -EBADF && !target_.is_open())
            throw closed_error(describe());
        throw std::system_error(error_code_of(result_), describe());
    }

    file_ref target_;
};

/// Reads or writes once. Of a cached page that is a copy, which the kernel makes at once.
class transfer_operation : public file_operation {
  public:
    template <hob_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
        if (begin_on_file(awaiting.promise())) [[likely]]
            submit_quick();
        return true;
    }

  protected:
    using file_operation::file_operation;
    ~transfer_operation() = default;
};

} // namespace hob::detail
