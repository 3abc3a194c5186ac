// SPDX-License-Identifier: MIT
// A connection whose both ends run in the same loop.
#pragma once

#include <hob/net/tcp.hpp>
#include <hob/task.hpp>
#include <hob/task_handle.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace test {

struct simulated_pair {
    hob::tcp_stream client;
    hob::tcp_stream server;
};

inline hob::task<> connect_into(hob::address where, hob::tcp_stream& connected) {
    connected = co_await hob::tcp_stream::connect(where);
}

inline hob::task<> connect_pair(const hob::tcp_listener& listener, simulated_pair& pair) {
    const auto connecting = hob::create_task(connect_into(listener.local_address(), pair.client));
    pair.server = co_await listener.accept();
    co_await connecting;
}
inline hob::task<> connect_pair(simulated_pair& pair) {
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    co_await connect_pair(listener, pair);
}

inline hob::task<std::string> read_to_end(const hob::tcp_stream& stream) {
    std::string all;
    std::array<std::byte, 1000> buffer;
    while (const std::size_t count = co_await stream.read_some(buffer))
        all.append(reinterpret_cast<const char*>(buffer.data()), count);
    co_return all;
}
inline hob::task<> write_and_finish(const hob::tcp_stream& stream, std::string_view text) {
    co_await stream.write_all(text);
    stream.shutdown_write();
}

/// Bytes in which no position looks like another one nearby.
inline std::string distinct_bytes(std::size_t size) {
    std::string bytes(size, '\0');
    std::uint32_t state = 1;
    for (char& each : bytes) {
        state = state * 1664525 + 1013904223;
        each = static_cast<char>(state >> 24);
    }
    return bytes;
}

} // namespace test
