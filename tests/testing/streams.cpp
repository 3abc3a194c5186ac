// SPDX-License-Identifier: MIT
// TCP over the simulation behaves as TCP does.
#include "testing/simulated_pair.hpp"
#include "testing/simulated_program.hpp"

#include <hob/hob.hpp>
#include <hob/testing/simulation.hpp>

#include <array>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace {

hob::task<> echo(hob::tcp_stream client) {
    std::array<std::byte, 256> buffer;
    while (const std::size_t count = co_await client.read_some(buffer))
        co_await client.write_all({buffer.data(), count});
    client.shutdown_write();
}
hob::task<> serve(const hob::tcp_listener& listener) {
    for (;;)
        hob::create_task(echo(co_await listener.accept()));
}
hob::task<> exchange(hob::address server, std::size_t size) {
    const std::string text = test::distinct_bytes(size);
    const hob::tcp_stream stream = co_await hob::tcp_stream::connect(server);
    CHECK(stream.peer_address() == server);
    const auto writer = hob::create_task(test::write_and_finish(stream, text));
    const std::string answer = co_await test::read_to_end(stream);
    CHECK(answer == text);
    co_await writer;
}

hob::task<> echo_to_many(hob::testing::simulation&) {
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    const auto server = hob::create_task(serve(listener));
    std::vector<hob::task_handle<>> clients;
    for (std::size_t each = 0; each != 5; ++each)
        clients.push_back(hob::create_task(exchange(listener.local_address(), each * 500)));
    for (const auto& each : clients)
        co_await each;
    server.cancel();
    const bool cancelled = co_await test::end_of(server);
    CHECK(cancelled);
}

hob::task<> connect_before_accept(hob::testing::simulation&) {
    const auto listener = hob::tcp_listener::bind("::1", 0);
    const auto client = co_await hob::tcp_stream::connect(listener.local_address());
    co_await client.write_all("early");
    co_await hob::sleep_for(1ms);
    const auto server = co_await listener.accept();
    CHECK(server.peer_address() == client.local_address());
    client.shutdown_write();
    const std::string received = co_await test::read_to_end(server);
    CHECK(received == "early");
}

template <class Awaitable> hob::task<std::error_code> error_of(Awaitable operation) {
    const auto result = co_await hob::as_result(std::move(operation));
    co_return result ? std::error_code() : result.error();
}

hob::task<> connect_to_nobody(hob::testing::simulation&) {
    auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    const auto where = listener.local_address();
    const auto waiting = co_await hob::tcp_stream::connect(where);
    listener.close();
    std::array<std::byte, 8> buffer;
    auto error = co_await error_of(waiting.read_some(buffer));
    CHECK(error == std::errc::connection_reset);
    error = co_await error_of(hob::tcp_stream::connect(where));
    CHECK(error == std::errc::connection_refused);
}

hob::task<> reset(hob::testing::simulation&) {
    test::simulated_pair pair;
    co_await test::connect_pair(pair);
    co_await pair.client.write_all("lost and found");
    pair.client.abort();
    std::array<std::byte, 14> buffer;
    co_await pair.server.read_exactly(buffer);
    auto error = co_await error_of(pair.server.read_some(buffer));
    CHECK(error == std::errc::connection_reset);
    error = co_await error_of(pair.server.write_some("nobody reads this"));
    CHECK(error == std::errc::broken_pipe);
    CHECK(co_await pair.server.read_some(buffer) == 0);
}

hob::task<> close_with_unread_bytes(hob::testing::simulation&) {
    test::simulated_pair pair;
    co_await test::connect_pair(pair);
    co_await pair.client.write_all("unread");
    co_await hob::sleep_for(1ms);
    pair.server.close();
    std::array<std::byte, 8> buffer;
    const auto error = co_await error_of(pair.client.read_some(buffer));
    CHECK(error == std::errc::connection_reset);
}

hob::task<> write_after_close(hob::testing::simulation&) {
    test::simulated_pair pair;
    co_await test::connect_pair(pair);
    pair.server.close();
    std::array<std::byte, 8> buffer;
    CHECK(co_await pair.client.read_some(buffer) == 0);
    // The first bytes find out that nobody is there.
    co_await pair.client.write_all("!");
    auto error = co_await error_of(pair.client.write_some("!"));
    CHECK(error == std::errc::broken_pipe);
    pair.client.shutdown_write();
}

/// As many bytes as fit, and then none until the peer reads.
hob::task<> fill(hob::testing::simulation&) {
    test::simulated_pair pair;
    co_await test::connect_pair(pair);
    const std::string text = test::distinct_bytes(100'000);
    const auto writer = hob::create_task(test::write_and_finish(pair.client, text));
    co_await hob::sleep_for(1h);
    CHECK_FALSE(writer.done());
    writer.cancel();
    const bool cancelled = co_await test::end_of(writer);
    CHECK(cancelled);
    CHECK(pair.client.broken_write() == std::size_t{1000});
    pair.client.shutdown_write();
    const std::string received = co_await test::read_to_end(pair.server);
    CHECK(received == text.substr(0, 1000));
}

} // namespace

TEST_CASE("streams echo over the simulation, whatever the order", "[testing][shuffle]") {
    test::for_each_seed(echo_to_many);
}
TEST_CASE("a client may connect and write before anybody accepts", "[testing]") {
    test::for_each_seed(connect_before_accept);
}
TEST_CASE("where nobody listens, a simulated connection is refused or reset", "[testing]") {
    test::for_each_seed(connect_to_nobody);
}
TEST_CASE("an abort resets a simulated connection", "[testing]") {
    test::for_each_seed(reset);
}
TEST_CASE("closing with unread bytes resets a simulated connection", "[testing]") {
    test::for_each_seed(close_with_unread_bytes);
}
TEST_CASE("writing to a closed simulated peer ends in EPIPE", "[testing]") {
    test::for_each_seed(write_after_close);
}
TEST_CASE("a simulated connection holds a bounded number of bytes", "[testing]") {
    hob::testing::simulation_options options;
    options.stream_capacity = 1000;
    test::for_each_seed(options, fill);
}
