// SPDX-License-Identifier: MIT
// Reading and writing a file: what the awaiters do.
#pragma once

#include <hob/core/result.hpp>
#include <hob/core/ring_request.hpp>
#include <hob/core/sanitizers.hpp>
#include <hob/core/stream_error.hpp>
#include <hob/fs/file_operation.hpp>

#include <cerrno>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace hob::detail {

class read_at_operation : public transfer_operation {
  public:
    read_at_operation(file_ref target, std::span<std::byte> buffer, std::uint64_t offset) noexcept
        : transfer_operation(std::move(target)), buffer_(buffer), offset_(offset) {}

    std::size_t await_resume() {
        require_success();
        return static_cast<std::size_t>(result_);
    }
    [[nodiscard]] result<std::size_t> take_result() noexcept {
        return value_or_error(static_cast<std::size_t>(result_));
    }

  private:
    void prepare(io_uring_sqe& entry) noexcept override {
        check_buffer(buffer_.data(), buffer_.size());
        io_uring_prep_read(&entry, fd(), buffer_.data(), transfer_size(buffer_.size()), offset_);
    }
    void completed(int result, unsigned) noexcept override {
        if (result > 0) [[likely]]
            mark_written(buffer_.data(), static_cast<std::size_t>(result));
        finish(result);
    }
    [[nodiscard]] std::string describe() const override {
        return "read from " + target().path() + " at " + std::to_string(offset_);
    }

    std::span<std::byte> buffer_;
    std::uint64_t offset_;
};

/// Submits until the buffer is full. Reading changes nothing, so it stops wherever it is cancelled.
class read_exactly_at_operation : public file_operation {
  public:
    read_exactly_at_operation(file_ref target, std::span<std::byte> buffer,
                              std::uint64_t offset) noexcept
        : file_operation(std::move(target)), buffer_(buffer), offset_(offset) {}

    template <hob_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
        if (begin_on_file(awaiting.promise()))
            go_on();
        return true;
    }
    void await_resume() {
        if (result_ == incomplete_read) [[unlikely]]
            throw incomplete_read_error(received_, buffer_.size());
        require_success();
    }
    [[nodiscard]] result<void> take_result() noexcept { return success_or_error(); }

  private:
    void go_on() noexcept {
        if (received_ == buffer_.size())
            end(0);
        else if (!target().is_open())
            end(-EBADF);
        else if (received_ != 0 && waiter_->owner().is_cancelled())
            stop();
        else
            submit_quick();
    }
    void prepare(io_uring_sqe& entry) noexcept override {
        const std::span<std::byte> rest = buffer_.subspan(received_);
        check_buffer(rest.data(), rest.size());
        io_uring_prep_read(&entry, fd(), rest.data(), transfer_size(rest.size()),
                           offset_ + received_);
    }
    void completed(int result, unsigned) noexcept override {
        if (result > 0) [[likely]] {
            const auto count = static_cast<std::size_t>(result);
            mark_written(buffer_.data() + received_, count);
            received_ += count;
            go_on();
        } else {
            finish(result == 0 ? incomplete_read : result);
        }
    }
    [[nodiscard]] std::string describe() const override {
        return "read from " + target().path() + " at " + std::to_string(offset_ + received_);
    }

    std::span<std::byte> buffer_;
    std::uint64_t offset_;
    std::size_t received_ = 0;
};

class write_at_operation : public transfer_operation {
  public:
    write_at_operation(file_ref target, std::span<const std::byte> bytes,
                       std::uint64_t offset) noexcept
        : transfer_operation(std::move(target)), bytes_(bytes), offset_(offset) {}

    std::size_t await_resume() {
        require_success();
        return static_cast<std::size_t>(result_);
    }
    [[nodiscard]] result<std::size_t> take_result() noexcept {
        return value_or_error(static_cast<std::size_t>(result_));
    }

  private:
    void prepare(io_uring_sqe& entry) noexcept override {
        check_buffer(bytes_.data(), bytes_.size());
        io_uring_prep_write(&entry, fd(), bytes_.data(), transfer_size(bytes_.size()), offset_);
    }
    void completed(int result, unsigned) noexcept override {
        check_buffer(bytes_.data(), bytes_.size());
        finish(result);
    }
    [[nodiscard]] std::string describe() const override {
        return "write to " + target().path() + " at " + std::to_string(offset_);
    }

    std::span<const std::byte> bytes_;
    std::uint64_t offset_;
};

/// Submits until the kernel has taken every byte. Once it has taken some, a cancellation comes too
/// late: a file never waits for anybody, so the rest follows soon.
class write_all_at_operation : public file_operation {
  public:
    write_all_at_operation(file_ref target, std::span<const std::byte> bytes,
                           std::uint64_t offset) noexcept
        : file_operation(std::move(target)), bytes_(bytes), offset_(offset) {}

    template <hob_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
        if (begin_on_file(awaiting.promise()))
            go_on();
        return true;
    }
    void await_resume() { require_success(); }
    [[nodiscard]] result<void> take_result() noexcept { return success_or_error(); }

  private:
    void go_on() noexcept {
        if (written_ == bytes_.size())
            end(0);
        else if (!target().is_open())
            end(-EBADF);
        else
            submit_quick();
    }
    void prepare(io_uring_sqe& entry) noexcept override {
        const std::span<const std::byte> rest = bytes_.subspan(written_);
        check_buffer(rest.data(), rest.size());
        io_uring_prep_write(&entry, fd(), rest.data(), transfer_size(rest.size()),
                            offset_ + written_);
    }
    void completed(int result, unsigned) noexcept override {
        check_buffer(bytes_.data(), bytes_.size());
        if (result > 0) [[likely]] {
            written_ += static_cast<std::size_t>(result);
            go_on();
        } else if (written_ != 0 && (result == -ECANCELED || result == -EINTR)) {
            go_on();
        } else {
            // Nothing can be taken and nothing is wrong: a device at its end.
            finish(result == 0 ? -ENOSPC : result);
        }
    }
    [[nodiscard]] std::string describe() const override {
        return "write to " + target().path() + " at " + std::to_string(offset_ + written_);
    }

    std::span<const std::byte> bytes_;
    std::uint64_t offset_;
    std::size_t written_ = 0;
};

} // namespace hob::detail
