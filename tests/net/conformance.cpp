// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "net/stream_conformance.hpp"
#include "net/stream_tasks.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"
#include "testing/simulated_pair.hpp"

#include <hob/net/tcp.hpp>
#include <hob/task_group.hpp>

#include <array>
#include <utility>

namespace {

hob::task<> connect_tcp_pair(hob::tcp_stream& first, hob::tcp_stream& second) {
    test::simulated_pair pair;
    co_await test::connect_pair(pair);
    first = std::move(pair.client);
    second = std::move(pair.server);
}

/// A server of asyncio's kind: an accepting task and a task for each connection in one group.
hob::task<> serve(hob::tcp_listener& listener) {
    auto body = [&](hob::task_group& connections) -> hob::task<> {
        try {
            for (;;)
                connections.start(test::echo(co_await listener.accept(), 1000));
        } catch (const hob::closed_error&) {
            // The listener was closed: the connections are waited for.
        }
    };
    co_await hob::with_task_group(body);
}

hob::task<> close_server_first() {
    auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    const hob::address where = listener.local_address();
    const auto server = hob::create_task(serve(listener));
    const hob::tcp_stream client = co_await hob::tcp_stream::connect(where);
    co_await client.write_all("a");
    std::array<std::byte, 1> answer;
    co_await client.read_exactly(answer);

    listener.close();
    co_await test::settle();
    // The connection that is there goes on, and is waited for; a new one is refused.
    CHECK_FALSE(server.done());
    // The descriptor is closed once the accept has been taken back.
    int error = 0;
    while (error == 0) {
        const auto refused = co_await hob::as_result(hob::tcp_stream::connect(where));
        error = refused.error().value();
    }
    CHECK((error == ECONNREFUSED || error == ECONNRESET));
    co_await client.write_all("b");
    co_await client.read_exactly(answer);
    CHECK(static_cast<char>(answer[0]) == 'b');
    client.shutdown_write();
    co_await server;
}

hob::task<> abort_clients() {
    auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    const hob::address where = listener.local_address();
    const auto server = hob::create_task(serve(listener));
    hob::tcp_stream client = co_await hob::tcp_stream::connect(where);
    co_await client.write_all("a");
    std::array<std::byte, 1> answer;
    co_await client.read_exactly(answer);
    client.abort();
    // One connection's exception ends this server: it is the group's.
    CHECK_THROWS_AS(co_await server, hob::exception_group);
    listener.close();
}

hob::task<> cancel_server() {
    auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    const auto server = hob::create_task(serve(listener));
    const hob::tcp_stream client = co_await hob::tcp_stream::connect(listener.local_address());
    co_await client.write_all("a");
    std::array<std::byte, 1> answer;
    co_await client.read_exactly(answer);
    server.cancel();
    // Its connections are closed with it, and the client sees the end.
    const std::size_t count = co_await client.read_some(answer);
    CHECK(count == 0);
    CHECK_THROWS_AS(co_await server, hob::cancelled_error);
}

} // namespace

TEST_CASE("a TCP stream conforms to the rules of streams", "[conform]") {
    test::program program(test::any_loop());
    test::stream_conformance<hob::tcp_stream, decltype(&connect_tcp_pair)> conformance(
        &connect_tcp_pair);
    program.run(conformance.check_everything());
    CHECK(program.loop().operations_in_flight() == 0);
}

TEST_CASE("a server whose listener is closed serves the connections it has", "[srv-close]") {
    test::program program(test::any_loop());
    program.run(close_server_first());
}

TEST_CASE("a client that aborts ends a server that does not catch it", "[srv-close]") {
    test::program program(test::any_loop());
    program.run(abort_clients());
}

TEST_CASE("a server that is cancelled closes its connections", "[srv-close]") {
    test::program program(test::any_loop());
    program.run(cancel_server());
}
