// SPDX-License-Identifier: MIT
// Stream sockets whose bytes travel through the simulation.
#pragma once

#include <hob/testing/simulation_options.hpp>
#include <hob/testing/stream_end.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <utility>

namespace hob::detail {

/// The sockets themselves are real and really connected over loopback, so that addresses, options,
/// refusals and the count of descriptors are the kernel's own. But no byte ever takes that way:
/// what is sent, when it arrives and how a connection ends is decided here.
///
/// Both ends have to live in the same simulation: anybody else's connection looks closed.
class simulated_sockets {
  public:
    explicit simulated_sockets(simulation_state& state) noexcept : state_(state) {}

    /// The end that this descriptor is; null if it is no connected socket of the simulation.
    [[nodiscard]] std::shared_ptr<stream_end> find(int fd) {
        const auto found = ends_.find(fd);
        if (found == ends_.end())
            return nullptr;
        if (found->second->cookie() != cookie_of(fd)) {
            ends_.erase(found);
            return nullptr;
        }
        return found->second;
    }

    /// Returns 0, a negative errno, or nothing while the listener's queue is full.
    [[nodiscard]] std::optional<int> connect(int fd, const sockaddr* peer, socklen_t size) {
        if (peer->sa_family != AF_INET && peer->sa_family != AF_INET6)
            return -EAFNOSUPPORT;
        if (find(fd) != nullptr)
            return -EISCONN;
        // Long enough for a handshake over loopback, which only a full queue holds up. The kernel
        // goes on with it by itself.
        set_send_timeout(fd, 20'000);
        const int error = ::connect(fd, peer, size) == 0 ? 0 : errno;
        set_send_timeout(fd, 0);
        if (error == EINPROGRESS || error == EALREADY)
            return std::nullopt;
        if (error != 0 && error != EISCONN)
            return -error;
        const auto active = std::make_shared<stream_end>();
        const auto passive = std::make_shared<stream_end>();
        stream_end::connect(active, passive);
        add(fd, active);
        unaccepted_[{local_name(fd), peer_name(fd)}] = passive;
        return 0;
    }

    /// Returns the new descriptor or a negative errno; nothing while nobody connects.
    [[nodiscard]] std::optional<int> accept(int listener, sockaddr* peer, socklen_t* size,
                                            int flags) {
        if (!is_ready(listener, POLLIN))
            return std::nullopt;
        const int fd = ::accept4(listener, peer, size, flags);
        if (fd < 0)
            return -errno;
        const auto found = unaccepted_.find({peer_name(fd), local_name(fd)});
        if (found != unaccepted_.end()) {
            add(fd, found->second);
            unaccepted_.erase(found);
        } else {
            // Its connect was cancelled, or is no part of the simulation.
            const auto lonely = std::make_shared<stream_end>();
            lonely->shut_reading();
            add(fd, lonely);
        }
        return fd;
    }

    [[nodiscard]] int shut_down(int fd, int how) {
        if (::shutdown(fd, how) != 0)
            return -errno;
        if (const auto end = find(fd); end != nullptr && how != SHUT_WR)
            end->shut_reading();
        return 0;
    }

    [[nodiscard]] int close(int fd) {
        if (const auto end = find(fd)) {
            linger lingering{};
            socklen_t size = sizeof lingering;
            if (::getsockopt(fd, SOL_SOCKET, SO_LINGER, &lingering, &size) == 0 &&
                lingering.l_onoff != 0 && lingering.l_linger == 0)
                end->abandon();
            ends_.erase(fd);
        }
        return ::close(fd) == 0 ? 0 : -errno;
    }

    /// Which of these poll(2) events this end has, or an error or hang-up.
    [[nodiscard]] int readiness(stream_end& end, short events) {
        const int wanted = events | POLLERR | POLLHUP;
        if (const int known = end.readiness(state_.options.stream_capacity) & wanted)
            return known;
        refresh(end);
        return end.readiness(state_.options.stream_capacity) & wanted;
    }
    /// Both return a count, a negative errno, or nothing as long as they would wait.
    [[nodiscard]] std::optional<int> receive(stream_end& end, char* target, std::size_t size) {
        if (readiness(end, POLLIN) == 0)
            return std::nullopt;
        return end.receive(target, state_.next_transfer(std::min(size, end.available())));
    }
    [[nodiscard]] std::optional<int> send(stream_end& end, const char* source, std::size_t size) {
        refresh(end);
        if (readiness(end, POLLOUT) == 0)
            return std::nullopt;
        const std::size_t room = end.room(state_.options.stream_capacity);
        return end.send(source, state_.next_transfer(std::min(size, room)));
    }

    /// Whether a real descriptor has one of these poll(2) events; which ones.
    [[nodiscard]] static short poll_once(int fd, short events) noexcept {
        pollfd polled{fd, events, 0};
        return ::poll(&polled, 1, 0) > 0 ? polled.revents : short{0};
    }
    [[nodiscard]] static bool is_ready(int fd, short events) noexcept {
        return poll_once(fd, events) != 0;
    }

  private:
    /// An IP address and port, in which an IPv4 address is an IPv6 one too.
    using name = std::array<unsigned char, 18>;

    void add(int fd, const std::shared_ptr<stream_end>& end) {
        end->attach(fd, cookie_of(fd));
        ends_[fd] = end;
    }

    /// Learns what plain system calls have done to both sockets: shutdown(2) and close(2) do not
    /// go through the ring.
    void refresh(stream_end& end) {
        if (find(end.fd()).get() == &end && writing_is_shut(end.fd()))
            end.shut_writing();
        const auto peer = end.peer();
        if (peer == nullptr)
            return;
        if (peer->fd() < 0) {
            // Nobody will accept it when the listener has gone.
            if (state_of(end.fd()) == TCP_CLOSE)
                forget_unaccepted(*peer);
        } else if (find(peer->fd()) == peer) {
            if (writing_is_shut(peer->fd()))
                peer->shut_writing();
        }
    }
    void forget_unaccepted(stream_end& passive) {
        passive.abandon();
        for (auto each = unaccepted_.begin(); each != unaccepted_.end(); ++each)
            if (each->second.get() == &passive) {
                unaccepted_.erase(each);
                return;
            }
    }

    [[nodiscard]] static std::uint64_t cookie_of(int fd) noexcept {
        std::uint64_t cookie = 0;
        socklen_t size = sizeof cookie;
        return ::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
    }
    [[nodiscard]] static int state_of(int fd) noexcept {
        tcp_info info{};
        socklen_t size = sizeof info;
        return ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 ? info.tcpi_state : 0;
    }
    [[nodiscard]] static bool writing_is_shut(int fd) noexcept {
        const int state = state_of(fd);
        return state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT;
    }
    static void set_send_timeout(int fd, suseconds_t microseconds) noexcept {
        const timeval limit{0, microseconds};
        ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    }

    [[nodiscard]] static name local_name(int fd) noexcept {
        sockaddr_storage address{};
        socklen_t size = sizeof address;
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
        return name_of(address);
    }
    [[nodiscard]] static name peer_name(int fd) noexcept {
        sockaddr_storage address{};
        socklen_t size = sizeof address;
        ::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size);
        return name_of(address);
    }
    [[nodiscard]] static name name_of(const sockaddr_storage& address) noexcept {
        name result{};
        if (address.ss_family == AF_INET6) {
            sockaddr_in6 v6{};
            std::memcpy(&v6, &address, sizeof v6);
            std::memcpy(result.data(), &v6.sin6_addr, 16);
            std::memcpy(result.data() + 16, &v6.sin6_port, 2);
        } else {
            sockaddr_in v4{};
            std::memcpy(&v4, &address, sizeof v4);
            result[10] = result[11] = 0xff;
            std::memcpy(result.data() + 12, &v4.sin_addr, 4);
            std::memcpy(result.data() + 16, &v4.sin_port, 2);
        }
        return result;
    }

    simulation_state& state_;
    std::map<int, std::shared_ptr<stream_end>> ends_;
    /// By the names of both ends, the connecting one first.
    std::map<std::pair<name, name>, std::shared_ptr<stream_end>> unaccepted_;
};

} // namespace hob::detail
