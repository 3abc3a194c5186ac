// SPDX-License-Identifier: MIT
// The settings of TCP listeners and streams.
#pragma once

#include <hob/net/address.hpp>

#include <sys/socket.h>

#include <chrono>
#include <optional>

namespace hob {

/// How a `tcp_listener` is set up.
class listen_options {
  public:
    listen_options() = default;

    /// How many connections may wait for `accept`; the kernel caps it at net.core.somaxconn.
    int backlog = SOMAXCONN;
    /// Whether an address may be bound whose connections linger in TIME_WAIT: a server restarts.
    bool reuse_address = true;
    /// Whether several listeners share the address and the kernel spreads connections over them.
    bool reuse_port = false;
    /// Whether an IPv6 listener refuses IPv4 peers, so that both kinds can be bound side by side.
    bool v6_only = true;
    /// TCP_NODELAY of the accepted streams: small writes leave at once.
    bool no_delay = true;
    /// SO_RCVBUF and SO_SNDBUF of the accepted streams in bytes; without, the kernel adapts them.
    std::optional<int> receive_buffer_size;
    std::optional<int> send_buffer_size;
};

/// How `tcp_stream::connect` sets the socket up.
class connect_options {
  public:
    connect_options() = default;

    /// The local end; without, the kernel chooses.
    std::optional<address> local_address;
    /// TCP_NODELAY: small writes leave at once.
    bool no_delay = true;
    /// SO_RCVBUF and SO_SNDBUF in bytes; without, the kernel adapts them.
    std::optional<int> receive_buffer_size;
    std::optional<int> send_buffer_size;
};

/// When the kernel probes a silent connection: first after `idle`, then every `interval`; it is
/// reset after `count` probes without an answer.
class keep_alive_options {
  public:
    keep_alive_options() = default;

    std::chrono::seconds idle{60};
    std::chrono::seconds interval{10};
    int count = 6;
};

} // namespace hob
