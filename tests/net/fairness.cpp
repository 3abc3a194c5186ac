// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "net/stream_tasks.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/debug/metrics.hpp>
#include <hob/net/tcp.hpp>
#include <hob/task_group.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace {

hob::task<> serve_in_group(hob::tcp_listener& listener) {
    co_await hob::with_task_group([&](hob::task_group& group) -> hob::task<> {
        for (;;)
            group.start(test::echo(co_await listener.accept(), 4096));
    });
}

/// Has a message under way at all times, in both directions.
hob::task<> saturate(const hob::address& server) {
    hob::tcp_stream stream = co_await hob::tcp_stream::connect(server);
    const std::array<std::byte, 4096> sent{};
    std::array<std::byte, 4096> received;
    for (;;) {
        co_await stream.write_all(sent);
        co_await stream.read_exactly(received);
    }
}

/// The turns that each of some round trips of one byte takes, one after the other.
hob::task<> ping(const hob::address& server, std::vector<std::uint64_t>& turns) {
    hob::tcp_stream stream = co_await hob::tcp_stream::connect(server);
    const std::array<std::byte, 1> sent{};
    std::array<std::byte, 1> received;
    for (int round = 0; round != 50; ++round) {
        const std::uint64_t start = hob::metrics().turns;
        co_await stream.write_all(sent);
        co_await stream.read_exactly(received);
        turns.push_back(hob::metrics().turns - start);
        co_await hob::yield();
    }
}

/// The 99th percentile over eight slow connections beside so many saturated ones.
hob::task<std::uint64_t> slow_turns(const hob::address& server, int saturated) {
    std::vector<std::uint64_t> turns;
    co_await hob::with_task_group([&](hob::task_group& busy) -> hob::task<> {
        for (int i = 0; i != saturated; ++i)
            busy.start(saturate(server));
        co_await hob::with_task_group([&](hob::task_group& slow) -> hob::task<> {
            for (int i = 0; i != 8; ++i)
                slow.start(ping(server, turns));
            co_return;
        });
        busy.cancel();
    });
    std::sort(turns.begin(), turns.end());
    co_return turns.at(turns.size() * 99 / 100);
}

} // namespace

TEST_CASE("saturated connections do not make slow ones wait for turns", "[io-fair]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        hob::tcp_listener listener = hob::tcp_listener::bind("127.0.0.1", 0);
        const auto server = hob::create_task(serve_in_group(listener));
        const std::uint64_t idle = co_await slow_turns(listener.local_address(), 0);
        const std::uint64_t loaded = co_await slow_turns(listener.local_address(), 2);
        INFO(idle << " turns beside nothing, " << loaded << " beside two saturated connections");
        CHECK(loaded <= 10 * idle);
        server.cancel();
    };
    program.run(main());
}
