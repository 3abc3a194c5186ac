// SPDX-License-Identifier: MIT
// A cancelled operation had no effect, or its result was delivered: nothing is lost in between.
#include "net/raw_peer.hpp"
#include "net/ring_modes.hpp"
#include "net/stream_tasks.hpp"

#include <hob/hob.hpp>
#include <hob/net/tcp.hpp>

#include <array>
#include <cstddef>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace {

constexpr unsigned races = 20'000;

/// Lets a few turns pass: a task that was just started has not run after none, has queued its
/// operation after one, and has it in the kernel after two.
hob::task<> pass_turns(std::size_t count) {
    for (std::size_t turn = 0; turn != count; ++turn)
        co_await hob::yield();
}

/// Cancels the task and lets `event` happen, in an order and at a distance that `random` chooses,
/// and waits for the task's end. Returns whether it was stopped.
template <class T, class Random, class Event>
hob::task<bool> race_with_cancel(hob::task_handle<T> task, Random& random, Event& event) {
    co_await pass_turns(random() % 3);
    const bool event_first = random() % 2 == 0;
    if (event_first)
        event();
    else
        task.cancel();
    co_await pass_turns(random() % 2);
    if (event_first)
        task.cancel();
    else
        event();
    co_return co_await test::ended(task);
}

hob::task<> accept_races() {
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    std::mt19937 random(1);
    unsigned delivered = 0;
    for (unsigned race = 0; race != races; ++race) {
        std::optional<test::raw_peer> peer;
        auto connect = [&] { peer.emplace(listener.local_address()); };
        hob::tcp_stream accepted;
        co_await race_with_cancel(hob::create_task(test::accept_into(listener, accepted)), random,
                                  connect);
        if (accepted.is_open())
            ++delivered;
        else
            accepted = co_await listener.accept();
        // Each connection is handed out once, and to nobody but its acceptor.
        if (accepted.peer_address() != peer->local_address())
            FAIL("a connection was lost");
        peer->reset();
    }
    CHECK(delivered > 0);
    CHECK(delivered < races);
}

/// Notes every byte that was delivered, and that it is the next one of the pattern.
class received_stream {
  public:
    explicit received_stream(const std::string& sent) : sent_(sent) {}
    void add(std::span<const std::byte> bytes) {
        for (const std::byte each : bytes)
            if (static_cast<char>(each) != sent_[count_++ % sent_.size()])
                FAIL("byte " << count_ - 1 << " is not the one that was sent");
    }
    [[nodiscard]] std::size_t count() const { return count_; }

  private:
    const std::string& sent_;
    std::size_t count_ = 0;
};

hob::task<> read_some_into(const hob::tcp_stream& stream, std::size_t most,
                           received_stream& received) {
    std::array<std::byte, 64> buffer{};
    const std::size_t count = co_await stream.read_some(std::span<std::byte>(buffer).first(most));
    received.add(std::span<std::byte>(buffer).first(count));
}
hob::task<> read_exactly_into(const hob::tcp_stream& stream, std::size_t count,
                              received_stream& received) {
    std::array<std::byte, 64> buffer{};
    const auto bytes = std::span<std::byte>(buffer).first(count);
    co_await stream.read_exactly(bytes);
    received.add(bytes);
}

hob::task<> recv_races() {
    auto [stream, peer] = co_await test::connect_pair();
    const std::string bytes = test::pattern(1009);
    received_stream received(bytes);
    std::mt19937 random(2);
    std::size_t sent = 0;
    unsigned stopped = 0;
    for (unsigned race = 0; race != races; ++race) {
        auto send = [&, &sender = peer] {
            const std::size_t from = sent % bytes.size();
            const std::size_t count = std::min<std::size_t>(1 + random() % 40, bytes.size() - from);
            sender.send(std::string_view(bytes).substr(from, count));
            sent += count;
        };
        const std::size_t wanted = 1 + random() % 64;
        auto reader = random() % 2 == 0 ? read_some_into(stream, wanted, received)
                                        : read_exactly_into(stream, wanted, received);
        stopped += co_await race_with_cancel(hob::create_task(std::move(reader)), random, send);
        while (sent - received.count() > 4096)
            co_await read_exactly_into(stream, 64, received);
    }
    while (received.count() != sent)
        co_await read_some_into(stream, 64, received);
    CHECK(stopped > 0);
    CHECK(stopped < races);
}

hob::task<> send_races() {
    const std::string text = test::pattern(256 * 1024);
    std::mt19937 random(3);
    unsigned broken = 0;
    for (unsigned race = 0; race != 200; ++race) {
        auto [stream, peer] = co_await test::connect_narrow_pair();
        const auto writer = hob::create_task(test::write_text(stream, text));
        std::string received;
        auto receive = [&, &receiver = peer] {
            received += receiver.receive(1 + random() % 4096).bytes;
        };
        for (std::size_t step = random() % 8; step != 0; --step) {
            co_await hob::yield();
            receive();
        }
        const bool stopped = co_await race_with_cancel(writer, random, receive);
        std::size_t taken = text.size();
        if (stopped) {
            taken = stream.broken_write().value_or(0);
            if (taken == 0) {
                // It never began: the stream is as good as new.
                co_await stream.write_all("new");
                stream.shutdown_write();
                received += co_await peer.receive_all();
                CHECK(received == "new");
                continue;
            }
            ++broken;
            try {
                co_await stream.write_all("more");
                FAIL("a write after a broken one was let through");
            } catch (const hob::broken_write_error& error) {
                CHECK(error.taken() == taken);
                CHECK(error.code() == hob::stream_errc::broken_write);
            }
            const auto result = co_await hob::as_result(stream.write_some("more"));
            CHECK(result.error() == hob::stream_errc::broken_write);
        }
        stream.shutdown_write();
        received += co_await peer.receive_all();
        if (received != text.substr(0, taken))
            FAIL("the peer has received other bytes than were counted");
    }
    CHECK(broken > 0);
}

hob::task<> write_some_of(const hob::tcp_stream& stream, const std::string& text,
                          std::size_t& written) {
    written += co_await stream.write_some(std::string_view(text).substr(written));
}

hob::task<> cancelled_write_some() {
    auto [stream, peer] = co_await test::connect_narrow_pair();
    const std::string text = test::pattern(1 << 20);
    std::size_t written = 0;
    // Until the kernel takes no more.
    for (bool stopped = false; !stopped;) {
        const auto writer = hob::create_task(write_some_of(stream, text, written));
        co_await test::settle();
        writer.cancel();
        stopped = co_await test::ended(writer);
    }
    CHECK(written > 0);
    CHECK_FALSE(stream.broken_write());
    std::string received;
    while (received.size() < written)
        received += (co_await peer.receive_soon()).bytes;
    co_await stream.write_all("!");
    stream.shutdown_write();
    received += co_await peer.receive_all();
    CHECK(received == text.substr(0, written) + "!");
}

hob::task<> connect_into(hob::address where, hob::tcp_stream& connected) {
    connected = co_await hob::tcp_stream::connect(where);
}

hob::task<> cancelled_connect() {
    hob::listen_options options;
    options.backlog = 0;
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0, options);
    // Takes the only place in the queue: the next one waits for an answer.
    const test::raw_peer first(listener.local_address());
    const auto before = test::open_descriptors();
    hob::tcp_stream connected;
    const auto connector = hob::create_task(connect_into(listener.local_address(), connected));
    co_await test::settle();
    CHECK_FALSE(connector.done());
    connector.cancel();
    const bool stopped = co_await test::ended(connector);
    CHECK(stopped);
    CHECK(test::open_descriptors() == before);
    const auto accepted = co_await listener.accept();
    CHECK(accepted.peer_address() == first.local_address());
    // Nobody else has come.
    CHECK(::recv(listener.native_handle(), nullptr, 0, MSG_DONTWAIT) < 0);
    hob::tcp_stream other;
    const auto acceptor = hob::create_task(test::accept_into(listener, other));
    co_await test::settle();
    CHECK_FALSE(acceptor.done());
    acceptor.cancel();
}

hob::task<> connect_races() {
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    std::mt19937 random(4);
    auto nothing = [] {};
    for (unsigned race = 0; race != 2'000; ++race) {
        hob::tcp_stream connected;
        const bool stopped = co_await race_with_cancel(
            hob::create_task(connect_into(listener.local_address(), connected)), random, nothing);
        CHECK(connected.is_open() != stopped);
        if (connected.is_open()) {
            const auto local = connected.local_address();
            // Those of cancelled connects stand before it in the queue.
            while ((co_await listener.accept()).peer_address() != local) {
            }
            connected.abort();
        }
    }
}

/// Whichever resumes first cancels the other, whose bytes have been read by then.
hob::task<> read_and_cancel(const hob::tcp_stream& stream, unsigned& delivered,
                            const hob::task_handle<>& other) {
    std::array<std::byte, 4> buffer{};
    delivered += static_cast<unsigned>(co_await stream.read_some(buffer));
    other.cancel();
    co_await hob::yield();
}

hob::task<> completion_wins() {
    auto [left, left_peer] = co_await test::connect_pair();
    auto [right, right_peer] = co_await test::connect_pair();
    for (int round = 0; round != 100; ++round) {
        unsigned delivered = 0;
        hob::task_handle<> readers[2];
        readers[0] = hob::create_task(read_and_cancel(left, delivered, readers[1]));
        readers[1] = hob::create_task(read_and_cancel(right, delivered, readers[0]));
        co_await test::settle();
        left_peer.send("l");
        right_peer.send("r");
        co_await test::ended(readers[0]);
        co_await test::ended(readers[1]);
        REQUIRE(delivered == 2);
    }
}

hob::task<> write_detached(const hob::tcp_stream& stream, std::error_code& error) {
    const auto result = co_await hob::as_result(stream.write_all("never seen"));
    error = result.error();
}

hob::task<> cancel_before_the_kernel_sees_it() {
    auto [stream, peer] = co_await test::connect_pair();
    std::error_code error;
    const auto writer = hob::create_task(write_detached(stream, error));
    // The writer has queued its bytes in this turn; the kernel gets them at its end.
    co_await hob::yield();
    stream.close();
    co_await writer;
    CHECK(error == std::errc::bad_file_descriptor);
    const std::string received = co_await peer.receive_all();
    CHECK(received.empty());
}

hob::task<> read_forever(const hob::tcp_stream& stream) {
    std::array<std::byte, 4> buffer{};
    while (co_await stream.read_some(buffer) != 0) {
    }
}

hob::task<> cancel_twice() {
    auto [stream, peer] = co_await test::connect_pair();
    const auto reader = hob::create_task(read_forever(stream));
    co_await test::settle();
    CHECK(reader.cancel());
    CHECK(reader.cancel());
    co_await hob::yield();
    reader.cancel();
    // Also asks the operation to end. Being cancelled comes first: the task is stopped.
    stream.close();
    const bool stopped = co_await test::ended(reader);
    CHECK(stopped);
    CHECK_FALSE(reader.cancel());
}

hob::task<> own_and_read(hob::tcp_stream stream) {
    co_await read_forever(stream);
}

hob::task<> loop_closes_meanwhile() {
    auto [stream, peer] = co_await test::connect_pair();
    hob::create_task(own_and_read(std::move(stream)));
    co_await test::settle();
}

hob::task<> cancel_many() {
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    std::vector<test::connection> connections;
    for (int each = 0; each != 100; ++each)
        connections.push_back(co_await test::connect_pair(listener));
    std::vector<hob::task_handle<>> readers;
    for (const test::connection& each : connections)
        readers.push_back(hob::create_task(read_forever(each.stream)));
    co_await test::settle();
    for (const auto& each : readers)
        each.cancel();
    for (const auto& each : readers) {
        const bool stopped = co_await test::ended(each);
        CHECK(stopped);
    }
}

} // namespace

TEST_CASE("20,000 cancelled accepts lose no connection and leak no descriptor",
          "[net][accept-cancel][matrix]") {
    test::in_both_ring_modes(accept_races);
}
TEST_CASE("20,000 cancelled reads lose no byte", "[net][recv-cancel][matrix]") {
    test::in_both_ring_modes(recv_races);
}
TEST_CASE("a cancelled write_all says how much was taken and lets no other write through",
          "[net][send-cancel]") {
    test::in_both_ring_modes(send_races);
}
TEST_CASE("a cancelled write_some writes nothing", "[net][send-cancel]") {
    test::in_both_ring_modes(cancelled_write_some);
}
TEST_CASE("a cancelled connect leaves no socket and no connection", "[net][connect-cancel]") {
    test::in_both_ring_modes(cancelled_connect);
}
TEST_CASE("2,000 cancelled connects leak no descriptor", "[net][connect-cancel][matrix]") {
    test::in_both_ring_modes(connect_races);
}
TEST_CASE("a read that completed before it was cancelled is delivered",
          "[net][completion-wins][recv-cancel]") {
    test::in_both_ring_modes(completion_wins);
}
TEST_CASE("an operation that is cancelled before the kernel sees it has no effect",
          "[net][cancel-unflushed]") {
    test::in_both_ring_modes(cancel_before_the_kernel_sees_it);
}
TEST_CASE("an operation may be cancelled twice", "[net][cancel-twice][cancel-enoent]") {
    test::in_both_ring_modes(cancel_twice);
}
TEST_CASE("a closing loop ends what is in flight", "[net][close-cancel]") {
    test::in_both_ring_modes(loop_closes_meanwhile);
}
TEST_CASE("cancel requests survive a full submission queue", "[net][cancel-sq-full]") {
    for (const auto mode : {hob::ring_mode::defer_taskrun, hob::ring_mode::plain}) {
        auto options = test::options_for(mode);
        options.ring.submission_entries = 1;
        hob::runner loop(options);
        loop.run(cancel_many());
    }
}
