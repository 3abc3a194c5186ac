// SPDX-License-Identifier: MIT
// An echo server and a thousand concurrent clients in one thread. Every client sends messages of
// its own and checks every byte that comes back.
#include <hob/hob.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;

constexpr int client_count = 1000;
constexpr int messages_per_client = 20;
constexpr std::size_t longest_message = 4096;

struct totals {
    int connected = 0;
    int most_connected = 0;
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
};

hob::task<> echo(hob::tcp_stream client) {
    std::array<std::byte, 16 * 1024> buffer;
    while (const std::size_t count = co_await client.read_some(buffer))
        co_await client.write_all({buffer.data(), count});
}

hob::task<> serve(const hob::tcp_listener& listener) {
    co_await hob::with_task_group([&](hob::task_group& clients) -> hob::task<> {
        for (;;)
            clients.start(echo(co_await listener.accept()));
    });
}

hob::task<> check_echo(unsigned seed, hob::address server, totals& sum) {
    const hob::tcp_stream stream = co_await hob::tcp_stream::connect(server);
    sum.most_connected = std::max(sum.most_connected, ++sum.connected);
    std::minstd_rand random(seed + 1);
    std::vector<std::byte> sent;
    std::vector<std::byte> received;
    for (int message = 0; message != messages_per_client; ++message) {
        sent.resize(1 + random() % longest_message);
        for (std::byte& each : sent)
            each = static_cast<std::byte>(random());
        received.assign(sent.size(), std::byte{});
        co_await stream.write_all(sent);
        co_await stream.read_exactly(received);
        if (received != sent)
            throw std::runtime_error("client " + std::to_string(seed) + ": the echo differs");
        ++sum.messages;
        sum.bytes += sent.size();
    }
    --sum.connected;
}

hob::task<totals> run_clients(hob::address server) {
    totals sum;
    co_await hob::with_task_group([&](hob::task_group& clients) -> hob::task<> {
        for (unsigned seed = 0; seed != client_count; ++seed)
            clients.start(check_echo(seed, server, sum));
        co_return;
    });
    co_return sum;
}

hob::task<> demonstrate() {
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    const hob::address server = listener.local_address();
    const auto start = std::chrono::steady_clock::now();
    // The clients end, and win; the server never does, and is cancelled with all its connections.
    const auto winner = co_await hob::race(run_clients(server), serve(listener));
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    const totals& sum = std::get<0>(winner);
    std::printf("%d clients, at most %d at once, on one thread: %llu messages, %.1f MiB echoed in "
                "%.2f s, every byte checked\n",
                client_count, sum.most_connected, static_cast<unsigned long long>(sum.messages),
                static_cast<double>(sum.bytes) / (1024.0 * 1024.0), taken.count());
}

} // namespace

int main() {
    try {
        return hob::run(demonstrate());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "echo_thousand: %s\n", error.what());
        return 1;
    }
}
