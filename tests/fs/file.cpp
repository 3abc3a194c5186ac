// SPDX-License-Identifier: MIT
// Files on the ring do what the system calls of the same name do.
#include "fs/temporary_directory.hpp"
#include "net/ring_modes.hpp"
#include "support/program.hpp"

#include <hob/as_result.hpp>
#include <hob/fs/file.hpp>
#include <hob/fs/whole_file.hpp>
#include <hob/task_group.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

constexpr auto make_anew =
    hob::open_mode::read_write | hob::open_mode::create | hob::open_mode::truncate;

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}
std::string text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

hob::task<> round_trip() {
    const test::temporary_directory directory;
    const std::string path = directory / "file";
    hob::file file = co_await hob::file::open(path, make_anew, 0600);
    CHECK(file.is_open());
    CHECK(file.path() == path);
    CHECK((::fcntl(file.native_handle(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(file.size() == 0);

    co_await file.write_all_at(bytes_of("hello world"), 4);
    std::size_t count = co_await file.write_at(bytes_of("head"), 0);
    CHECK(count == 4);
    CHECK(file.size() == 15);
    std::array<std::byte, 64> buffer{};
    count = co_await file.read_at(buffer, 0);
    CHECK(text_of(std::span(buffer).first(count)) == "headhello world");
    co_await file.read_exactly_at(std::span(buffer).first(5), 10);
    CHECK(text_of(std::span(buffer).first(5)) == "world");
    count = co_await file.read_at(buffer, 15);
    CHECK(count == 0); // the end
    count = co_await file.read_at({}, 0);
    CHECK(count == 0);
    co_await file.read_exactly_at({}, 99);
    co_await file.write_all_at({}, 99);
    CHECK(file.size() == 15);

    co_await file.truncate(6);
    CHECK(file.size() == 6);
    co_await file.sync();
    co_await file.sync_data();
    co_await file.close();
    CHECK_FALSE(file.is_open());
    CHECK(file.native_handle() == -1);
    std::string content = co_await hob::read_file(path);
    CHECK(content == "headhe");

    file = co_await hob::file::open(path, hob::open_mode::write | hob::open_mode::append);
    co_await file.write_all_at(bytes_of("end"), 0);
    content = co_await hob::read_file(path);
    CHECK(content == "headheend");
}

hob::task<> whole_files() {
    const test::temporary_directory directory;
    const std::string path = directory / "whole";
    std::string large(1'000'003, '\0');
    for (std::size_t index = 0; index != large.size(); ++index)
        large[index] = static_cast<char>(index * 7 % 251);
    for (const std::string& content : {large, std::string("short"), std::string()}) {
        co_await hob::write_file(path, content);
        const std::string read = co_await hob::read_file(path);
        CHECK(read == content);
    }
    // A file that says that it is empty, and is not.
    const std::string status = co_await hob::read_file("/proc/self/status");
    CHECK(status.starts_with("Name:"));
    const std::string statistics = co_await hob::read_file("/proc/self/smaps");
    CHECK(statistics.size() > 4096);
}

template <class Error, class Body> hob::task<std::string> message_of(Body body) {
    try {
        co_await body();
    } catch (const Error& error) {
        co_return error.what();
    }
    co_return "nothing was thrown";
}

hob::task<> errors_have_names() {
    const test::temporary_directory directory;
    const std::string path = directory / "file";
    const auto open_missing = [&]() -> hob::task<> { co_await hob::file::open(path); };
    std::string message = co_await message_of<std::system_error>(open_missing);
    CHECK(message == "open " + path + ": No such file or directory");

    co_await hob::write_file(path, "abc");
    hob::file file = co_await hob::file::open(path);
    const auto write = [&]() -> hob::task<> { co_await file.write_at(bytes_of("x"), 7); };
    message = co_await message_of<std::system_error>(write);
    CHECK(message == "write to " + path + " at 7: Bad file descriptor");
    std::array<std::byte, 8> buffer{};
    try {
        co_await file.read_exactly_at(buffer, 1);
        FAIL("the file is longer than it is");
    } catch (const hob::incomplete_read_error& error) {
        CHECK(error.received() == 2);
        CHECK(error.expected() == 8);
    }

    // The same without exceptions.
    const auto missing = co_await hob::as_result(hob::file::open(directory / "missing"));
    CHECK(missing.error().value() == ENOENT);
    const auto cut = co_await hob::as_result(hob::file::open(path + std::string(1, '\0') + "x"));
    CHECK(cut.error().value() == EINVAL);
    const auto incomplete = co_await hob::as_result(file.read_exactly_at(buffer, 1));
    CHECK(incomplete.error() == hob::stream_errc::incomplete_read);
    const auto refused = co_await hob::as_result(file.write_all_at(bytes_of("x"), 0));
    CHECK(refused.error().value() == EBADF);
    const auto count = co_await hob::as_result(file.read_at(buffer, 0));
    CHECK(count.value() == 3);
    const auto again = co_await hob::as_result(hob::file::open(
        path, hob::open_mode::write | hob::open_mode::create | hob::open_mode::exclusive));
    CHECK(again.error().value() == EEXIST);
}

hob::task<> closed_files() {
    const test::temporary_directory directory;
    const std::string path = directory / "file";
    co_await hob::write_file(path, "abc");
    hob::file file = co_await hob::file::open(path);
    std::array<std::byte, 8> buffer{};
    auto prepared = file.read_at(buffer, 0);
    hob::file moved = std::move(file);
    const auto read_moved = [&]() -> hob::task<> { co_await file.read_at(buffer, 0); };
    std::string message = co_await message_of<hob::closed_error>(read_moved);
    CHECK(message.starts_with("read from a file at 0: closed"));
    CHECK_THROWS_AS(file.size(), hob::closed_error);

    co_await moved.close();
    const auto read_closed = [&]() -> hob::task<> { co_await moved.read_at(buffer, 0); };
    message = co_await message_of<hob::closed_error>(read_closed);
    CHECK(message.starts_with("read from " + path + " at 0: closed"));
    const auto sync_closed = [&]() -> hob::task<> { co_await moved.sync(); };
    message = co_await message_of<hob::closed_error>(sync_closed);
    CHECK(message.starts_with("sync " + path + ": closed"));
    const auto close_closed = co_await hob::as_result(moved.close());
    CHECK(close_closed.error().value() == EBADF);
    const auto late = co_await hob::as_result(std::move(prepared));
    CHECK(late.error().value() == EBADF);
    CHECK_THROWS_AS(moved.size(), hob::closed_error);
}

hob::task<> read_into(const hob::file& file, std::string& text) {
    std::array<std::byte, 8> buffer{};
    const std::size_t count = co_await file.read_at(buffer, 0);
    text = text_of(std::span(buffer).first(count));
}

hob::task<> closing_leaves_reads_alone() {
    const test::temporary_directory directory;
    co_await hob::write_file(directory / "right", "right");
    co_await hob::write_file(directory / "wrong", "wrong");
    for (int turns = 0; turns != 4; ++turns) {
        hob::file file = co_await hob::file::open(directory / "right");
        std::string text;
        const auto reader = hob::create_task(read_into(file, text));
        co_await test::settle(turns);
        const bool has_begun = turns != 0;
        file = hob::file();
        // Gets the number if it is free: a read that only knows the number reads this one.
        const int other = ::open((directory / "wrong").c_str(), O_RDONLY | O_CLOEXEC);
        if (has_begun) {
            co_await reader;
            CHECK(text == "right");
        } else {
            CHECK_THROWS_AS(co_await reader, hob::closed_error);
        }
        ::close(other);
    }
}

hob::task<> read_numbers(const hob::file& file, unsigned first, unsigned count) {
    for (unsigned number = first; number != first + count; ++number) {
        unsigned found = 0;
        co_await file.read_exactly_at(std::as_writable_bytes(std::span(&found, 1)),
                                      number * sizeof number);
        if (found != number)
            FAIL("read " << found << " in place of " << number);
    }
}

hob::task<> many_readers() {
    const test::temporary_directory directory;
    std::vector<unsigned> numbers(64'000);
    for (unsigned index = 0; index != numbers.size(); ++index)
        numbers[index] = index;
    hob::file file = co_await hob::file::open(directory / "numbers", make_anew);
    co_await file.write_all_at(std::as_bytes(std::span(numbers)), 0);
    const auto body = [&](hob::task_group& readers) -> hob::task<> {
        for (unsigned reader = 0; reader != 64; ++reader)
            readers.start(read_numbers(file, reader * 1000, 1000));
        co_return;
    };
    co_await hob::with_task_group(body);
}

} // namespace

TEST_CASE("a file is opened, written, read, truncated, synced and closed", "[file-basic]") {
    test::in_both_ring_modes(round_trip);
}
TEST_CASE("a whole file is written and read", "[file-basic]") {
    test::in_both_ring_modes(whole_files);
}
TEST_CASE("errors of files name the operation and the path", "[file-errors]") {
    test::in_both_ring_modes(errors_have_names);
}
TEST_CASE("a closed file refuses all use", "[file-errors]") {
    test::in_both_ring_modes(closed_files);
}
TEST_CASE("closing a file leaves the reads in flight alone", "[file-errors]") {
    test::in_both_ring_modes(closing_leaves_reads_alone);
}
TEST_CASE("many tasks read one file", "[file-basic]") {
    test::in_both_ring_modes(many_readers);
}
