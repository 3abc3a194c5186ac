// SPDX-License-Identifier: MIT
// One end of a simulated connection: bytes under way, and how connections end.
#pragma once

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace hob::detail {

/// Behaves as a TCP socket of Linux does towards its user. Held by its descriptor and, as the
/// kernel holds a file, by each operation in flight; the last one to let go leaves the connection.
class stream_end {
  public:
    stream_end() = default;
    stream_end(const stream_end&) = delete;
    stream_end& operator=(const stream_end&) = delete;
    ~stream_end() {
        if (const auto peer = peer_.lock())
            peer->peer_left(abandoned_ || !incoming_.empty());
    }

    static void connect(const std::shared_ptr<stream_end>& left,
                        const std::shared_ptr<stream_end>& right) noexcept {
        left->peer_ = right;
        right->peer_ = left;
    }

    /// The descriptor, and the kernel's number for the socket behind it, which is never reused.
    void attach(int fd, std::uint64_t cookie) noexcept {
        fd_ = fd;
        cookie_ = cookie;
    }
    [[nodiscard]] int fd() const noexcept { return fd_; } ///< -1 until it is accepted
    [[nodiscard]] std::uint64_t cookie() const noexcept { return cookie_; }
    [[nodiscard]] std::shared_ptr<stream_end> peer() const noexcept { return peer_.lock(); }

    /// Leaving becomes a reset.
    void abandon() noexcept { abandoned_ = true; }
    /// No more bytes leave, and the peer sees the end.
    void shut_writing() noexcept {
        writing_shut_ = true;
        if (const auto peer = peer_.lock())
            peer->finished_ = true;
    }
    void shut_reading() noexcept { finished_ = true; }

    /// What poll(2) says, when each direction holds `capacity` bytes.
    [[nodiscard]] int readiness(std::size_t capacity) const noexcept {
        int events = 0;
        if (can_receive())
            events |= POLLIN;
        if (can_send(capacity))
            events |= POLLOUT;
        if (finished_ || reset_)
            events |= POLLRDHUP;
        if (error_ != 0)
            events |= POLLERR;
        if (reset_ || (finished_ && writing_shut_))
            events |= POLLHUP;
        return events;
    }
    [[nodiscard]] bool can_receive() const noexcept {
        return !incoming_.empty() || finished_ || reset_;
    }
    [[nodiscard]] bool can_send(std::size_t capacity) const noexcept {
        if (reset_ || writing_shut_)
            return true;
        const auto peer = peer_.lock();
        return peer == nullptr || peer->incoming_.size() < capacity;
    }
    /// How many bytes `receive` and `send` could move now.
    [[nodiscard]] std::size_t available() const noexcept { return incoming_.size(); }
    [[nodiscard]] std::size_t room(std::size_t capacity) const noexcept {
        const auto peer = peer_.lock();
        return peer == nullptr ? capacity : capacity - peer->incoming_.size();
    }

    /// Both return a count or a negative errno. Only when they can.
    [[nodiscard]] int receive(char* target, std::size_t count) {
        if (count = std::min(count, incoming_.size()); count != 0) {
            std::memcpy(target, incoming_.data(), count);
            incoming_.erase(0, count);
            return static_cast<int>(count);
        }
        return finished_ ? 0 : take_error();
    }
    [[nodiscard]] int send(const char* source, std::size_t count) {
        if (error_ != 0)
            return take_error();
        if (reset_ || writing_shut_)
            return -EPIPE;
        if (const auto peer = peer_.lock())
            peer->incoming_.append(source, count);
        else
            reset_ = true; // the answer to these bytes, which nobody will read
        return static_cast<int>(count);
    }

  private:
    void peer_left(bool abruptly) noexcept {
        if (!abruptly) {
            finished_ = true;
            return;
        }
        reset_ = true;
        error_ = finished_ ? EPIPE : ECONNRESET;
    }
    /// A reset is told once; after that the stream is just over.
    [[nodiscard]] int take_error() noexcept { return -std::exchange(error_, 0); }

    int fd_ = -1;
    std::uint64_t cookie_ = 0;
    std::weak_ptr<stream_end> peer_;
    std::string incoming_;
    int error_ = 0;         ///< to be told to the next operation
    bool finished_ = false; ///< the peer sends no more
    bool reset_ = false;
    bool writing_shut_ = false;
    bool abandoned_ = false;
};

} // namespace hob::detail
