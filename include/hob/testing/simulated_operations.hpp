// SPDX-License-Identifier: MIT
// What each operation of the simulated kernel does, and when it can.
#pragma once

#include <hob/core/unique_fd.hpp>
#include <hob/testing/simulated_sockets.hpp>
#include <hob/testing/simulation_options.hpp>

#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>

namespace hob::detail {

/// A submission that has not completed yet.
class simulated_request {
  public:
    explicit simulated_request(const io_uring_sqe& entry) noexcept : entry_{entry} {}

    [[nodiscard]] const io_uring_sqe& entry() const noexcept { return entry_.front(); }
    [[nodiscard]] bool is_multishot_poll() const noexcept {
        return entry().opcode == IORING_OP_POLL_ADD && (entry().len & IORING_POLL_ADD_MULTI) != 0;
    }

    std::shared_ptr<stream_end> end; ///< that it works on, if any
    unique_fd edges;                 ///< tells a multishot poll of changes
    bool has_result = false;         ///< it has taken effect; only its completion is due
    int result = 0;

  private:
    std::array<io_uring_sqe, 1> entry_; // its flexible array may be no member's
};

/// Carries operations out. Files and other descriptors are real: the plain system call is made,
/// once poll(2) says that it does not wait.
class simulated_operations {
  public:
    explicit simulated_operations(simulation_state& state) noexcept : sockets_(state) {}

    [[nodiscard]] static bool supports(unsigned opcode) noexcept {
        switch (opcode) {
        case IORING_OP_NOP:
        case IORING_OP_ASYNC_CANCEL:
        case IORING_OP_POLL_ADD:
        case IORING_OP_ACCEPT:
        case IORING_OP_CONNECT:
        case IORING_OP_RECV:
        case IORING_OP_SEND:
        case IORING_OP_SHUTDOWN:
        case IORING_OP_CLOSE:
        case IORING_OP_OPENAT:
        case IORING_OP_READ:
        case IORING_OP_WRITE:
        case IORING_OP_FSYNC:
            return true;
        default:
            return false;
        }
    }

    /// Called at the submission. Returns 0, or the negative errno that it fails with at once.
    [[nodiscard]] int begin(simulated_request& request) {
        const io_uring_sqe& entry = request.entry();
        if (!supports(entry.opcode) || (entry.flags & ~unsigned{IOSQE_ASYNC}) != 0)
            return -EINVAL;
        switch (entry.opcode) {
        case IORING_OP_ACCEPT:
        case IORING_OP_RECV:
        case IORING_OP_SEND:
            // The multishot and provided-buffer variants.
            if (entry.ioprio != 0)
                return -EINVAL;
            break;
        case IORING_OP_NOP:
        case IORING_OP_OPENAT:
            return 0;
        default:
            break;
        }
        if (::fcntl(entry.fd, F_GETFD) < 0)
            return -EBADF;
        request.end = sockets_.find(entry.fd);
        if (request.is_multishot_poll())
            return request.end == nullptr ? watch_edges(request) : -EINVAL;
        if (entry.opcode == IORING_OP_RECV || entry.opcode == IORING_OP_SEND) {
            if (request.end == nullptr)
                return -ENOTCONN;
            if ((entry.msg_flags & ~unsigned{MSG_NOSIGNAL}) != 0)
                return -EOPNOTSUPP;
        }
        return 0;
    }

    /// Whether `carry_out` has a chance to get further than it got before.
    [[nodiscard]] bool is_ready(simulated_request& request) {
        if (request.end != nullptr && events_of(request) != 0)
            return sockets_.readiness(*request.end, events_of(request)) != 0;
        const std::optional<pollfd> watched = watch(request);
        return !watched || simulated_sockets::is_ready(watched->fd, watched->events);
    }

    /// The real descriptor and events that it waits for, if it does.
    [[nodiscard]] static std::optional<pollfd> watch(const simulated_request& request) noexcept {
        if (request.edges)
            return pollfd{request.edges.get(), POLLIN, 0};
        const short events = events_of(request);
        if (events == 0 || request.end != nullptr)
            return std::nullopt;
        return pollfd{request.entry().fd, events, 0};
    }

    /// Returns the result; nothing if it has to wait, and then has had no effect.
    [[nodiscard]] std::optional<int> carry_out(simulated_request& request) {
        const io_uring_sqe& entry = request.entry();
        switch (entry.opcode) {
        case IORING_OP_NOP:
            return 0;
        case IORING_OP_POLL_ADD:
            return poll(request);
        case IORING_OP_ACCEPT:
            return sockets_.accept(entry.fd, pointer<sockaddr>(entry.addr),
                                   pointer<socklen_t>(entry.addr2),
                                   static_cast<int>(entry.accept_flags));
        case IORING_OP_CONNECT:
            return sockets_.connect(entry.fd, pointer<const sockaddr>(entry.addr),
                                    static_cast<socklen_t>(entry.off));
        case IORING_OP_RECV:
            return sockets_.receive(*request.end, pointer<char>(entry.addr), entry.len);
        case IORING_OP_SEND:
            return sockets_.send(*request.end, pointer<const char>(entry.addr), entry.len);
        case IORING_OP_SHUTDOWN:
            return sockets_.shut_down(entry.fd, static_cast<int>(entry.len));
        case IORING_OP_CLOSE:
            return sockets_.close(entry.fd);
        case IORING_OP_READ:
        case IORING_OP_WRITE:
            return transfer(request);
        case IORING_OP_OPENAT:
            return returned(::openat(entry.fd, pointer<const char>(entry.addr),
                                     static_cast<int>(entry.open_flags), entry.len));
        case IORING_OP_FSYNC:
            return returned((entry.fsync_flags & IORING_FSYNC_DATASYNC) != 0 ? ::fdatasync(entry.fd)
                                                                             : ::fsync(entry.fd));
        default:
            return -EINVAL;
        }
    }

  private:
    template <class T> [[nodiscard]] static T* pointer(std::uint64_t address) noexcept {
        return reinterpret_cast<T*>(static_cast<std::uintptr_t>(address));
    }
    [[nodiscard]] static int returned(ssize_t result) noexcept {
        return result < 0 ? -errno : static_cast<int>(result);
    }

    /// What poll(2) has to say before the operation does not wait; 0: it never does.
    [[nodiscard]] static short events_of(const simulated_request& request) noexcept {
        switch (request.entry().opcode) {
        case IORING_OP_POLL_ADD:
            return static_cast<short>(request.entry().poll32_events);
        case IORING_OP_ACCEPT:
        case IORING_OP_RECV:
        case IORING_OP_READ:
            return POLLIN;
        case IORING_OP_CONNECT: // true of a socket that does nothing yet, too
        case IORING_OP_SEND:
        case IORING_OP_WRITE:
            return POLLOUT;
        default:
            return 0;
        }
    }

    /// A multishot poll completes once for each change, however long the condition holds: that is
    /// what an edge-triggered epoll tells apart.
    [[nodiscard]] static int watch_edges(simulated_request& request) noexcept {
        request.edges.reset(::epoll_create1(EPOLL_CLOEXEC));
        if (!request.edges)
            return -errno;
        epoll_event interest{};
        interest.events = request.entry().poll32_events | unsigned{EPOLLET};
        return returned(
            ::epoll_ctl(request.edges.get(), EPOLL_CTL_ADD, request.entry().fd, &interest));
    }

    [[nodiscard]] std::optional<int> poll(simulated_request& request) {
        if (request.edges) {
            epoll_event event{};
            if (::epoll_wait(request.edges.get(), &event, 1, 0) < 1)
                return std::nullopt;
            return static_cast<int>(event.events);
        }
        const short wanted = events_of(request);
        const int events = request.end != nullptr
                               ? sockets_.readiness(*request.end, wanted)
                               : simulated_sockets::poll_once(request.entry().fd, wanted);
        return events != 0 ? std::optional<int>(events) : std::nullopt;
    }

    [[nodiscard]] std::optional<int> transfer(simulated_request& request) {
        const io_uring_sqe& entry = request.entry();
        const bool reads = entry.opcode == IORING_OP_READ;
        if (request.end != nullptr)
            return reads ? sockets_.receive(*request.end, pointer<char>(entry.addr), entry.len)
                         : sockets_.send(*request.end, pointer<const char>(entry.addr), entry.len);
        if (!simulated_sockets::is_ready(entry.fd, events_of(request)))
            return std::nullopt;
        // -1 stands for the file's own position.
        const auto offset = static_cast<off_t>(entry.off);
        if (reads)
            return returned(offset < 0
                                ? ::read(entry.fd, pointer<void>(entry.addr), entry.len)
                                : ::pread(entry.fd, pointer<void>(entry.addr), entry.len, offset));
        return returned(
            offset < 0 ? ::write(entry.fd, pointer<const void>(entry.addr), entry.len)
                       : ::pwrite(entry.fd, pointer<const void>(entry.addr), entry.len, offset));
    }

    simulated_sockets sockets_;
};

} // namespace hob::detail
