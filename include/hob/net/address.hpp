// SPDX-License-Identifier: MIT
// hob::address: an IPv4 or IPv6 address with a port.
#pragma once

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <charconv>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

namespace hob {

/// Thrown for a text that is no address. The message quotes it and says what would be one.
class address_error : public std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};

/// A value of 28 bytes: host, port and, for link-local IPv6, the scope. Names are not looked up
/// here: see `hob::resolve`. An IPv4-mapped IPv6 address stays an IPv6 address.
class address {
  public:
    /// No address: `is_v4()` and `is_v6()` are false.
    address() noexcept : storage_{} {}
    /// A numeric host such as "127.0.0.1", "::1" or "fe80::1%eth0". Throws `address_error`.
    address(std::string_view host, std::uint16_t port) : address() { set_host(host, port); }

    /// The inverse of `to_string`: "127.0.0.1:80" or "[::1]:80". Throws `address_error`.
    [[nodiscard]] static address parse(std::string_view text) {
        const std::size_t colon = text.rfind(':');
        if (colon == std::string_view::npos)
            refuse(text, "a port is missing: write 127.0.0.1:80 or [::1]:80");
        std::string_view host = text.substr(0, colon);
        if (host.starts_with('[') && host.ends_with(']')) {
            host = host.substr(1, host.size() - 2);
            if (host.find(':') == std::string_view::npos)
                refuse(text, "brackets are for IPv6: write 127.0.0.1:80 or [::1]:80");
        } else if (host.find(':') != std::string_view::npos) {
            refuse(text, "an IPv6 address with a port stands in brackets: write [::1]:80");
        }
        return address(host, parse_port(text, text.substr(colon + 1)));
    }

    /// Every local address, to listen on.
    [[nodiscard]] static address any_v4(std::uint16_t port) noexcept {
        return make_v4(INADDR_ANY, port);
    }
    [[nodiscard]] static address any_v6(std::uint16_t port) noexcept {
        return make_v6(in6addr_any, port);
    }
    /// 127.0.0.1 and ::1.
    [[nodiscard]] static address loopback_v4(std::uint16_t port) noexcept {
        return make_v4(INADDR_LOOPBACK, port);
    }
    [[nodiscard]] static address loopback_v6(std::uint16_t port) noexcept {
        return make_v6(in6addr_loopback, port);
    }

    [[nodiscard]] bool is_v4() const noexcept { return family() == AF_INET; }
    [[nodiscard]] bool is_v6() const noexcept { return family() == AF_INET6; }
    /// AF_INET, AF_INET6 or AF_UNSPEC.
    [[nodiscard]] int family() const noexcept { return storage_.any.sa_family; }

    /// The numeric host, an IPv6 scope after a '%'; empty for no address.
    [[nodiscard]] std::string host() const {
        std::array<char, INET6_ADDRSTRLEN> text{};
        if (is_v4())
            ::inet_ntop(AF_INET, &storage_.v4.sin_addr, text.data(), text.size());
        else if (is_v6())
            ::inet_ntop(AF_INET6, &storage_.v6.sin6_addr, text.data(), text.size());
        std::string host = text.data();
        if (is_v6() && storage_.v6.sin6_scope_id != 0)
            host += '%' + std::to_string(storage_.v6.sin6_scope_id);
        return host;
    }
    [[nodiscard]] std::uint16_t port() const noexcept {
        // Both kinds keep the port at the same place; no address has zero there.
        return ntohs(storage_.v4.sin_port);
    }
    [[nodiscard]] address with_port(std::uint16_t port) const noexcept {
        address other = *this;
        other.storage_.v4.sin_port = htons(port);
        return other;
    }
    /// "127.0.0.1:80" or "[::1]:80"; "(no address)" for none.
    [[nodiscard]] std::string to_string() const {
        if (is_v4())
            return host() + ':' + std::to_string(port());
        if (is_v6())
            return '[' + host() + "]:" + std::to_string(port());
        return "(no address)";
    }

    /// IPv4 before IPv6, then by host, scope and port.
    friend std::strong_ordering operator<=>(const address& left, const address& right) noexcept {
        if (left.family() != right.family())
            return left.family() <=> right.family();
        int hosts = 0;
        if (left.is_v4())
            hosts = std::memcmp(&left.storage_.v4.sin_addr, &right.storage_.v4.sin_addr,
                                sizeof(in_addr));
        else if (left.is_v6())
            hosts = std::memcmp(&left.storage_.v6.sin6_addr, &right.storage_.v6.sin6_addr,
                                sizeof(in6_addr));
        if (hosts != 0)
            return hosts <=> 0;
        if (left.is_v6() && left.storage_.v6.sin6_scope_id != right.storage_.v6.sin6_scope_id)
            return left.storage_.v6.sin6_scope_id <=> right.storage_.v6.sin6_scope_id;
        return left.port() <=> right.port();
    }
    friend bool operator==(const address& left, const address& right) noexcept {
        return (left <=> right) == 0;
    }

    /// For system calls: the kernel reads `size()` bytes, and may write `capacity` bytes.
    [[nodiscard]] const sockaddr* data() const noexcept { return &storage_.any; }
    [[nodiscard]] sockaddr* data() noexcept { return &storage_.any; }
    [[nodiscard]] socklen_t size() const noexcept {
        return is_v4() ? sizeof(sockaddr_in) : is_v6() ? sizeof(sockaddr_in6) : sizeof(sa_family_t);
    }
    static constexpr socklen_t capacity = sizeof(sockaddr_in6);

  private:
    static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));

    static address make_v4(in_addr_t host, std::uint16_t port) noexcept {
        address made;
        made.storage_.v4.sin_family = AF_INET;
        made.storage_.v4.sin_addr.s_addr = htonl(host);
        made.storage_.v4.sin_port = htons(port);
        return made;
    }
    static address make_v6(const in6_addr& host, std::uint16_t port) noexcept {
        address made;
        made.storage_.v6.sin6_family = AF_INET6;
        made.storage_.v6.sin6_addr = host;
        made.storage_.v6.sin6_port = htons(port);
        return made;
    }

    void set_host(std::string_view text, std::uint16_t port) {
        const std::size_t percent = text.find('%');
        const std::string host(text.substr(0, percent));
        in_addr v4{};
        in6_addr v6{};
        // A host with a NUL inside would pass for what stands before it.
        if (host.find('\0') == std::string::npos) {
            if (percent == std::string_view::npos && ::inet_pton(AF_INET, host.c_str(), &v4) == 1) {
                *this = make_v4(ntohl(v4.s_addr), port);
                return;
            }
            if (::inet_pton(AF_INET6, host.c_str(), &v6) == 1) {
                *this = make_v6(v6, port);
                if (percent != std::string_view::npos)
                    storage_.v6.sin6_scope_id = parse_scope(text, text.substr(percent + 1));
                return;
            }
        }
        refuse(text, "write a numeric host such as 127.0.0.1 or ::1, or look the name up with "
                     "hob::resolve");
    }

    static std::uint16_t parse_port(std::string_view whole, std::string_view digits) {
        std::uint16_t port = 0;
        const char* const end = digits.data() + digits.size();
        const auto [stop, error] = std::from_chars(digits.data(), end, port);
        if (error != std::errc() || stop != end)
            refuse(whole, "a port is a number from 0 to 65535");
        return port;
    }

    static std::uint32_t parse_scope(std::string_view whole, std::string_view scope) {
        std::uint32_t number = 0;
        const char* const end = scope.data() + scope.size();
        const auto [stop, error] = std::from_chars(scope.data(), end, number);
        if (error != std::errc() || stop != end)
            number = ::if_nametoindex(std::string(scope).c_str());
        if (number == 0)
            refuse(whole, "the scope after '%' names no network interface");
        return number;
    }

    [[noreturn, gnu::cold]] static void refuse(std::string_view text, const char* cure) {
        throw address_error("not an address: '" + std::string(text) + "': " + cure);
    }

    union {
        sockaddr any;
        sockaddr_in v4;
        sockaddr_in6 v6;
    } storage_;
};

} // namespace hob

template <> struct std::hash<hob::address> {
    std::size_t operator()(const hob::address& value) const noexcept {
        // The bytes may differ where the addresses do not (a flow label), so only the parts that
        // are compared count.
        const auto* const v6 = reinterpret_cast<const sockaddr_in6*>(value.data());
        const auto* const v4 = reinterpret_cast<const sockaddr_in*>(value.data());
        const std::string_view host =
            value.is_v6()
                ? std::string_view(reinterpret_cast<const char*>(&v6->sin6_addr), sizeof(in6_addr))
                : std::string_view(reinterpret_cast<const char*>(&v4->sin_addr), sizeof(in_addr));
        return std::hash<std::string_view>()(host) * 31 + value.port();
    }
};
