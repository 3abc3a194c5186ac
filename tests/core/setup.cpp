// SPDX-License-Identifier: MIT
// A ring that cannot be set up.
#include "../catch.hpp"
#include "support/child_process.hpp"
#include "support/program.hpp"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iterator>
#include <string>
#include <thread>

using hob::detail::kernel_ring;
using test::contains;

namespace {

/// Makes a system call, io_uring_setup for one, fail with `error` in this process.
bool forbid_io_uring(int error, unsigned call = __NR_io_uring_setup) {
    std::array<sock_filter, 4> program{{
        {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
        {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, call},
        {BPF_RET | BPF_K, 0, 0,
         SECCOMP_RET_ERRNO | (static_cast<unsigned>(error) & SECCOMP_RET_DATA)},
        {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
    }};
    const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

/// Makes a loop, which is to fail, and writes the message to standard error.
int fail_to_make_a_loop(int error, hob::ring_mode mode) {
    hob::ring_options options;
    options.mode = mode;
    try {
        hob::event_loop loop(options);
        return 1;
    } catch (const hob::io_uring_error& caught) {
        std::fprintf(stderr, "%s\n", caught.what());
        return caught.code() == std::error_code(error, std::system_category()) ? 0 : 2;
    }
}

} // namespace

TEST_CASE("a forbidden or missing io_uring gives a typed error that says what to do",
          "[setup-fail]") {
    const auto [error, advice] = GENERATE(table<int, std::string>({
        {EPERM, "seccomp"},
        {EPERM, "kernel.io_uring_disabled"},
        {EACCES, "seccomp"},
        {ENOSYS, "no io_uring"},
        {ENOMEM, "ulimit -l"},
        {EMFILE, "ulimit -n"},
        {ENFILE, "fs.file-max"},
        {EINVAL, "ring_mode::automatic"},
        {EIO, "io_uring_setup failed"},
    }));
    const auto mode = GENERATE(hob::ring_mode::automatic, hob::ring_mode::plain);
    // Clang 16 does not capture structured bindings.
    const int failing = error;
    const test::child_result child = test::in_child([failing, mode] {
        if (!forbid_io_uring(failing))
            return 50;
        return fail_to_make_a_loop(failing, mode);
    });
    CHECK(child.code == 0);
    CHECK_THAT(child.errors, contains("cannot set up io_uring: ") && contains(advice));
}

TEST_CASE("run passes a setup error on, and destroys the main task", "[setup-fail]") {
    const test::child_result child = test::in_child([] {
        if (!forbid_io_uring(EPERM))
            return 50;
        int alive = 0;
        bool started = false;
        auto main = [&](test::counted) -> hob::task<> {
            started = true;
            co_return;
        };
        try {
            hob::run(main(test::counted(alive)));
            return 1;
        } catch (const hob::io_uring_error&) {
            return alive == 0 && !started ? 0 : 2;
        }
    });
    CHECK(child.code == 0);
}

TEST_CASE("every limit of file descriptors gives EMFILE or works, and nothing leaks",
          "[setup-fail]") {
    const test::child_result child = test::in_child([] {
        const auto count = [] {
            int open = 0;
            for (int each = 0; each != 256; ++each)
                open += ::fcntl(each, F_GETFD) >= 0 ? 1 : 0;
            return open;
        };
        int lowest_free = ::dup(2);
        ::close(lowest_free);
        const int before = count();
        bool worked = false;
        bool failed = false;
        // UBSan itself opens a pipe in order to look at a virtual table, and takes a failure of
        // that for a bad one.
        for (int spare = test::sanitized ? 4 : 0; spare != 12; ++spare) {
            rlimit limit{};
            ::getrlimit(RLIMIT_NOFILE, &limit);
            limit.rlim_cur = static_cast<rlim_t>(lowest_free + spare);
            if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
                return 50;
            try {
                hob::run(test::settle());
                worked = true;
            } catch (const std::system_error& error) {
                std::fprintf(stderr, "%d spare: %s\n", spare, error.what());
                if (error.code().value() != EMFILE || worked)
                    return 1;
                failed = true;
            }
            if (count() != before)
                return 2;
        }
        return worked && (failed || test::sanitized) ? 0 : 3;
    });
    INFO(child.errors);
    CHECK(child.code == 0);
    if (!test::sanitized)
        CHECK_THAT(child.errors,
                   contains("0 spare: cannot set up io_uring: the process has no free "
                            "file descriptor: raise `ulimit -n`"));
}

TEST_CASE("each error of io_uring_setup has its advice", "[setup-fail]") {
    for (const int error : {ENOSYS, EPERM, EACCES, ENOMEM, EMFILE, ENFILE, EINVAL, EFAULT})
        CHECK_THAT(kernel_ring::setup_advice(error), contains("cannot set up io_uring: "));
    CHECK(kernel_ring::setup_advice(EPERM) == kernel_ring::setup_advice(EACCES));
    CHECK_THAT(kernel_ring::setup_advice(ENOSYS), contains("5.11"));
    CHECK_THAT(kernel_ring::setup_advice(EPERM),
               contains("io_uring_disabled") && contains("seccomp=unconfined"));
    CHECK_THAT(kernel_ring::setup_advice(ENOMEM), contains("LimitMEMLOCK="));
}

TEST_CASE("a ring's mode and size can be chosen, and the loop says what it got",
          "[ring-mode][probe]") {
    const auto mode = GENERATE(hob::ring_mode::automatic, hob::ring_mode::defer_taskrun,
                               hob::ring_mode::coop_taskrun, hob::ring_mode::plain);
    hob::runner_options options = test::program::with(mode);
    options.ring.submission_entries = GENERATE(1U, 3U, 1024U, 1'000'000U);
    test::program program(options);
    const std::string description = program.loop().describe();
    CHECK_THAT(description, contains("io_uring"));
    if (mode == hob::ring_mode::plain)
        CHECK_THAT(description, contains("plain"));
    if (mode == hob::ring_mode::coop_taskrun)
        CHECK_THAT(description, contains("COOP_TASKRUN"));
    if (mode == hob::ring_mode::defer_taskrun)
        CHECK_THAT(description, contains("DEFER_TASKRUN"));
    auto main = [&]() -> hob::task<> {
        const int result = co_await test::nop();
        CHECK(result == 0);
    };
    program.run(main());
}

TEST_CASE("a ring takes messages if it is asked to and the kernel offers it", "[probe][ts-wake]") {
    hob::ring_options options;
    CHECK(kernel_ring(options).message_descriptor() == -1);
    options.wake = hob::wake_method::message;
    CHECK((kernel_ring(options).message_descriptor() != -1) == hob::detail::can_send_to_rings());
}

TEST_CASE("a loop that may not send messages is woken by its eventfd", "[probe][ts-wake]") {
    const test::child_result child = test::in_child([] {
        if (!forbid_io_uring(EPERM, __NR_io_uring_register))
            return 50;
        hob::runner_options options = test::program::with(hob::ring_mode::automatic);
        options.ring.wake = hob::wake_method::message;
        if (kernel_ring(options.ring).message_descriptor() != -1)
            return 1;
        test::program program(options);
        test::gate opened;
        std::jthread other([&, loop = program.loop().get_handle()] {
            if (!loop.call_soon_threadsafe([&] { opened.open(); }))
                std::terminate();
        });
        const auto main = [&]() -> hob::task<> { co_await opened.wait(); };
        program.run(main());
        return 0;
    });
    INFO(child.errors);
    CHECK(child.code == 0);
}

TEST_CASE("the ring knows which operations its kernel has", "[probe]") {
    hob::ring_options options;
    const kernel_ring ring(options);
    CHECK(ring.supports(IORING_OP_NOP));
    CHECK(ring.supports(IORING_OP_READ));
    CHECK_FALSE(ring.supports(255));
    CHECK_FALSE(ring.supports(256));
    CHECK_FALSE(ring.supports(100'000));
}

TEST_CASE("a ring of no entries is refused", "[setup-fail]") {
    hob::ring_options options;
    options.submission_entries = 0;
    CHECK_THROWS_AS(hob::event_loop(options), hob::io_uring_error);
}
