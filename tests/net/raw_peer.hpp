// SPDX-License-Identifier: MIT
// The other end of a connection, by plain system calls that never wait: a test stays in control of
// what has happened when.
#pragma once

#include "catch.hpp"
#include "support/program.hpp"

#include <hob/core/unique_fd.hpp>
#include <hob/net/tcp.hpp>
#include <hob/task.hpp>
#include <hob/task_handle.hpp>

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace test {

class raw_peer {
  public:
    /// Connects to a listener on this machine, whose backlog takes the connection at once.
    explicit raw_peer(const hob::address& listener)
        : socket_(::socket(listener.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        REQUIRE(::connect(fd(), listener.data(), listener.size()) == 0);
    }
    /// Sets a receive buffer before, so that the window is as small.
    raw_peer(const hob::address& listener, int receive_buffer)
        : socket_(::socket(listener.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        REQUIRE(hob::detail::set_option(fd(), SOL_SOCKET, SO_RCVBUF, receive_buffer) == 0);
        REQUIRE(::connect(fd(), listener.data(), listener.size()) == 0);
    }

    [[nodiscard]] int fd() const { return socket_.get(); }
    [[nodiscard]] hob::address local_address() const {
        hob::address local;
        socklen_t size = hob::address::capacity;
        REQUIRE(::getsockname(fd(), local.data(), &size) == 0);
        return local;
    }

    void send(std::string_view bytes) const {
        REQUIRE(::send(fd(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
                static_cast<ssize_t>(bytes.size()));
    }
    /// What has arrived, up to `most` bytes; `error` is 0 for bytes and for the end, else an errno.
    struct received {
        std::string bytes;
        int error;
    };
    [[nodiscard]] received receive(std::size_t most = 65536) const {
        std::string bytes(most, '\0');
        const ssize_t count = ::recv(fd(), bytes.data(), most, MSG_DONTWAIT);
        const int error = count < 0 ? errno : 0;
        bytes.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
        return {bytes, error};
    }
    /// Waits, letting the loop run, for something to arrive: bytes, the end or an error.
    [[nodiscard]] hob::task<received> receive_soon() const {
        for (;;) {
            received now = receive();
            if (now.error != EAGAIN)
                co_return now;
            co_await test::poll_readable(fd());
        }
    }
    /// Everything up to the end of the stream.
    [[nodiscard]] hob::task<std::string> receive_all() const {
        std::string all;
        for (;;) {
            const received now = co_await receive_soon();
            REQUIRE(now.error == 0);
            if (now.bytes.empty())
                co_return all;
            all += now.bytes;
        }
    }

    void shutdown_write() const { REQUIRE(::shutdown(fd(), SHUT_WR) == 0); }
    void close() { socket_.reset(); }
    /// Closes with a reset, which also leaves nothing in TIME_WAIT.
    void reset() {
        const linger drop{1, 0};
        REQUIRE(hob::detail::set_option(fd(), SOL_SOCKET, SO_LINGER, drop) == 0);
        socket_.reset();
    }

  private:
    hob::detail::unique_fd socket_;
};

/// A stream of ours and its peer.
struct connection {
    hob::tcp_stream stream;
    raw_peer peer;
};

inline hob::task<connection> connect_pair(const hob::tcp_listener& listener) {
    raw_peer peer(listener.local_address());
    hob::tcp_stream stream = co_await listener.accept();
    co_return connection{std::move(stream), std::move(peer)};
}
inline hob::task<connection> connect_pair() {
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    co_return co_await connect_pair(listener);
}
/// A connection that holds few bytes under way, so that writing waits soon.
inline hob::task<connection> connect_narrow_pair() {
    hob::listen_options options;
    options.send_buffer_size = 4096;
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0, options);
    raw_peer peer(listener.local_address(), 4096);
    hob::tcp_stream stream = co_await listener.accept();
    co_return connection{std::move(stream), std::move(peer)};
}

/// Waits for the end of a task, whichever it is. Returns whether it was cancelled.
template <class T> hob::task<bool> ended(hob::task_handle<T> task) {
    try {
        co_await task;
    } catch (const hob::cancelled_error&) {
    }
    co_return task.cancelled();
}

/// The text of a buffer's first bytes.
template <std::size_t Size>
std::string text_of(const std::array<std::byte, Size>& buffer, std::size_t count) {
    return std::string(reinterpret_cast<const char*>(buffer.data()), count);
}

/// Bytes in which no position looks like another one nearby.
inline std::string pattern(std::size_t size) {
    std::string bytes(size, '\0');
    std::uint32_t state = 1;
    for (char& each : bytes) {
        state = state * 1664525 + 1013904223;
        each = static_cast<char>(state >> 24);
    }
    return bytes;
}

} // namespace test
