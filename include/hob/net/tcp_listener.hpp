// SPDX-License-Identifier: MIT
// hob::tcp_listener: a bound TCP socket that accepts connections.
#pragma once

#include <hob/core/awaitable.hpp>
#include <hob/core/io_operation.hpp>
#include <hob/net/address.hpp>
#include <hob/net/socket.hpp>
#include <hob/net/tcp_options.hpp>
#include <hob/net/tcp_stream.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace hob {
namespace detail {

/// Tries again by itself when a connection has died in the queue, and after a pause when the
/// process or the system has no descriptor or memory for it: at once, it would only spin.
class accept_operation : public io_operation<accept_operation, side::reading> {
  public:
    static constexpr std::chrono::milliseconds pause{100};

    explicit accept_operation(descriptor_ref listener) noexcept
        : io_operation(std::move(listener)) {}

    void start() noexcept { submit(); }

    [[nodiscard]] result<tcp_stream> take_result() noexcept {
        if (result_ < 0)
            return error_code_of(result_);
        return make_tcp_stream(std::move(accepted_), peer_);
    }
    tcp_stream await_resume() {
        require_success();
        result<tcp_stream> accepted = take_result();
        if (!accepted)
            throw std::system_error(accepted.error(), describe());
        return *std::move(accepted);
    }

  private:
    class retry_timer final : public timed_operation {
      public:
        explicit retry_timer(accept_operation& owner) noexcept : owner_(owner) {}
        void expire() noexcept override { owner_.submit(); }

      private:
        // No coroutine waits for the timer itself.
        void cancel() noexcept override {}
        [[nodiscard]] std::string describe() const override { return owner_.describe(); }

        accept_operation& owner_;
    };

    void prepare(io_uring_sqe& entry) noexcept override {
        peer_size_ = address::capacity;
        io_uring_prep_accept(&entry, target().fd(), peer_.data(), &peer_size_, SOCK_CLOEXEC);
    }
    void completed(int result, unsigned) noexcept override {
        if (result >= 0) {
            mark_written(peer_.data(), peer_size_);
            accepted_.reset(result);
        } else if (is_lost_connection(-result) || is_shortage(-result)) {
            if (!may_go_on())
                result = -ECANCELED;
            else if (retry(-result))
                return;
        }
        end(result);
    }

    /// Returns false if there is not even memory for a timer.
    [[nodiscard]] bool retry(int error) noexcept {
        if (is_lost_connection(error)) {
            submit();
            return true;
        }
        reactor& loop = reactor::here();
        timer_.set_deadline(saturating_add(loop.now(), pause));
        try {
            loop.timers().insert(timer_);
        } catch (...) {
            return false;
        }
        return true;
    }

    /// Errors of the connection that was to be accepted, and not of the listener.
    [[nodiscard]] static bool is_lost_connection(int error) noexcept {
        return error == ECONNABORTED || error == EPROTO || error == ENOPROTOOPT ||
               error == ENETDOWN || error == ENETUNREACH || error == EHOSTDOWN ||
               error == EHOSTUNREACH || error == ENONET;
    }
    [[nodiscard]] static bool is_shortage(int error) noexcept {
        return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
    }

    void cancel() noexcept override { interrupt(); }
    void interrupt() noexcept override {
        if (!timer_.is_armed()) {
            io_operation::interrupt();
            return;
        }
        reactor::here().timers().remove(timer_);
        end(-ECANCELED);
    }
    [[nodiscard]] std::string describe() const override { return "accept on " + target().name(); }

    unique_fd accepted_;
    address peer_;
    socklen_t peer_size_ = 0;
    retry_timer timer_{*this};
};

} // namespace detail

/// Listens for TCP connections. Move-only; destroying it closes it.
class tcp_listener {
  public:
    /// Not open: everything throws `closed_error`.
    tcp_listener() = default;
    tcp_listener(tcp_listener&&) noexcept = default;
    tcp_listener& operator=(tcp_listener&& other) noexcept {
        if (this != &other) {
            close();
            socket_ = std::move(other.socket_);
        }
        return *this;
    }
    ~tcp_listener() { close(); }

    /// Binds and listens. Port 0 means a free one: see `local_address`. Throws `std::system_error`
    /// that names the address, such as EADDRINUSE.
    [[nodiscard]] static tcp_listener bind(const address& local,
                                           const listen_options& options = {}) {
        const auto attempt = [&local](int result, const char* what) {
            if (result < 0)
                detail::throw_errno(errno, std::string(what) + " " + local.to_string());
        };
        const auto set = [&local](int error, const char* option) {
            if (error < 0)
                detail::throw_errno(-error, std::string(option) + " of " + local.to_string());
        };
        const int fd = ::socket(local.family(), SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
        attempt(fd, "socket for");
        detail::unique_fd socket(fd);
        using detail::set_option;
        if (options.reuse_address)
            set(set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1), "SO_REUSEADDR");
        if (options.reuse_port)
            set(set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1), "SO_REUSEPORT");
        if (local.is_v6())
            set(set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, options.v6_only ? 1 : 0), "IPV6_V6ONLY");
        // Accepted sockets inherit these: no call for each of them.
        if (options.no_delay)
            set(set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1), "TCP_NODELAY");
        set(detail::set_buffer_sizes(fd, options.receive_buffer_size, options.send_buffer_size),
            "the buffer sizes");
        attempt(::bind(fd, local.data(), local.size()), "bind to");
        attempt(::listen(fd, options.backlog), "listen on");
        address bound;
        socklen_t size = address::capacity;
        attempt(::getsockname(fd, bound.data(), &size), "getsockname of");
        return tcp_listener(detail::ip_socket::make(socket, bound));
    }
    /// The same for a numeric host. Throws `address_error`, too.
    [[nodiscard]] static tcp_listener bind(std::string_view host, std::uint16_t port,
                                           const listen_options& options = {}) {
        return bind(address(host, port), options);
    }

    /// Waits for a connection; gives a `tcp_stream`. Connections that die before they are accepted
    /// are skipped. When the process is out of file descriptors or the system out of memory, it
    /// tries again every 100 ms. One task at a time may accept: a second one gets `busy_error`.
    /// Throws `closed_error`, also if the listener is closed meanwhile. Cancelled, it accepts
    /// nothing.
    [[nodiscard]] auto accept() const {
        require("accept");
        return detail::deferred<detail::accept_operation, detail::descriptor_ref>(socket_);
    }

    /// The address that it is bound to, with the port that was chosen for port 0; also when it is
    /// closed.
    [[nodiscard]] const address& local_address() const {
        require("the local address");
        return static_cast<const detail::ip_socket&>(*socket_).where();
    }

    /// A pending `accept` ends with `closed_error`. Connections that wait to be accepted are reset.
    /// Idempotent.
    void close() noexcept {
        if (socket_)
            socket_->close();
    }
    /// False for a listener that was closed, moved from or default-constructed.
    [[nodiscard]] bool is_open() const noexcept { return socket_ && !socket_->is_closed(); }
    /// The file descriptor, which stays the listener's own; -1 if not open.
    [[nodiscard]] int native_handle() const noexcept { return is_open() ? socket_->fd() : -1; }

  private:
    explicit tcp_listener(detail::descriptor_ref socket) noexcept : socket_(std::move(socket)) {}

    void require(const char* what) const {
        if (!socket_)
            throw closed_error(std::string(what) + " of a listener that was moved from or never "
                                                   "opened");
    }

    detail::descriptor_ref socket_;
};

} // namespace hob
