// SPDX-License-Identifier: MIT
// A buffer that is freed while the kernel has it: ASan sees no write of the kernel, so hob looks.
#include "net/raw_peer.hpp"
#include "net/ring_modes.hpp"

#include <hob/core/sanitizers.hpp>
#include <hob/hob.hpp>
#include <hob/net/tcp.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <memory>
#include <span>

namespace {

hob::task<> read_into(const hob::tcp_stream& stream, std::span<std::byte> buffer) {
    co_await stream.read_some(buffer);
}

hob::task<> free_during_a_read() {
    auto [stream, peer] = co_await test::connect_pair();
    auto buffer = std::make_unique<std::byte[]>(64);
    const auto reader = hob::create_task(read_into(stream, {buffer.get(), 64}));
    co_await test::settle();
    buffer.reset();
    peer.send("into freed memory");
    co_await reader;
}

hob::task<> free_before_a_read() {
    auto [stream, peer] = co_await test::connect_pair();
    peer.send("into freed memory");
    auto buffer = std::make_unique<std::byte[]>(64);
    auto reader = stream.read_some({buffer.get(), 64});
    buffer.reset();
    co_await std::move(reader);
}

/// Whether a process that runs `body` ends by a report of the sanitizer.
bool is_caught(hob::task<> (*body)()) {
    const ::pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        // The report is expected, and would be taken for a failure.
        static_cast<void>(std::freopen("/dev/null", "w", stderr));
        hob::runner loop(test::options_for(hob::ring_mode::automatic));
        loop.run(body());
        ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

} // namespace

TEST_CASE("a buffer that is freed during a read is reported", "[net][buf-asan]") {
    if (!hob::detail::checks_buffers)
        return;
    CHECK(is_caught(free_during_a_read));
    CHECK(is_caught(free_before_a_read));
}
