// SPDX-License-Identifier: MIT
// The end of a connection: close, half-close, reset, and who notices.
#include "net/fault_ring.hpp"
#include "net/raw_peer.hpp"
#include "net/ring_modes.hpp"

#include <hob/hob.hpp>
#include <hob/net/tcp.hpp>

#include <fcntl.h>

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

namespace {

hob::task<std::string> error_of_reading(const hob::tcp_stream& stream) {
    std::array<std::byte, 4> buffer{};
    try {
        co_await stream.read_some(buffer);
    } catch (const hob::closed_error& error) {
        co_return error.what();
    }
    co_return "no error";
}
hob::task<std::string> error_of_writing(const hob::tcp_stream& stream, const std::string& text) {
    try {
        co_await stream.write_all(text);
    } catch (const hob::closed_error& error) {
        co_return error.what();
    }
    co_return "no error";
}
hob::task<std::string> error_of_accepting(const hob::tcp_listener& listener) {
    try {
        co_await listener.accept();
    } catch (const hob::closed_error& error) {
        co_return error.what();
    }
    co_return "no error";
}

hob::task<> close_wakes() {
    auto [stream, peer] = co_await test::connect_narrow_pair();
    auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    const std::string text = test::pattern(1 << 20);
    const auto reader = hob::create_task(error_of_reading(stream));
    const auto writer = hob::create_task(error_of_writing(stream, text));
    const auto acceptor = hob::create_task(error_of_accepting(listener));
    co_await test::settle();
    CHECK_FALSE(reader.done());
    CHECK_FALSE(writer.done());
    CHECK_FALSE(acceptor.done());
    stream.close();
    listener.close();
    const std::string name = peer.local_address().to_string();
    const std::string read_error = co_await reader;
    CHECK(read_error.find("recv from " + name + ": closed") == 0);
    const std::string write_error = co_await writer;
    CHECK(write_error.find("send to " + name + ": closed") == 0);
    const std::string accept_error = co_await acceptor;
    CHECK(accept_error.find("accept on " + listener.local_address().to_string()) == 0);
}

hob::task<> destroying_is_closing() {
    auto [stream, peer] = co_await test::connect_pair();
    auto owned = std::make_unique<hob::tcp_stream>(std::move(stream));
    const auto reader = hob::create_task(error_of_reading(*owned));
    co_await test::settle();
    owned.reset();
    const std::string error = co_await reader;
    CHECK(error.find("recv from ") == 0);
    const std::string received = co_await peer.receive_all();
    CHECK(received.empty());
}

hob::task<> close_with_a_read_in_flight() {
    auto [stream, peer] = co_await test::connect_pair();
    const auto reader = hob::create_task(error_of_reading(stream));
    co_await test::settle();
    co_await stream.write_all("last words");
    stream.close();
    const std::string received = co_await peer.receive_all();
    CHECK(received == "last words");
    co_await reader;
}

hob::task<> number_is_held() {
    auto [stream, peer] = co_await test::connect_pair();
    const int number = stream.native_handle();
    const auto reader = hob::create_task(error_of_reading(stream));
    co_await test::settle();
    stream.close();
    CHECK(stream.native_handle() == -1);
    co_await test::settle();
    // The request to cancel was lost, so the read is still in flight.
    CHECK_FALSE(reader.done());
    CHECK(::fcntl(number, F_GETFD) >= 0);
    peer.send("x");
    const std::string error = co_await reader;
    CHECK(error == "no error");
    co_await test::settle();
    CHECK(::fcntl(number, F_GETFD) < 0);
}

hob::task<> half_close() {
    auto [stream, peer] = co_await test::connect_pair();
    co_await stream.write_all("request");
    stream.shutdown_write();
    const std::string request = co_await peer.receive_all();
    CHECK(request == "request");
    peer.send("answer");
    std::array<std::byte, 6> buffer{};
    co_await stream.read_exactly(buffer);
    CHECK(test::text_of(buffer, 6) == "answer");
    const auto result = co_await hob::as_result(stream.write_some("more"));
    CHECK(result.error() == std::errc::broken_pipe);
    stream.shutdown_write();
}

hob::task<> reset_by_the_peer() {
    auto [stream, peer] = co_await test::connect_pair();
    const std::string name = peer.local_address().to_string();
    auto reset = [](test::raw_peer& quitter) -> hob::task<> {
        co_await test::settle();
        quitter.reset();
    };
    const auto resetter = hob::create_task(reset(peer));
    std::array<std::byte, 4> buffer{};
    try {
        co_await stream.read_some(buffer);
        FAIL("no exception");
    } catch (const std::system_error& error) {
        CHECK(error.code() == std::errc::connection_reset);
        CHECK(std::string(error.what()).find("recv from " + name) == 0);
    }
    try {
        co_await stream.write_all("x");
        FAIL("no exception");
    } catch (const std::system_error& error) {
        CHECK(error.code() == std::errc::broken_pipe);
        CHECK(std::string(error.what()).find("send to " + name) == 0);
    }
    co_await resetter;
}

hob::task<> aborted() {
    auto [stream, peer] = co_await test::connect_narrow_pair();
    const std::string text = test::pattern(1 << 20);
    const auto reader = hob::create_task(error_of_reading(stream));
    const auto writer = hob::create_task(error_of_writing(stream, text));
    co_await test::settle();
    stream.abort();
    stream.abort();
    const std::string read_error = co_await reader;
    CHECK(read_error.find("closed") != std::string::npos);
    const std::string write_error = co_await writer;
    CHECK(write_error.find("closed") != std::string::npos);
    test::raw_peer::received last = co_await peer.receive_soon();
    while (last.error == 0 && !last.bytes.empty())
        last = co_await peer.receive_soon();
    CHECK(last.error == ECONNRESET);
}

hob::task<> close_delivers_what_was_written() {
    auto [stream, peer] = co_await test::connect_narrow_pair();
    const std::string text = test::pattern(4096);
    co_await stream.write_all(text);
    stream.close();
    const std::string received = co_await peer.receive_all();
    CHECK(received == text);
}

hob::task<> fail_on_request(hob::tcp_stream client) {
    std::array<std::byte, 4> buffer{};
    co_await client.read_exactly(buffer);
    throw std::runtime_error("handler failed");
}

hob::task<> handler_throws() {
    int reports = 0;
    hob::event_loop::current().set_exception_handler(
        [&reports](const hob::exception_context&) { ++reports; });
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    for (int client = 1; client != 3; ++client) {
        auto [stream, peer] = co_await test::connect_pair(listener);
        hob::create_task(fail_on_request(std::move(stream)));
        peer.send("data");
        const std::string received = co_await peer.receive_all();
        CHECK(received.empty());
        CHECK(reports == client);
    }
    hob::event_loop::current().set_exception_handler({});
}

} // namespace

TEST_CASE("close wakes a reader, a writer and an acceptor", "[net][close-wakes]") {
    test::in_both_ring_modes(close_wakes);
}
TEST_CASE("destroying a stream closes it", "[net][close-wakes][close-fin]") {
    test::in_both_ring_modes(destroying_is_closing);
}
TEST_CASE("close sends the end of the stream though a read is in flight", "[net][close-fin]") {
    test::in_both_ring_modes(close_with_a_read_in_flight);
}
TEST_CASE("a descriptor is closed after the last operation on it", "[net][fd-hold]") {
    test::fault_ring::plan faults;
    faults.results[IORING_OP_ASYNC_CANCEL] = {0};
    hob::runner loop(std::make_unique<hob::event_loop>(std::make_unique<test::fault_ring>(faults)));
    loop.run(number_is_held());
    CHECK(faults.results[IORING_OP_ASYNC_CANCEL].empty());
}
TEST_CASE("after shutdown_write the peer sees the end and reading goes on", "[net][half-close]") {
    test::in_both_ring_modes(half_close);
}
TEST_CASE("a reset fails the pending read and the next write", "[net][rst]") {
    test::in_both_ring_modes(reset_by_the_peer);
}
TEST_CASE("abort resets the connection", "[net][rst][close-flush]") {
    test::in_both_ring_modes(aborted);
}
TEST_CASE("what was written before close arrives", "[net][close-flush]") {
    test::in_both_ring_modes(close_delivers_what_was_written);
}
TEST_CASE("an exception in a handler closes its connection and is reported once",
          "[net][handler-exc]") {
    test::in_both_ring_modes(handler_throws);
}
