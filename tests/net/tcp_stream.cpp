// SPDX-License-Identifier: MIT
#include "net/raw_peer.hpp"
#include "net/ring_modes.hpp"
#include "net/stream_tasks.hpp"

#include <hob/hob.hpp>
#include <hob/net/tcp.hpp>

#include <array>
#include <cstddef>
#include <random>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace {

hob::task<> serve_everybody(hob::tcp_listener& listener) {
    for (;;)
        hob::create_task(test::echo(co_await listener.accept()));
}

hob::task<> echo_round_trip() {
    for (const char* host : {"127.0.0.1", "::1"}) {
        auto listener = hob::tcp_listener::bind(host, 0);
        const auto server = hob::create_task(serve_everybody(listener));
        auto client = co_await hob::tcp_stream::connect(listener.local_address());
        CHECK(client.peer_address() == listener.local_address());
        CHECK(client.local_address().host() == host);
        std::array<std::byte, 5> buffer{};
        for (int round = 0; round != 100; ++round) {
            co_await client.write_all("hello");
            co_await client.read_exactly(buffer);
            REQUIRE(test::text_of(buffer, 5) == "hello");
        }
        client.shutdown_write();
        const std::size_t count = co_await client.read_some(buffer);
        CHECK(count == 0);
        server.cancel();
    }
}

hob::task<> read_zero() {
    auto [stream, peer] = co_await test::connect_pair();
    std::array<std::byte, 16> buffer{};
    // Nothing has arrived: an empty buffer does not wait.
    std::size_t count = co_await stream.read_some({});
    CHECK(count == 0);
    co_await stream.read_exactly({});
    count = co_await stream.write_some("");
    CHECK(count == 0);
    co_await stream.write_all("");
    peer.send("abc");
    count = co_await stream.read_some(buffer);
    CHECK(count == 3);
    peer.shutdown_write();
    for (int again = 0; again != 3; ++again) {
        count = co_await stream.read_some(buffer);
        CHECK(count == 0);
    }
}

hob::task<> send_slowly(const test::raw_peer& peer, std::vector<std::string> parts) {
    for (const std::string& part : parts) {
        co_await test::settle();
        peer.send(part);
    }
}

hob::task<> read_exact() {
    auto [stream, peer] = co_await test::connect_pair();
    std::array<std::byte, 10> buffer{};
    const auto sender = hob::create_task(send_slowly(peer, {"abc", "de", "fghijKLM"}));
    co_await stream.read_exactly(buffer);
    CHECK(test::text_of(buffer, 10) == "abcdefghij");
    co_await sender;
    peer.shutdown_write();
    try {
        co_await stream.read_exactly(buffer);
        FAIL("no exception");
    } catch (const hob::incomplete_read_error& error) {
        CHECK(error.received() == 3);
        CHECK(error.expected() == 10);
        CHECK(test::text_of(buffer, error.received()) == "KLM");
    }
    const auto result = co_await hob::as_result(stream.read_exactly(buffer));
    CHECK(result.error() == hob::stream_errc::incomplete_read);
}

hob::task<> read_into(const hob::tcp_stream& stream, std::string& text) {
    std::array<std::byte, 16> buffer{};
    const std::size_t count = co_await stream.read_some(buffer);
    text = test::text_of(buffer, count);
}

hob::task<> second_reader() {
    auto [stream, peer] = co_await test::connect_pair();
    std::string text;
    std::array<std::byte, 16> buffer{};
    const auto first = hob::create_task(read_into(stream, text));
    co_await test::settle();
    try {
        co_await stream.read_some(buffer);
        FAIL("no exception");
    } catch (const hob::busy_error& error) {
        CHECK(error.code() == std::errc::device_or_resource_busy);
        CHECK(std::string(error.what()).find(peer.local_address().to_string()) !=
              std::string::npos);
    }
    const auto refused = co_await hob::as_result(stream.read_exactly(buffer));
    CHECK(refused.error() == std::errc::device_or_resource_busy);
    // Writing is another side.
    co_await stream.write_all("x");
    peer.send("for the first");
    co_await first;
    CHECK(text == "for the first");
}

hob::task<> writers_do_not_interleave() {
    auto [stream, peer] = co_await test::connect_narrow_pair();
    const std::string first = test::pattern(1 << 20);
    const auto writer = hob::create_task(test::write_text(stream, first));
    co_await test::settle();
    const auto all = co_await hob::as_result(stream.write_all("second"));
    CHECK(all.error() == std::errc::device_or_resource_busy);
    const auto some = co_await hob::as_result(stream.write_some("second"));
    CHECK(some.error() == std::errc::device_or_resource_busy);
    CHECK_THROWS_AS(stream.shutdown_write(), hob::busy_error);
    std::string received;
    while (received.size() < first.size())
        received += (co_await peer.receive_soon()).bytes;
    co_await writer;
    co_await stream.write_all("third");
    stream.shutdown_write();
    received += co_await peer.receive_all();
    CHECK(received == first + "third");
}

hob::task<> write_chunks(const hob::tcp_stream& stream, const std::string& bytes, std::size_t total,
                         unsigned seed) {
    std::mt19937 random(seed);
    std::uniform_int_distribution<std::size_t> size(1, 256 * 1024);
    for (std::size_t sent = 0; sent != total;) {
        const std::size_t from = sent % bytes.size();
        const std::size_t count = std::min({size(random), total - sent, bytes.size() - from});
        const auto chunk = std::string_view(bytes).substr(from, count);
        if (random() % 2 == 0) {
            co_await stream.write_all(chunk);
            sent += count;
        } else {
            sent += co_await stream.write_some(chunk);
        }
    }
    stream.shutdown_write();
}

hob::task<std::size_t> check_chunks(const hob::tcp_stream& stream, const std::string& bytes,
                                    unsigned seed) {
    std::mt19937 random(seed);
    std::uniform_int_distribution<std::size_t> size(1, 256 * 1024);
    std::vector<std::byte> buffer(256 * 1024);
    std::size_t received = 0;
    for (;;) {
        const std::size_t from = received % bytes.size();
        const std::size_t most = std::min(size(random), bytes.size() - from);
        const std::size_t count =
            co_await stream.read_some(std::span<std::byte>(buffer).first(most));
        if (count == 0)
            co_return received;
        REQUIRE(std::memcmp(buffer.data(), bytes.data() + from, count) == 0);
        received += count;
    }
}

hob::task<> bulk_both_ways() {
    const std::size_t total = 100 << 20;
    // A prime, so that no chunking falls into step with it.
    const std::string bytes = test::pattern(1'000'003);
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    auto connecting = hob::create_task([](hob::address where) -> hob::task<hob::tcp_stream> {
        co_return co_await hob::tcp_stream::connect(where);
    }(listener.local_address()));
    const auto left = co_await listener.accept();
    const auto right = co_await std::move(connecting);
    const auto left_writer = hob::create_task(write_chunks(left, bytes, total, 1));
    const auto right_writer = hob::create_task(write_chunks(right, bytes, total, 2));
    const auto left_reader = hob::create_task(check_chunks(left, bytes, 3));
    const auto right_reader = hob::create_task(check_chunks(right, bytes, 4));
    co_await left_writer;
    co_await right_writer;
    const std::size_t left_received = co_await left_reader;
    const std::size_t right_received = co_await right_reader;
    CHECK(left_received == total);
    CHECK(right_received == total);
}

hob::task<> options_are_set_and_read() {
    auto [stream, peer] = co_await test::connect_pair();
    CHECK(stream.no_delay());
    stream.set_no_delay(false);
    CHECK_FALSE(stream.no_delay());
    CHECK_FALSE(stream.keep_alive());
    hob::keep_alive_options keep_alive;
    keep_alive.idle = std::chrono::seconds(7);
    keep_alive.interval = std::chrono::seconds(3);
    keep_alive.count = 2;
    stream.set_keep_alive(keep_alive);
    REQUIRE(stream.keep_alive());
    CHECK(stream.keep_alive()->idle == std::chrono::seconds(7));
    CHECK(stream.keep_alive()->interval == std::chrono::seconds(3));
    CHECK(stream.keep_alive()->count == 2);
    stream.set_keep_alive(std::nullopt);
    CHECK_FALSE(stream.keep_alive());
    stream.set_receive_buffer_size(10'000);
    CHECK(stream.receive_buffer_size() == 20'000);
    stream.set_send_buffer_size(20'000);
    CHECK(stream.send_buffer_size() == 40'000);
    keep_alive.count = -1;
    try {
        stream.set_keep_alive(keep_alive);
        FAIL("no exception");
    } catch (const std::system_error& error) {
        CHECK(error.code() == std::errc::invalid_argument);
        CHECK(std::string(error.what()).find("TCP_KEEPCNT of 127.0.0.1:") == 0);
    }
}

hob::task<> an_empty_stream() {
    hob::tcp_stream stream;
    std::array<std::byte, 1> buffer{};
    CHECK_FALSE(stream.is_open());
    CHECK(stream.native_handle() == -1);
    CHECK_THROWS_AS(stream.read_some(buffer), hob::closed_error);
    CHECK_THROWS_AS(stream.write_all("x"), hob::closed_error);
    CHECK_THROWS_AS(stream.shutdown_write(), hob::closed_error);
    CHECK_THROWS_AS(stream.local_address(), hob::closed_error);
    CHECK_THROWS_AS(stream.set_no_delay(true), hob::closed_error);
    stream.close();
    stream.abort();
    auto [open, peer] = co_await test::connect_pair();
    stream = std::move(open);
    CHECK(stream.is_open());
    peer.send("a");
    co_await stream.read_exactly(buffer);
    stream.close();
    stream.close();
    CHECK_THROWS_AS(stream.peer_address(), hob::closed_error);
    CHECK_THROWS_AS(co_await stream.read_some(buffer), hob::closed_error);
    CHECK_THROWS_AS(co_await stream.write_some("x"), hob::closed_error);
    const auto result = co_await hob::as_result(stream.read_some(buffer));
    CHECK(result.error() == std::errc::bad_file_descriptor);
}

hob::task<> a_stored_operation() {
    auto [stream, peer] = co_await test::connect_pair();
    std::array<std::byte, 4> buffer{};
    auto kept = stream.read_some(buffer);
    auto closed = stream.read_some(buffer);
    hob::tcp_stream moved = std::move(stream);
    peer.send("abcd");
    const std::size_t count = co_await std::move(kept);
    CHECK(count == 4);
    moved = hob::tcp_stream();
    CHECK_THROWS_AS(co_await std::move(closed), hob::closed_error);
}

} // namespace

TEST_CASE("an echo server answers", "[net][ring-mode]") {
    test::in_both_ring_modes(echo_round_trip);
}
TEST_CASE("empty buffers do not wait, and the end of a stream stays", "[net][rd-zero]") {
    test::in_both_ring_modes(read_zero);
}
TEST_CASE("read_exactly goes on until the buffer is full or the stream ends", "[net][rd-exact]") {
    test::in_both_ring_modes(read_exact);
}
TEST_CASE("a second reader is refused, and the first is not disturbed", "[net][rd-busy]") {
    test::in_both_ring_modes(second_reader);
}
TEST_CASE("a second writer is refused, and partial writes are continued", "[net][wr-order]") {
    test::in_both_ring_modes(writers_do_not_interleave);
}
TEST_CASE("100 MiB each way arrive intact", "[net][bulk]") {
    test::in_both_ring_modes(bulk_both_ways);
}
TEST_CASE("socket options are set and read", "[net]") {
    test::in_both_ring_modes(options_are_set_and_read);
}
TEST_CASE("a stream that is not open says so", "[net][bad-input]") {
    test::in_both_ring_modes(an_empty_stream);
}
TEST_CASE("an operation keeps its socket while the stream moves or goes", "[net][fd-hold]") {
    test::in_both_ring_modes(a_stored_operation);
}
