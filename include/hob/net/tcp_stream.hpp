// SPDX-License-Identifier: MIT
// hob::tcp_stream: a TCP connection.
#pragma once

#include <hob/core/awaitable.hpp>
#include <hob/core/result.hpp>
#include <hob/core/ring_operation.hpp>
#include <hob/net/address.hpp>
#include <hob/net/socket.hpp>
#include <hob/net/socket_stream.hpp>
#include <hob/net/tcp_options.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <limits>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace hob {

class tcp_stream;

namespace detail {

/// Takes the socket over in any case: without memory it is closed, and the result is ENOMEM.
[[nodiscard]] result<tcp_stream> make_tcp_stream(unique_fd socket, const address& peer) noexcept;

/// Returns 0 or a negative errno.
[[nodiscard]] inline int set_buffer_sizes(int fd, std::optional<int> receive,
                                          std::optional<int> send) noexcept {
    int error = 0;
    if (receive)
        error = set_option(fd, SOL_SOCKET, SO_RCVBUF, *receive);
    if (send && error == 0)
        error = set_option(fd, SOL_SOCKET, SO_SNDBUF, *send);
    return error;
}

/// Makes the socket when it starts, so that nothing is left of one that never did.
class connect_operation : public ring_operation {
  public:
    connect_operation(const address& peer, const connect_options& options) noexcept
        : peer_(peer), options_(options) {}

    static constexpr bool await_ready() noexcept { return false; }
    template <hob_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
        if (!begin(awaiting.promise()))
            return true;
        result_ = open_socket();
        if (result_ < 0)
            complete();
        else
            submit();
        return true;
    }

    [[nodiscard]] result<tcp_stream> take_result() noexcept;
    tcp_stream await_resume();

  private:
    /// Returns 0 or a negative errno.
    [[nodiscard]] int open_socket() noexcept {
        socket_.reset(::socket(peer_.family(), SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP));
        if (!socket_)
            return -errno;
        const int fd = socket_.get();
        int error = set_buffer_sizes(fd, options_.receive_buffer_size, options_.send_buffer_size);
        if (error == 0 && options_.no_delay)
            error = set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
        if (error == 0 && options_.local_address)
            error = bind_local(*options_.local_address);
        return error;
    }
    [[nodiscard]] int bind_local(const address& local) noexcept {
        // A port is chosen by `connect`, which knows the peer and so has many more to choose from.
        if (local.port() == 0)
            if (const int error = set_option(socket_.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1))
                return error;
        return ::bind(socket_.get(), local.data(), local.size()) == 0 ? 0 : -errno;
    }

    void prepare(io_uring_sqe& entry) noexcept override {
        io_uring_prep_connect(&entry, socket_.get(), peer_.data(), peer_.size());
    }
    void completed(int result, unsigned) noexcept override {
        if (result == -EINTR && !was_cancelled(result)) {
            // The attempt goes on in the kernel, but this socket cannot tell how it ends.
            result = open_socket();
            if (result == 0) {
                submit();
                return;
            }
        }
        if (result == 0 && is_connected_to_itself())
            result = -ECONNREFUSED;
        if (result < 0)
            socket_.reset();
        finish(result);
    }
    /// TCP allows it when the chosen local port happens to be the one that is connected to, which
    /// nobody listens on.
    [[nodiscard]] bool is_connected_to_itself() const noexcept {
        address local;
        socklen_t size = address::capacity;
        return ::getsockname(socket_.get(), local.data(), &size) == 0 && local == peer_;
    }
    [[nodiscard]] std::string describe() const override {
        return "connect to " + peer_.to_string();
    }

    address peer_;
    connect_options options_;
    unique_fd socket_;
};

} // namespace detail

/// A TCP connection. See `socket_stream` for reading, writing and closing.
class tcp_stream : public socket_stream {
  public:
    /// Not open: everything throws `closed_error`.
    tcp_stream() = default;

    /// Connects; gives a `tcp_stream`. Throws `std::system_error`, such as ECONNREFUSED. When it
    /// fails or is cancelled, the socket is closed.
    [[nodiscard]] static auto connect(const address& peer, const connect_options& options = {}) {
        return detail::deferred<detail::connect_operation, address, connect_options>(peer, options);
    }
    /// The same for a numeric host. Throws `address_error`.
    [[nodiscard]] static auto connect(std::string_view host, std::uint16_t port,
                                      const connect_options& options = {}) {
        return connect(address(host, port), options);
    }

    /// Closes without the usual farewell: what was not sent yet is dropped, and the peer gets a
    /// reset (RST). Operations that run on the stream end with `closed_error`. Idempotent.
    void abort() noexcept {
        if (!is_open())
            return;
        const linger drop{1, 0};
        static_cast<void>(detail::set_option(native_handle(), SOL_SOCKET, SO_LINGER, drop));
        close();
    }

    /// Throws `closed_error` and `std::system_error`, as all that follows.
    [[nodiscard]] address local_address() const {
        return detail::local_address_of(require_open("the local address"));
    }
    [[nodiscard]] address peer_address() const {
        return static_cast<const detail::ip_socket&>(require_open("the peer address")).where();
    }

    /// TCP_NODELAY: whether small writes leave at once, on by default.
    void set_no_delay(bool on) const { set(IPPROTO_TCP, TCP_NODELAY, on ? 1 : 0, "TCP_NODELAY"); }
    [[nodiscard]] bool no_delay() const {
        return get(IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY") != 0;
    }

    /// Whether the kernel probes a silent connection; off (`std::nullopt`) by default.
    void set_keep_alive(const std::optional<keep_alive_options>& options) const {
        if (options) {
            set(IPPROTO_TCP, TCP_KEEPIDLE, seconds(options->idle), "TCP_KEEPIDLE");
            set(IPPROTO_TCP, TCP_KEEPINTVL, seconds(options->interval), "TCP_KEEPINTVL");
            set(IPPROTO_TCP, TCP_KEEPCNT, options->count, "TCP_KEEPCNT");
        }
        set(SOL_SOCKET, SO_KEEPALIVE, options ? 1 : 0, "SO_KEEPALIVE");
    }
    [[nodiscard]] std::optional<keep_alive_options> keep_alive() const {
        if (get(SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE") == 0)
            return std::nullopt;
        keep_alive_options options;
        options.idle = std::chrono::seconds(get(IPPROTO_TCP, TCP_KEEPIDLE, "TCP_KEEPIDLE"));
        options.interval = std::chrono::seconds(get(IPPROTO_TCP, TCP_KEEPINTVL, "TCP_KEEPINTVL"));
        options.count = get(IPPROTO_TCP, TCP_KEEPCNT, "TCP_KEEPCNT");
        return options;
    }

    /// SO_RCVBUF and SO_SNDBUF in bytes. The kernel doubles what is set, for its own bookkeeping,
    /// stops adapting the size, and reports the doubled value.
    void set_receive_buffer_size(int bytes) const {
        set(SOL_SOCKET, SO_RCVBUF, bytes, "SO_RCVBUF");
    }
    [[nodiscard]] int receive_buffer_size() const {
        return get(SOL_SOCKET, SO_RCVBUF, "SO_RCVBUF");
    }
    void set_send_buffer_size(int bytes) const { set(SOL_SOCKET, SO_SNDBUF, bytes, "SO_SNDBUF"); }
    [[nodiscard]] int send_buffer_size() const { return get(SOL_SOCKET, SO_SNDBUF, "SO_SNDBUF"); }

    /// Made from a connected socket by accept and connect.
    explicit tcp_stream(detail::descriptor_ref socket) noexcept
        : socket_stream(std::move(socket)) {}

  private:
    void set(int level, int option, int value, const char* name) const {
        detail::change_option(require_open(name), level, option, value, name);
    }
    [[nodiscard]] int get(int level, int option, const char* name) const {
        return detail::option_of(require_open(name), level, option, name);
    }
    [[nodiscard]] static int seconds(std::chrono::seconds duration) noexcept {
        // What is beyond the range of an int is beyond the kernel's, which then says so.
        return static_cast<int>(
            std::min<std::chrono::seconds::rep>(duration.count(), std::numeric_limits<int>::max()));
    }
};

namespace detail {

inline result<tcp_stream> make_tcp_stream(unique_fd socket, const address& peer) noexcept {
    try {
        return tcp_stream(ip_socket::make(socket, peer));
    } catch (const std::bad_alloc&) {
        return error_code_of(-ENOMEM);
    }
}

inline result<tcp_stream> connect_operation::take_result() noexcept {
    if (result_ < 0)
        return error_code_of(result_);
    return make_tcp_stream(std::move(socket_), peer_);
}
inline tcp_stream connect_operation::await_resume() {
    result<tcp_stream> connected = take_result();
    if (!connected)
        throw std::system_error(connected.error(), describe());
    return *std::move(connected);
}

} // namespace detail
} // namespace hob
