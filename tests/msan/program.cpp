// SPDX-License-Identifier: MIT
// contract: buf-msan
// Looks at every byte that the kernel writes for us: under MSan, one that the library has not
// declared initialized is an error.
#include <hob/hob.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

constexpr std::size_t size = 1000;

/// A branch on the value of every byte.
int sum(const std::byte* data, std::size_t count) {
    int total = 0;
    for (std::size_t index = 0; index != count; ++index)
        if (data[index] == std::byte{1})
            ++total;
    return total;
}

hob::task<> echo(hob::tcp_listener& listener) {
    hob::tcp_stream client = co_await listener.accept();
    std::array<std::byte, 64> buffer;
    while (const std::size_t count = co_await client.read_some(buffer)) {
        if (sum(buffer.data(), count) != static_cast<int>(count))
            std::abort();
        co_await client.write_all({buffer.data(), count});
    }
}

hob::task<int> over_tcp() {
    hob::tcp_listener listener = hob::tcp_listener::bind("127.0.0.1", 0);
    const auto server = hob::create_task(echo(listener));
    hob::tcp_stream stream = co_await hob::tcp_stream::connect(listener.local_address());
    if (stream.local_address() == stream.peer_address())
        std::abort();
    const std::vector<std::byte> sent(size, std::byte{1});
    co_await stream.write_all(sent);
    std::array<std::byte, size> received;
    co_await stream.read_exactly(received);
    stream.shutdown_write();
    co_await server;
    co_return sum(received.data(), received.size());
}

hob::task<int> through_file(std::string name) {
    co_await hob::write_file(name, std::string(size, '\1'));
    const hob::file opened = co_await hob::file::open(name, hob::open_mode::read);
    if (opened.size() != size)
        std::abort();
    std::array<std::byte, size> read;
    const std::size_t count = co_await opened.read_at(read, 0);
    co_return sum(read.data(), count);
}

hob::task<int> on_thread() {
    const auto job = [] { return static_cast<int>(size); };
    co_return co_await hob::to_thread(job);
}

hob::task<int> all(const char* file_name) {
    co_await hob::sleep_for(1ms);
    const auto [tcp, file, thread] =
        co_await hob::gather(over_tcp(), through_file(file_name), on_thread());
    co_return tcp + file + thread;
}

} // namespace

// The argument names a file that may be written.
int main(int, char** arguments) {
    const int counted = hob::run(all(arguments[1]));
    std::printf("%d\n", counted);
    return counted == 3 * static_cast<int>(size) ? EXIT_SUCCESS : EXIT_FAILURE;
}
