// SPDX-License-Identifier: MIT
// Sockets below the streams: the descriptor, and system calls that never wait.
#pragma once

#include <hob/core/descriptor.hpp>
#include <hob/core/error.hpp>
#include <hob/core/unique_fd.hpp>
#include <hob/net/address.hpp>

#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <type_traits>

namespace hob::detail {

/// A socket with an IP address: the peer's, or the one that a listener is bound to.
class ip_socket final : public descriptor {
  public:
    /// Takes the number over, unless it throws `std::bad_alloc`.
    [[nodiscard]] static descriptor_ref make(unique_fd& fd, const address& where) {
        auto* const made = new ip_socket(fd.get(), where);
        static_cast<void>(fd.release());
        return descriptor_ref(*made);
    }

    [[nodiscard]] std::string name() const override { return where_.to_string(); }
    [[nodiscard]] const address& where() const noexcept { return where_; }

  private:
    ip_socket(int fd, const address& where) noexcept : descriptor(fd), where_(where) {}
    ~ip_socket() override = default;

    address where_;
};

/// Returns 0 or a negative errno.
template <class T>
[[nodiscard]] int set_option(int fd, int level, int option, const T& value) noexcept {
    static_assert(std::is_trivially_copyable_v<T>);
    return ::setsockopt(fd, level, option, &value, sizeof value) == 0 ? 0 : -errno;
}

/// Sets an option of an open descriptor. Throws `closed_error` and `std::system_error`.
template <class T>
void change_option(const descriptor& target, int level, int option, const T& value,
                   const char* name) {
    if (target.is_closed())
        throw closed_error(std::string(name) + " of " + target.name());
    if (const int error = set_option(target.fd(), level, option, value))
        throw_errno(-error, std::string(name) + " of " + target.name());
}

/// The same for reading one.
template <class T = int>
[[nodiscard]] T option_of(const descriptor& target, int level, int option, const char* name) {
    if (target.is_closed())
        throw closed_error(std::string(name) + " of " + target.name());
    T value{};
    socklen_t size = sizeof value;
    if (::getsockopt(target.fd(), level, option, &value, &size) != 0)
        throw_errno(errno, std::string(name) + " of " + target.name());
    return value;
}

/// The address that a socket is bound to. Throws `closed_error` and `std::system_error`.
[[nodiscard]] inline address local_address_of(const descriptor& target) {
    if (target.is_closed())
        throw closed_error("the local address of " + target.name());
    address local;
    socklen_t size = address::capacity;
    if (::getsockname(target.fd(), local.data(), &size) != 0)
        throw_errno(errno, "getsockname of " + target.name());
    return local;
}

} // namespace hob::detail
