// SPDX-License-Identifier: MIT
// A cancelled operation on a file gives its buffer back when the kernel has let go of it.
#include "fs/temporary_directory.hpp"
#include "net/ring_modes.hpp"
#include "support/program.hpp"

#include <hob/fs/file.hpp>
#include <hob/fs/whole_file.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <new>
#include <random>
#include <span>
#include <string>
#include <utility>

namespace {

hob::task<bool> was_stopped(const hob::task_handle<>& task) {
    try {
        co_await task;
    } catch (const hob::cancelled_error&) {
        co_return true;
    }
    co_return false;
}

/// Memory as O_DIRECT wants it.
class aligned_buffer {
  public:
    explicit aligned_buffer(std::size_t size)
        : data_(static_cast<std::byte*>(std::aligned_alloc(4096, size))), size_(size) {
        if (!data_)
            throw std::bad_alloc();
    }
    [[nodiscard]] std::span<std::byte> bytes() const { return {data_.get(), size_}; }

  private:
    struct free_memory {
        void operator()(std::byte* memory) const { std::free(memory); }
    };
    std::unique_ptr<std::byte, free_memory> data_;
    std::size_t size_;
};

/// Quick under a sanitizer too.
bool is_all(std::span<const std::byte> bytes, char expected) {
    return bytes.front() == static_cast<std::byte>(expected) &&
           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

hob::task<> read_into(const hob::file& file, std::span<std::byte> buffer, bool& delivered) {
    co_await file.read_exactly_at(buffer, 0);
    delivered = true;
}

hob::task<> read_races() {
    const test::temporary_directory directory;
    constexpr std::size_t size = 64 * 1024;
    const std::string path = directory / "file";
    {
        hob::file file =
            co_await hob::file::open(path, hob::open_mode::write | hob::open_mode::create);
        const std::string content(size, 'f');
        co_await file.write_all_at(std::as_bytes(std::span(content)), 0);
        co_await file.sync();
    }
    // Past the page cache, so that the kernel is still at it when the cancellation comes.
    const hob::file file =
        co_await hob::file::open(path, hob::open_mode::read | hob::open_mode::direct);
    std::mt19937 random(1);
    int delivered_count = 0;
    int stopped_count = 0;
    for (int race = 0; race != 300; ++race) {
        aligned_buffer buffer(size);
        bool delivered = false;
        const auto reader = hob::create_task(read_into(file, buffer.bytes(), delivered));
        co_await test::settle(static_cast<int>(random() % 5));
        reader.cancel();
        const bool stopped = co_await was_stopped(reader);
        if (delivered) {
            ++delivered_count;
            if (!is_all(buffer.bytes(), 'f'))
                FAIL("not all of the bytes are there");
        } else {
            ++stopped_count;
            CHECK(stopped);
        }
        CHECK(hob::event_loop::current().operations_in_flight() == 0);
        // Nobody writes to the buffer any more.
        std::fill(buffer.bytes().begin(), buffer.bytes().end(), std::byte{'m'});
        co_await test::settle(3);
        if (!is_all(buffer.bytes(), 'm'))
            FAIL("the kernel wrote to a buffer that had been given back");
    }
    CHECK(delivered_count > 0);
    CHECK(stopped_count > 0);
}

hob::task<> write_text(const hob::file& target, const std::string& text, bool& done) {
    co_await target.write_all_at(std::as_bytes(std::span(text)), 0);
    done = true;
}

/// A pipe takes as much as it holds and then waits, which no file does: a write that is half done.
hob::task<> begun_write_is_finished() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const hob::file target(ends[1], "a pipe");
    const hob::file source(ends[0], "a pipe");
    std::string text(1 << 20, '\0');
    for (std::size_t index = 0; index != text.size(); ++index)
        text[index] = static_cast<char>(index * 7 % 251);
    bool done = false;
    const auto writer = hob::create_task(write_text(target, text, done));
    std::string received(4096, '\0');
    co_await source.read_exactly_at(std::as_writable_bytes(std::span(received)), 0);
    writer.cancel();
    co_await test::settle();
    CHECK_FALSE(writer.done());
    std::string rest(text.size() - received.size(), '\0');
    co_await source.read_exactly_at(std::as_writable_bytes(std::span(rest)), 0);
    CHECK(received + rest == text);
    co_await was_stopped(writer);
    CHECK(done);
}

hob::task<> open_into(std::string path, hob::open_mode mode, hob::file& opened) {
    opened = co_await hob::file::open(std::move(path), mode);
}

hob::task<> open_races() {
    const test::temporary_directory directory;
    const std::string path = directory / "file";
    co_await hob::write_file(path, "x");
    std::mt19937 random(2);
    unsigned delivered = 0;
    constexpr unsigned races = 10'000; // in each of two ring modes
    for (unsigned race = 0; race != races; ++race) {
        hob::file opened;
        const auto opener = hob::create_task(open_into(path, hob::open_mode::read, opened));
        co_await test::settle(static_cast<int>(random() % 4));
        opener.cancel();
        const bool stopped = co_await was_stopped(opener);
        CHECK((opened.is_open() || stopped));
        delivered += opened.is_open();
    }
    CHECK(delivered > 0);
    CHECK(delivered < races);
}

hob::task<> stopped_open() {
    const test::temporary_directory directory;
    const std::string path = directory / "file";
    int stopped_count = 0;
    constexpr int races = 300;
    for (int race = 0; race != races; ++race) {
        hob::file opened;
        const auto opener = hob::create_task(
            open_into(path, hob::open_mode::write | hob::open_mode::create, opened));
        co_await test::settle(race % 3);
        opener.cancel();
        const bool stopped = co_await was_stopped(opener);
        CHECK(opened.is_open() != stopped);
        CHECK(std::filesystem::exists(path) != stopped);
        stopped_count += stopped;
        std::filesystem::remove(path);
    }
    CHECK(stopped_count > 0);
    CHECK(stopped_count <= races);
}

hob::task<> close_it(hob::file& file) {
    co_await file.close();
}

hob::task<> cancelled_close() {
    const test::temporary_directory directory;
    for (int turns = 0; turns != 4; ++turns) {
        hob::file file = co_await hob::file::open(directory / "file", hob::open_mode::read_write |
                                                                          hob::open_mode::create);
        const int number = file.native_handle();
        const auto closer = hob::create_task(close_it(file));
        co_await test::settle(turns);
        closer.cancel();
        co_await was_stopped(closer);
        // Either it is closed, or nothing has happened to it.
        CHECK((file.is_open() ? ::fcntl(number, F_GETFD) >= 0 : ::fcntl(number, F_GETFD) < 0));
        CHECK(file.is_open() == (turns == 0));
    }
}

} // namespace

TEST_CASE("a cancelled read owns its buffer until the kernel has let go", "[file-cancel]") {
    test::in_both_ring_modes(read_races);
}
TEST_CASE("a write that has begun is finished in spite of a cancellation", "[file-cancel]") {
    test::in_both_ring_modes(begun_write_is_finished);
}
TEST_CASE("a cancelled close has closed the file or left it open", "[file-cancel]") {
    test::in_both_ring_modes(cancelled_close);
}
TEST_CASE("a cancelled open leaks no descriptor", "[open-cancel]") {
    test::in_both_ring_modes(open_races);
}
TEST_CASE("an open that was stopped has created nothing", "[open-cancel][cancel-unflushed]") {
    test::in_both_ring_modes(stopped_open);
}
