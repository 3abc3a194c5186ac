// SPDX-License-Identifier: MIT
// What every stream type has to do, whatever is behind it.
#pragma once

#include "catch.hpp"
#include "support/program.hpp"

#include <hob/as_result.hpp>
#include <hob/core/stream_error.hpp>
#include <hob/gather.hpp>
#include <hob/task_handle.hpp>
#include <hob/timeout.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace test {

/// The checks of Trio's stream conformance, as behaviour, for a `Stream` with the operations of
/// `hob::socket_stream`. `make_pair(first, second)` returns a task that connects two of them.
template <class Stream, class MakePair> class stream_conformance {
  public:
    explicit stream_conformance(MakePair make_pair) : make_pair_(std::move(make_pair)) {}

    hob::task<> check_everything() {
        for (const bool turned : {false, true}) {
            co_await with_pair(turned, &stream_conformance::check_bytes_arrive);
            co_await with_pair(turned, &stream_conformance::check_empty_operations);
            co_await with_pair(turned, &stream_conformance::check_exact_reads);
            co_await with_pair(turned, &stream_conformance::check_end_is_sticky);
            co_await with_pair(turned, &stream_conformance::check_early_end);
            co_await with_pair(turned, &stream_conformance::check_second_reader);
            co_await with_pair(turned, &stream_conformance::check_second_writer);
            co_await with_pair(turned, &stream_conformance::check_cancelled_read);
            co_await with_pair(turned, &stream_conformance::check_cancelled_write);
            co_await with_pair(turned, &stream_conformance::check_closed_stream);
            co_await with_pair(turned, &stream_conformance::check_close_wakes_reader);
            co_await with_pair(turned, &stream_conformance::check_close_wakes_writer);
            co_await with_pair(turned, &stream_conformance::check_peer_is_gone);
            co_await with_pair(turned, &stream_conformance::check_both_ways_at_once);
            co_await with_pair(turned, &stream_conformance::check_half_close);
            co_await with_pair(turned, &stream_conformance::check_moved_stream);
            co_await with_pair(turned, &stream_conformance::check_dropped_stream);
        }
    }

  private:
    using check_function = hob::task<> (stream_conformance::*)(Stream&, Stream&);

    hob::task<> with_pair(bool turned, check_function check) {
        Stream first;
        Stream second;
        co_await make_pair_(first, second);
        CHECK(first.is_open());
        CHECK(second.is_open());
        Stream& sender = turned ? second : first;
        Stream& receiver = turned ? first : second;
        co_await (this->*check)(sender, receiver);
    }

    static hob::task<std::string> read(const Stream& from, std::size_t size) {
        std::string text(size, '\0');
        co_await from.read_exactly(std::as_writable_bytes(std::span(text)));
        co_return text;
    }
    static hob::task<std::size_t> read_some(const Stream& from, std::string& into) {
        co_return co_await from.read_some(std::as_writable_bytes(std::span(into)));
    }
    static hob::task<> write(const Stream& to, std::string text) { co_await to.write_all(text); }
    /// One write of more than the buffers of both sides take: it never ends.
    static hob::task<> write_too_much(const Stream& to) {
        const std::string much(32 << 20, 'x');
        co_await to.write_all(much);
    }
    template <class Error, class Awaitable> static hob::task<bool> throws(Awaitable awaited) {
        try {
            static_cast<void>(co_await std::move(awaited));
        } catch (const Error&) {
            co_return true;
        }
        co_return false;
    }
    /// The errno of a failed operation, or 0.
    template <class Awaitable> static hob::task<int> error_of(Awaitable awaited) {
        try {
            static_cast<void>(co_await std::move(awaited));
        } catch (const std::system_error& error) {
            co_return error.code().value();
        }
        co_return 0;
    }

    hob::task<> check_bytes_arrive(Stream& sender, Stream& receiver) {
        co_await write(sender, "one");
        co_await write(sender, "two");
        const std::string text = co_await read(receiver, 6);
        CHECK(text == "onetwo");
        const std::size_t taken = co_await sender.write_some("three");
        CHECK(taken >= 1);
        CHECK(taken <= 5);
        std::string part(2, '\0');
        const std::size_t count = co_await read_some(receiver, part);
        CHECK(count >= 1);
        CHECK(std::string_view("three").substr(0, count) == part.substr(0, count));
    }

    hob::task<> check_empty_operations(Stream& sender, Stream& receiver) {
        const std::size_t read_count = co_await receiver.read_some(std::span<std::byte>());
        CHECK(read_count == 0);
        co_await receiver.read_exactly(std::span<std::byte>());
        const std::size_t written = co_await sender.write_some("");
        CHECK(written == 0);
        co_await sender.write_all("");
        co_await write(sender, "x");
        const std::string text = co_await read(receiver, 1);
        CHECK(text == "x");
    }

    hob::task<> check_exact_reads(Stream& sender, Stream& receiver) {
        auto [text, nothing] = co_await hob::gather(read(receiver, 300'000), pieces(sender));
        REQUIRE(text.size() == 300'000);
        bool right = true;
        for (std::size_t at = 0; at != text.size(); ++at)
            right = right && text[at] == byte_at(at);
        CHECK(right);
    }
    static char byte_at(std::size_t at) { return static_cast<char>('a' + at * 7 % 26); }
    static hob::task<> pieces(const Stream& sender) {
        std::size_t at = 0;
        for (std::size_t size = 1; at != 300'000; size = size * 3 + 1) {
            std::string piece(std::min(size, 300'000 - at), '\0');
            for (char& each : piece)
                each = byte_at(at++);
            co_await sender.write_all(piece);
            co_await hob::yield();
        }
    }

    hob::task<> check_end_is_sticky(Stream& sender, Stream& receiver) {
        co_await write(sender, "last");
        sender.close();
        CHECK_FALSE(sender.is_open());
        const std::string text = co_await read(receiver, 4);
        CHECK(text == "last");
        std::string more(8, '\0');
        for (int time = 0; time != 3; ++time) {
            const std::size_t count = co_await read_some(receiver, more);
            CHECK(count == 0);
        }
    }

    hob::task<> check_early_end(Stream& sender, Stream& receiver) {
        co_await write(sender, "abc");
        sender.close();
        std::array<std::byte, 5> buffer{};
        const bool incomplete =
            co_await throws<hob::incomplete_read_error>(receiver.read_exactly(buffer));
        CHECK(incomplete);
        CHECK(static_cast<char>(buffer[2]) == 'c');
        const auto result = co_await hob::as_result(receiver.read_exactly(buffer));
        CHECK(result.error() == hob::stream_errc::incomplete_read);
    }

    hob::task<> check_second_reader(Stream& sender, Stream& receiver) {
        const auto first = hob::create_task(read(receiver, 2));
        co_await settle();
        std::string other(2, '\0');
        const bool busy = co_await throws<hob::busy_error>(read_some(receiver, other));
        CHECK(busy);
        const int error = co_await error_of(read(receiver, 2));
        CHECK(error == EBUSY);
        co_await write(sender, "ok");
        const std::string text = co_await first;
        CHECK(text == "ok");
        // One after the other is right.
        co_await write(sender, "go");
        const std::string next = co_await read(receiver, 2);
        CHECK(next == "go");
    }

    hob::task<> check_second_writer(Stream& sender, Stream&) {
        const auto first = hob::create_task(write_too_much(sender));
        co_await settle();
        const bool busy = co_await throws<hob::busy_error>(write(sender, "x"));
        CHECK(busy);
        first.cancel();
        const bool cancelled = co_await throws<hob::cancelled_error>(join(first));
        CHECK(cancelled);
    }
    static hob::task<> join(hob::task_handle<> handle) { co_await handle; }

    hob::task<> check_cancelled_read(Stream& sender, Stream& receiver) {
        const auto reader = hob::create_task(read(receiver, 4));
        co_await settle();
        reader.cancel();
        while (!reader.done())
            co_await hob::yield();
        co_await write(sender, "abcd");
        std::string text = co_await read(receiver, 4);
        CHECK(text == "abcd");
        // Half of what it wanted had come: that is left to the next read.
        const auto half = hob::create_task(read(receiver, 4));
        co_await write(sender, "ef");
        for (int time = 0; time != 20; ++time)
            co_await settle();
        half.cancel();
        while (!half.done())
            co_await hob::yield();
        CHECK(half.cancelled());
        co_await write(sender, "gh");
        text = co_await read(receiver, 4);
        CHECK(text == "efgh");
        std::string nothing(4, '\0');
        const auto none =
            co_await hob::try_timeout(std::chrono::milliseconds(0), read_some(receiver, nothing));
        CHECK_FALSE(none.has_value());
    }

    hob::task<> check_cancelled_write(Stream& sender, Stream& receiver) {
        const auto writer = hob::create_task(write_too_much(sender));
        co_await settle();
        writer.cancel();
        const bool cancelled = co_await throws<hob::cancelled_error>(join(writer));
        CHECK(cancelled);
        // Whether a message was broken is known, and if so, told at each later write.
        if (sender.broken_write()) {
            const bool refused = co_await throws<hob::broken_write_error>(write(sender, "y"));
            CHECK(refused);
        }
        std::string start(1000, '\0');
        const std::size_t count = co_await read_some(receiver, start);
        CHECK(count >= 1);
        CHECK(start.find_first_not_of('x') >= count);
    }

    hob::task<> check_closed_stream(Stream& stream, Stream&) {
        stream.close();
        stream.close();
        CHECK_FALSE(stream.is_open());
        CHECK(stream.native_handle() == -1);
        std::string buffer(1, '\0');
        const bool read_refused = co_await throws<hob::closed_error>(read_some(stream, buffer));
        CHECK(read_refused);
        const bool exact_refused = co_await throws<hob::closed_error>(read(stream, 1));
        CHECK(exact_refused);
        const bool write_refused = co_await throws<hob::closed_error>(write(stream, "x"));
        CHECK(write_refused);
        CHECK_THROWS_AS(stream.shutdown_write(), hob::closed_error);
    }

    hob::task<> check_close_wakes_reader(Stream&, Stream& receiver) {
        const auto reader = hob::create_task(throws<hob::closed_error>(read(receiver, 1)));
        co_await settle();
        receiver.close();
        const bool woken = co_await reader;
        CHECK(woken);
    }

    hob::task<> check_close_wakes_writer(Stream& sender, Stream&) {
        const auto writer = hob::create_task(throws<hob::closed_error>(write_too_much(sender)));
        co_await settle();
        CHECK_FALSE(writer.done());
        sender.close();
        const bool woken = co_await writer;
        CHECK(woken);
    }

    hob::task<> check_peer_is_gone(Stream& sender, Stream& receiver) {
        receiver.close();
        // The first write may still be taken; the news comes with the answer to it.
        int error = 0;
        while (error == 0)
            error = co_await error_of(write(sender, std::string(100'000, 'x')));
        CHECK((error == EPIPE || error == ECONNRESET));
        error = co_await error_of(write(sender, "x"));
        CHECK((error == EPIPE || error == ECONNRESET));
    }

    hob::task<> check_both_ways_at_once(Stream& first, Stream& second) {
        const std::string large(200'000, 'l');
        auto [to_second, to_first, nothing, none] =
            co_await hob::gather(read(second, large.size()), read(first, large.size()),
                                 write(first, large), write(second, large));
        CHECK(to_second == large);
        CHECK(to_first == large);
    }

    hob::task<> check_half_close(Stream& first, Stream& second) {
        co_await write(first, "question");
        first.shutdown_write();
        const int error = co_await error_of(write(first, "x"));
        CHECK(error == EPIPE);
        const std::string question = co_await read(second, 8);
        CHECK(question == "question");
        std::string more(1, '\0');
        const std::size_t end = co_await read_some(second, more);
        CHECK(end == 0);
        // The other direction goes on.
        co_await write(second, "answer");
        const std::string answer = co_await read(first, 6);
        CHECK(answer == "answer");
        second.shutdown_write();
        const std::size_t other_end = co_await read_some(first, more);
        CHECK(other_end == 0);
        CHECK(first.is_open());
    }

    hob::task<> check_moved_stream(Stream& first, Stream& second) {
        const auto reader = hob::create_task(read(first, 5));
        co_await settle();
        Stream moved = std::move(first);
        CHECK_FALSE(first.is_open());
        CHECK(moved.is_open());
        co_await write(second, "moved");
        const std::string text = co_await reader;
        CHECK(text == "moved");
        std::string buffer(1, '\0');
        const bool refused = co_await throws<hob::closed_error>(read_some(first, buffer));
        CHECK(refused);
        first = std::move(moved);
        co_await write(first, "back");
        const std::string back = co_await read(second, 4);
        CHECK(back == "back");
    }

    hob::task<> check_dropped_stream(Stream& first, Stream& second) {
        {
            const Stream dropped = std::move(first);
            co_await write(dropped, "bye");
        }
        const std::string text = co_await read(second, 3);
        CHECK(text == "bye");
        std::string more(1, '\0');
        const std::size_t end = co_await read_some(second, more);
        CHECK(end == 0);
    }

    MakePair make_pair_;
};

} // namespace test
