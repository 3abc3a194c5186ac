// SPDX-License-Identifier: MIT
// What every stream socket can do: read, write, close.
#pragma once

#include <hob/core/awaitable.hpp>
#include <hob/net/socket.hpp>
#include <hob/net/stream_operations.hpp>

#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace hob {

/// The common part of `tcp_stream` and `unix_stream`. Move-only; may be moved while an operation
/// runs. Destroying it closes it.
///
/// One task at a time may read, and one may write: a second one gets `busy_error`. A buffer must
/// stay until the await has ended. Every operation throws `closed_error` on a closed stream, also
/// if it is closed meanwhile, and `std::system_error` with the errno and the peer otherwise.
class socket_stream {
  public:
    /// Waits for at least one byte and reads what is there, as far as it fits. Returns how many;
    /// 0 at the end of the stream, and at once for an empty buffer. Cancelled, it reads nothing.
    [[nodiscard]] auto read_some(std::span<std::byte> buffer) const {
        return make<detail::read_some_operation>(buffer);
    }

    /// Fills the whole buffer. Throws `incomplete_read_error` if the stream ends before; what has
    /// arrived is then at the front of the buffer (`as_result`: `stream_errc::incomplete_read`).
    /// Cancelled, it leaves the bytes that have arrived to the next read.
    [[nodiscard]] auto read_exactly(std::span<std::byte> buffer) const {
        return make<detail::read_exactly_operation>(buffer);
    }

    /// Waits until the kernel takes some bytes, and returns how many; 0 only for no bytes.
    /// Cancelled, it writes nothing. Throws `broken_write_error`: see `write_all`.
    [[nodiscard]] auto write_some(std::span<const std::byte> bytes) const {
        return make<detail::write_some_operation>(bytes);
    }
    [[nodiscard]] auto write_some(std::string_view text) const {
        return write_some(std::as_bytes(std::span(text)));
    }

    /// Waits until the kernel has taken every byte. Cancelled before it took one, it writes
    /// nothing. Cancelled after that, the peer sees a part of the bytes: each later write throws
    /// `broken_write_error`, so that nothing stands where the peer does not expect it.
    [[nodiscard]] auto write_all(std::span<const std::byte> bytes) const {
        return make<detail::write_all_operation>(bytes);
    }
    [[nodiscard]] auto write_all(std::string_view text) const {
        return write_all(std::as_bytes(std::span(text)));
    }

    /// How many bytes the kernel had taken of a `write_all` that was cancelled half-way.
    [[nodiscard]] std::optional<std::size_t> broken_write() const noexcept {
        if (!socket_ || !socket_->is_writing_broken())
            return std::nullopt;
        return socket_->taken();
    }

    /// Sends the end of the stream after all that was written; reading goes on. Later writes fail
    /// with EPIPE. Throws `busy_error` while a write is running, and `std::system_error`.
    void shutdown_write() const {
        const detail::descriptor& target = require_open("shutdown");
        if (target.is_in_use(detail::side::writing))
            throw busy_error("shutdown of " + target.name());
        if (::shutdown(target.fd(), SHUT_WR) != 0)
            detail::throw_errno(errno, "shutdown of " + target.name());
    }

    /// Operations that run on the stream end with `closed_error`. What was written is still
    /// delivered, unless bytes arrive that nobody reads. Idempotent.
    void close() noexcept {
        if (socket_)
            socket_->close();
    }

    /// False for a stream that was closed, moved from or default-constructed.
    [[nodiscard]] bool is_open() const noexcept { return socket_ && !socket_->is_closed(); }
    /// The file descriptor, which stays the stream's own; -1 if not open.
    [[nodiscard]] int native_handle() const noexcept { return is_open() ? socket_->fd() : -1; }

  protected:
    socket_stream() = default;
    explicit socket_stream(detail::descriptor_ref socket) noexcept : socket_(std::move(socket)) {}
    socket_stream(socket_stream&&) noexcept = default;
    socket_stream& operator=(socket_stream&& other) noexcept {
        if (this != &other) {
            close();
            socket_ = std::move(other.socket_);
        }
        return *this;
    }
    ~socket_stream() { close(); }

    /// Throws `closed_error` for `what` unless the stream is open.
    const detail::descriptor& require_open(const char* what) const {
        if (!is_open())
            throw closed_error(socket_ ? what + (" of " + socket_->name()) : std::string(what));
        return *socket_;
    }

  private:
    template <class Operation, class Bytes>
    detail::deferred<Operation, detail::descriptor_ref, Bytes> make(Bytes bytes) const {
        if (!socket_) [[unlikely]]
            throw closed_error("a stream that was moved from or never opened");
        return detail::deferred<Operation, detail::descriptor_ref, Bytes>(socket_, bytes);
    }

    detail::descriptor_ref socket_;
};

} // namespace hob
