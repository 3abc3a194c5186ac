// SPDX-License-Identifier: MIT
// Opening, syncing, truncating and closing a file: what the awaiters do.
#pragma once

#include <hob/fs/file_operation.hpp>

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <coroutine>
#include <cstdint>
#include <string>
#include <utility>

namespace hob {

class file;

namespace detail {

/// A file that was opened before the cancellation reached the kernel is delivered.
class open_operation : public ring_operation {
  public:
    open_operation(std::string path, int flags, mode_t permissions) noexcept
        : path_(std::move(path)), flags_(flags), permissions_(permissions) {}

    static constexpr bool await_ready() noexcept { return false; }
    template <hob_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
        if (!begin(awaiting.promise())) [[unlikely]]
            return true;
        if (path_.find('\0') != std::string::npos) [[unlikely]] {
            // The kernel would open what stands before the zero.
            result_ = -EINVAL;
            complete();
        } else {
            submit();
        }
        return true;
    }
    file await_resume();
    [[nodiscard]] result<file> take_result();

  private:
    void prepare(io_uring_sqe& entry) noexcept override {
        io_uring_prep_openat(&entry, AT_FDCWD, path_.c_str(), flags_ | O_CLOEXEC, permissions_);
    }
    void completed(int result, unsigned) noexcept override {
        if (result >= 0)
            opened_.reset(result);
        finish(result);
    }
    [[nodiscard]] std::string describe() const override { return "open " + path_; }

    std::string path_;
    int flags_;
    mode_t permissions_;
    unique_fd opened_;
};

class sync_operation : public file_operation {
  public:
    sync_operation(file_ref target, unsigned flags) noexcept
        : file_operation(std::move(target)), flags_(flags) {}

    template <hob_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
        if (begin_on_file(awaiting.promise())) [[likely]]
            submit();
        return true;
    }
    void await_resume() { require_success(); }
    [[nodiscard]] result<void> take_result() noexcept { return success_or_error(); }

  private:
    void prepare(io_uring_sqe& entry) noexcept override {
        io_uring_prep_fsync(&entry, fd(), flags_);
    }
    [[nodiscard]] std::string describe() const override { return "sync " + target().path(); }

    unsigned flags_;
};

class truncate_operation : public file_operation {
  public:
    truncate_operation(file_ref target, std::uint64_t size) noexcept
        : file_operation(std::move(target)), size_(size) {}

    template <hob_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
        if (!begin_on_file(awaiting.promise()))
            return true;
        if (reactor::here().kernel().supports(truncate_opcode)) {
            submit();
        } else {
            const int error = ::ftruncate(fd(), static_cast<off_t>(size_));
            end(error == 0 ? 0 : -errno);
        }
        return true;
    }
    void await_resume() { require_success(); }
    [[nodiscard]] result<void> take_result() noexcept { return success_or_error(); }

  private:
    // Linux 6.9, and newer than the headers of liburing 2.3.
    static constexpr std::uint8_t truncate_opcode = 55;

    void prepare(io_uring_sqe& entry) noexcept override {
        io_uring_prep_rw(truncate_opcode, &entry, fd(), nullptr, 0, size_);
    }
    [[nodiscard]] std::string describe() const override {
        return "truncate " + target().path() + " to " + std::to_string(size_);
    }

    std::uint64_t size_;
};

/// Cannot be taken back: whatever the kernel answers, the number is free afterwards.
class close_operation : public file_operation {
  public:
    explicit close_operation(file_ref target) noexcept : file_operation(std::move(target)) {}

    template <hob_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
        if (begin_on_file(awaiting.promise())) {
            closed_ = target()->release().release();
            submit();
        }
        return true;
    }
    void await_resume() { require_success(); }
    [[nodiscard]] result<void> take_result() noexcept { return success_or_error(); }

  private:
    void prepare(io_uring_sqe& entry) noexcept override { io_uring_prep_close(&entry, closed_); }
    void cancel() noexcept override {}
    void completed(int result, unsigned) noexcept override { end(result); }
    [[nodiscard]] std::string describe() const override { return "close " + target().path(); }

    int closed_ = -1;
};

} // namespace detail
} // namespace hob
