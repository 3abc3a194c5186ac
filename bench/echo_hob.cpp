// SPDX-License-Identifier: MIT
// TCP echo server on hob: a task for each connection.
#include <hob/net/tcp.hpp>
#include <hob/run.hpp>
#include <hob/task_handle.hpp>

#include <unistd.h>

#include <array>
#include <charconv>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace {

hob::task<> echo(hob::tcp_stream client) {
    std::array<std::byte, 16 * 1024> buffer;
    while (const std::size_t count = co_await client.read_some(buffer))
        co_await client.write_all({buffer.data(), count});
}

hob::task<> serve(std::uint16_t port) {
    const auto listener = hob::tcp_listener::bind("127.0.0.1", port);
    std::printf("listening on %s\n", listener.local_address().to_string().c_str());
    std::fflush(stdout);
    for (;;)
        hob::create_task(echo(co_await listener.accept()));
}

std::uint16_t parse_port(int argc, char** argv) {
    std::uint16_t port = 0;
    if (argc == 1)
        return port;
    const std::string_view text = argc == 3 ? argv[2] : "";
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, port);
    if (argc != 3 || std::string_view(argv[1]) != "--port" || error != std::errc() || stop != end) {
        std::fprintf(stderr, "usage: %s [--port N]\n", argv[0]);
        std::exit(2);
    }
    return port;
}

} // namespace

int main(int argc, char** argv) {
    std::signal(SIGTERM, [](int) { ::_exit(0); });
    return hob::run(serve(parse_port(argc, argv)));
}
