// SPDX-License-Identifier: MIT
// hob::file: reading and writing a file on the ring.
#pragma once

#include <hob/core/awaitable.hpp>
#include <hob/fs/control_operations.hpp>
#include <hob/fs/open_file.hpp>
#include <hob/fs/open_mode.hpp>
#include <hob/fs/transfer_operations.hpp>

#include <sys/stat.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <system_error>
#include <utility>

namespace hob {

/// An open file. Move-only; the destructor closes it without waiting and drops the error, so a
/// writer that wants to know awaits `close`. Reads of cached pages complete without a thread in
/// between. Any number of operations may be in flight at once; none moves a file position, since
/// each names its offset.
///
/// Everything but `size` is awaited, and throws `std::system_error` with the errno, the operation
/// and the path, or `closed_error` if the file was closed or moved from. Buffers have to stay until
/// the await has ended. A cancelled operation that the kernel has begun is waited for, since it
/// still owns the buffer, and its result is delivered if it completes.
class file {
  public:
    /// No file, as after a move.
    file() = default;
    /// Takes over a descriptor that was opened otherwise; `path` is for error messages. Throws
    /// `std::bad_alloc`, and closes the descriptor then.
    explicit file(int descriptor, std::string path)
        : file(detail::unique_fd(descriptor), std::move(path)) {}
    file(file&&) noexcept = default;
    file& operator=(file&& other) noexcept {
        if (this != &other) {
            drop();
            state_ = std::move(other.state_);
        }
        return *this;
    }
    ~file() { drop(); }

    /// Opens a file, with close-on-exec. `permissions` are those of a new one, before the umask.
    /// Gives a `file`. One that is open already when a cancellation arrives is delivered.
    [[nodiscard]] static auto open(std::string path, open_mode mode = open_mode::read,
                                   mode_t permissions = 0666) {
        return detail::deferred<detail::open_operation, std::string, int, mode_t>(
            std::move(path), static_cast<int>(mode), permissions);
    }

    [[nodiscard]] bool is_open() const noexcept { return state_.is_open(); }
    /// As it was opened; empty if it is not.
    [[nodiscard]] std::string path() const { return state_ ? state_->path() : std::string(); }
    /// The descriptor, which stays this object's; -1 if it is not open.
    [[nodiscard]] int native_handle() const noexcept { return is_open() ? state_->fd() : -1; }

    /// Reads at least one byte, and gives how many; 0 at the end of the file or for an empty
    /// buffer.
    [[nodiscard]] auto read_at(std::span<std::byte> buffer, std::uint64_t offset) const {
        return detail::deferred<detail::read_at_operation, detail::file_ref, std::span<std::byte>,
                                std::uint64_t>(state_, buffer, offset);
    }
    /// Fills the buffer. Throws `incomplete_read_error` if the file ends before.
    [[nodiscard]] auto read_exactly_at(std::span<std::byte> buffer, std::uint64_t offset) const {
        return detail::deferred<detail::read_exactly_at_operation, detail::file_ref,
                                std::span<std::byte>, std::uint64_t>(state_, buffer, offset);
    }
    /// Writes at least one byte of `bytes`, and gives how many.
    [[nodiscard]] auto write_at(std::span<const std::byte> bytes, std::uint64_t offset) const {
        return detail::deferred<detail::write_at_operation, detail::file_ref,
                                std::span<const std::byte>, std::uint64_t>(state_, bytes, offset);
    }
    /// Writes all of `bytes`. Once a part is written, the rest follows in spite of a cancellation.
    [[nodiscard]] auto write_all_at(std::span<const std::byte> bytes, std::uint64_t offset) const {
        return detail::deferred<detail::write_all_at_operation, detail::file_ref,
                                std::span<const std::byte>, std::uint64_t>(state_, bytes, offset);
    }

    /// Waits until what was written, and what describes it, is on the disk: fsync(2).
    [[nodiscard]] auto sync() const {
        return detail::deferred<detail::sync_operation, detail::file_ref, unsigned>(state_, 0U);
    }
    /// The same without what is not needed to read the data back: fdatasync(2).
    [[nodiscard]] auto sync_data() const {
        return detail::deferred<detail::sync_operation, detail::file_ref, unsigned>(
            state_, static_cast<unsigned>(IORING_FSYNC_DATASYNC));
    }
    /// Makes the file `size` bytes long; new bytes are zero. Before Linux 6.9 it blocks the loop
    /// while the file system works.
    [[nodiscard]] auto truncate(std::uint64_t size) const {
        return detail::deferred<detail::truncate_operation, detail::file_ref, std::uint64_t>(state_,
                                                                                             size);
    }
    /// The size in bytes. Not awaited: what an open file tells of itself is in memory, while the
    /// ring would ask a thread. Throws `std::system_error`, and `closed_error`.
    [[nodiscard]] std::uint64_t size() const {
        if (!is_open())
            throw closed_error("size of " + state_.path());
        struct stat status;
        if (::fstat(state_->fd(), &status) != 0)
            detail::throw_errno(errno, "size of " + state_.path());
        return static_cast<std::uint64_t>(status.st_size);
    }

    /// Closes the file, and throws what the file system has to say about it. Operations in flight
    /// complete; new ones throw `closed_error`. The file is closed even if this throws; a
    /// cancellation that comes before it has begun leaves it open.
    [[nodiscard]] auto close() {
        return detail::deferred<detail::close_operation, detail::file_ref>(state_);
    }

  private:
    friend class detail::open_operation;
    file(detail::unique_fd descriptor, std::string path)
        : state_(*new detail::open_file(std::move(descriptor), std::move(path))) {}

    void drop() noexcept {
        if (state_)
            state_->close();
    }

    detail::file_ref state_;
};

namespace detail {

inline file open_operation::await_resume() {
    if (result_ < 0) [[unlikely]]
        throw std::system_error(-result_, std::system_category(), describe());
    return file(std::move(opened_), std::move(path_));
}
inline result<file> open_operation::take_result() {
    if (result_ < 0) [[unlikely]]
        return error_code_of(result_);
    return file(std::move(opened_), std::move(path_));
}

} // namespace detail
} // namespace hob
