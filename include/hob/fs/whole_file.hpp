// SPDX-License-Identifier: MIT
// hob::read_file and hob::write_file: a whole file at once.
#pragma once

#include <hob/fs/file.hpp>
#include <hob/task.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <utility>

namespace hob {

/// Everything that a file holds, up to the end that it has when the last byte is read. Works for
/// files of /proc too, which do not know their size. Throws `std::system_error` with the errno, the
/// operation and the path, and `std::bad_alloc`.
inline task<std::string> read_file(std::string path) {
    auto opening = file::open(std::move(path));
    const file source = co_await std::move(opening);
    std::string content;
    std::size_t length = 0;
    // A byte more than is expected: only a read that gives nothing tells the end.
    std::size_t room = static_cast<std::size_t>(source.size()) + 1;
    for (;;) {
        content.resize(std::max<std::size_t>(room, 4096));
        const auto buffer = std::as_writable_bytes(std::span(content));
        while (length != content.size()) {
            auto reading = source.read_at(buffer.subspan(length), length);
            const std::size_t count = co_await reading;
            if (count == 0) {
                content.resize(length);
                co_return content;
            }
            length += count;
        }
        room = length * 2;
    }
}

/// Makes `content` all that a file holds; creates it with `permissions`, before the umask, if it
/// does not exist. When this fails or is cancelled, the file may be empty or hold a part. Throws
/// `std::system_error` with the errno, the operation and the path.
inline task<> write_file(std::string path, std::string content, mode_t permissions = 0666) {
    auto opening = file::open(
        std::move(path), open_mode::write | open_mode::create | open_mode::truncate, permissions);
    file target = co_await std::move(opening);
    auto writing = target.write_all_at(std::as_bytes(std::span(content)), 0);
    co_await writing;
    auto closing = target.close();
    co_await closing;
}

} // namespace hob
