// SPDX-License-Identifier: MIT
// Reading and writing a stream socket: what the awaiters of all such streams do.
#pragma once

#include <hob/core/io_operation.hpp>
#include <hob/core/result.hpp>
#include <hob/core/sanitizers.hpp>

#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <utility>

namespace hob::detail {

class read_some_operation : public io_operation<read_some_operation, side::reading> {
  public:
    read_some_operation(descriptor_ref socket, std::span<std::byte> buffer) noexcept
        : io_operation(std::move(socket)), buffer_(buffer) {}

    void start() noexcept {
        if (buffer_.empty() || target().has_pushed_back()) [[unlikely]] {
            const auto most = buffer_.first(transfer_size(buffer_.size()));
            end(static_cast<int>(target().take_pushed_back(most)));
            return;
        }
        submit();
    }

    [[nodiscard]] result<std::size_t> take_result() noexcept {
        if (result_ < 0) [[unlikely]]
            return error_code_of(result_);
        return static_cast<std::size_t>(result_);
    }
    std::size_t await_resume() {
        require_success();
        return static_cast<std::size_t>(result_);
    }

  private:
    void prepare(io_uring_sqe& entry) noexcept override {
        check_buffer(buffer_.data(), buffer_.size());
        io_uring_prep_recv(&entry, target().fd(), buffer_.data(), transfer_size(buffer_.size()), 0);
    }
    void completed(int result, unsigned) noexcept override {
        if (result > 0)
            mark_written(buffer_.data(), static_cast<std::size_t>(result));
        end(result);
    }
    [[nodiscard]] std::string describe() const override { return "recv from " + target().name(); }

    std::span<std::byte> buffer_;
};

/// Submits until the buffer is full. When it is cancelled before that, the bytes that it has taken
/// go back, and the next read gets them.
class read_exactly_operation : public io_operation<read_exactly_operation, side::reading> {
  public:
    read_exactly_operation(descriptor_ref socket, std::span<std::byte> buffer) noexcept
        : io_operation(std::move(socket)), buffer_(buffer) {}

    void start() noexcept {
        received_ = target().take_pushed_back(buffer_);
        if (received_ == buffer_.size())
            end(0);
        else
            submit();
    }

    [[nodiscard]] result<void> take_result() noexcept {
        if (result_ < 0) [[unlikely]]
            return error_code_of(result_);
        return {};
    }
    void await_resume() {
        if (result_ == incomplete_read) [[unlikely]]
            throw incomplete_read_error(received_, buffer_.size());
        require_success();
    }

  private:
    void prepare(io_uring_sqe& entry) noexcept override {
        const std::span<std::byte> rest = buffer_.subspan(received_);
        check_buffer(rest.data(), rest.size());
        io_uring_prep_recv(&entry, target().fd(), rest.data(), transfer_size(rest.size()), 0);
    }
    void completed(int result, unsigned) noexcept override {
        if (result > 0) {
            const auto count = static_cast<std::size_t>(result);
            mark_written(buffer_.data() + received_, count);
            received_ += count;
            if (received_ == buffer_.size()) {
                result = 0;
            } else if (may_go_on()) {
                submit();
                return;
            } else {
                result = -ECANCELED;
            }
        } else if (result == 0) {
            result = incomplete_read;
        }
        if (was_cancelled(result) && received_ != 0)
            target().push_back(buffer_.first(received_));
        end(result);
    }
    [[nodiscard]] std::string describe() const override { return "recv from " + target().name(); }

    std::span<std::byte> buffer_;
    std::size_t received_ = 0;
};

class write_some_operation : public io_operation<write_some_operation, side::writing> {
  public:
    write_some_operation(descriptor_ref socket, std::span<const std::byte> bytes) noexcept
        : io_operation(std::move(socket)), bytes_(bytes) {}

    void start() noexcept {
        if (bytes_.empty()) [[unlikely]]
            end(0);
        else
            submit();
    }

    [[nodiscard]] result<std::size_t> take_result() noexcept {
        if (result_ < 0) [[unlikely]]
            return error_code_of(result_);
        return static_cast<std::size_t>(result_);
    }
    std::size_t await_resume() {
        require_success();
        return static_cast<std::size_t>(result_);
    }

  private:
    void prepare(io_uring_sqe& entry) noexcept override {
        check_buffer(bytes_.data(), bytes_.size());
        io_uring_prep_send(&entry, target().fd(), bytes_.data(), transfer_size(bytes_.size()),
                           MSG_NOSIGNAL);
    }
    void completed(int result, unsigned) noexcept override {
        check_buffer(bytes_.data(), bytes_.size());
        end(result);
    }
    [[nodiscard]] std::string describe() const override { return "send to " + target().name(); }

    std::span<const std::byte> bytes_;
};

/// Submits until the kernel has taken every byte. What it has taken cannot be taken back: when it
/// is cancelled after that, it leaves the stream broken for writing.
class write_all_operation : public io_operation<write_all_operation, side::writing> {
  public:
    write_all_operation(descriptor_ref socket, std::span<const std::byte> bytes) noexcept
        : io_operation(std::move(socket)), rest_(bytes), size_(bytes.size()) {}

    void start() noexcept {
        if (rest_.empty()) [[unlikely]]
            end(0);
        else
            submit();
    }

    [[nodiscard]] result<void> take_result() noexcept {
        if (result_ < 0) [[unlikely]]
            return error_code_of(result_);
        return {};
    }
    void await_resume() { require_success(); }

  private:
    void prepare(io_uring_sqe& entry) noexcept override {
        check_buffer(rest_.data(), rest_.size());
        io_uring_prep_send(&entry, target().fd(), rest_.data(), transfer_size(rest_.size()),
                           MSG_NOSIGNAL);
    }
    void completed(int result, unsigned) noexcept override {
        check_buffer(rest_.data(), rest_.size());
        if (result > 0) [[likely]] {
            rest_ = rest_.subspan(static_cast<std::size_t>(result));
            if (!rest_.empty()) {
                if (may_go_on()) {
                    submit();
                    return;
                }
                result = -ECANCELED;
            }
        }
        if (result < 0 && was_cancelled(result) && rest_.size() != size_) [[unlikely]]
            target().break_writing(size_ - rest_.size());
        end(result);
    }
    [[nodiscard]] std::string describe() const override { return "send to " + target().name(); }

    std::span<const std::byte> rest_;
    std::size_t size_;
};

} // namespace hob::detail
