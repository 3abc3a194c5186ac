// SPDX-License-Identifier: MIT
// Tasks that use a stream.
#pragma once

#include <hob/net/tcp_listener.hpp>
#include <hob/net/tcp_stream.hpp>
#include <hob/task.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace test {

/// Sends back what it gets, until the peer ends the stream. Reads up to `size` bytes at a time.
inline hob::task<> echo(hob::tcp_stream client, std::size_t size = 16 * 1024) {
    std::vector<std::byte> buffer(size);
    while (const std::size_t count = co_await client.read_some(buffer))
        co_await client.write_all({buffer.data(), count});
}
inline hob::task<> accept_into(const hob::tcp_listener& listener, hob::tcp_stream& accepted) {
    accepted = co_await listener.accept();
}
inline hob::task<> write_text(const hob::tcp_stream& stream, const std::string& text) {
    co_await stream.write_all(text);
}

} // namespace test
