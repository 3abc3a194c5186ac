// SPDX-License-Identifier: MIT
// An echo server: `echo_server --port 8080`. Port 0, the default, picks a free one.
// Try it with `nc 127.0.0.1 8080`. Ctrl-C ends it.
#include <hob/hob.hpp>

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <optional>
#include <string_view>
#include <system_error>

namespace {

hob::task<> echo(hob::tcp_stream client) {
    std::array<std::byte, 16 * 1024> buffer;
    try {
        while (const std::size_t count = co_await client.read_some(buffer))
            co_await client.write_all({buffer.data(), count});
    } catch (const std::system_error& error) {
        // One client's broken connection is no reason to stop serving the others.
        std::fprintf(stderr, "%s\n", error.what());
    }
}

hob::task<> serve(std::uint16_t port) {
    const auto listener = hob::tcp_listener::bind("127.0.0.1", port);
    std::printf("listening on %s\n", listener.local_address().to_string().c_str());
    std::fflush(stdout);
    co_await hob::with_task_group([&](hob::task_group& clients) -> hob::task<> {
        for (;;)
            clients.start(echo(co_await listener.accept()));
    });
}

std::optional<std::uint16_t> parse_port(int argument_count, char** arguments) {
    if (argument_count == 1)
        return 0;
    if (argument_count != 3 || std::string_view(arguments[1]) != "--port")
        return std::nullopt;
    std::uint16_t port = 0;
    const char* const end = arguments[2] + std::strlen(arguments[2]);
    const auto parsed = std::from_chars(arguments[2], end, port);
    if (parsed.ec != std::errc() || parsed.ptr != end)
        return std::nullopt;
    return port;
}

} // namespace

int main(int argument_count, char** arguments) {
    const std::optional<std::uint16_t> port = parse_port(argument_count, arguments);
    if (!port) {
        std::fputs("usage: echo_server [--port N]    (0 to 65535; 0 picks a free port)\n", stderr);
        return 2;
    }
    try {
        return hob::run(serve(*port));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "echo_server: %s\n", error.what());
        return 1;
    }
}
