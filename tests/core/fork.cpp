// SPDX-License-Identifier: MIT
// A process that forks while it has a loop.
#include "../catch.hpp"
#include "support/child_process.hpp"
#include "support/program.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using test::gate;

TEST_CASE("a forked child cannot use its parent's loop", "[fork-child]") {
    const auto mode = GENERATE(hob::ring_mode::defer_taskrun, hob::ring_mode::plain);
    test::program program(mode);
    program.run(test::settle());
    hob::task_handle<> sleeping;
    auto sleeper = []() -> hob::task<> { co_await hob::sleep_for(1h); };
    auto start = [&]() -> hob::task<> {
        sleeping = hob::create_task(sleeper());
        co_await test::nop();
    };
    program.run(start());
    const test::child_result child = test::in_child([&] {
        int refused = 0;
        const auto expect = [&](auto&& call) {
            try {
                call();
            } catch (const hob::fork_error&) {
                ++refused;
            }
        };
        expect([&] { program.loop().call_soon([] {}); });
        expect([&] { program.loop().call_later(1s, [] {}); });
        expect([&] { program.loop().stop(); });
        expect([&] { program.loop().run_forever(); });
        expect([&] { program.run(test::value_now(1)); });
        expect([&] { sleeping.cancel(); });
        expect([&] { program.loop().close(); });
        return refused;
    });
    CHECK(child.code == 7);
    // The parent's ring still works.
    auto after = [&]() -> hob::task<int> {
        int sum = 0;
        for (int index = 0; index != 100; ++index)
            sum += co_await test::nop();
        co_await hob::sleep_for(1ms);
        co_return sum + 1;
    };
    CHECK(program.run(after()) == 1);
    CHECK_FALSE(sleeping.done());
}

TEST_CASE("a forked child may run a loop of its own", "[fork-child]") {
    test::program program;
    program.run(test::settle());
    const test::child_result child = test::in_child([] {
        auto main = []() -> hob::task<int> {
            co_await hob::sleep_for(1ms);
            const int result = co_await test::nop();
            co_return 20 + result;
        };
        return hob::run(main());
    });
    CHECK(child.code == 20);
    CHECK(program.run(test::value_now(1)) == 1);
}

TEST_CASE("a child that is forked while threads make and end loops has one of its own",
          "[fork-child]") {
    // TSan lets no child of a process with threads go on.
    if (test::sanitized)
        return;
    std::atomic<bool> over = false;
    hob::runner_options options = test::program::with(hob::ring_mode::automatic);
    options.ring.submission_entries = 8;
    std::jthread thread([&] {
        while (!over)
            std::thread([&] {
                hob::event_loop loop(options.ring);
                std::vector<hob::task<>> frames;
                for (int count = 0; count != 300; ++count)
                    frames.push_back(test::settle());
            }).join();
    });
    for (int child = 0; child != 50; ++child) {
        const auto result = test::in_child([&] {
            std::vector<hob::task<>> frames;
            for (int count = 0; count != 300; ++count)
                frames.push_back(test::settle());
            test::program(options).run(test::settle());
            return 7;
        });
        INFO(result.errors);
        CHECK(result.code == 7);
    }
    over = true;
}

TEST_CASE("a child that is forked inside a task leaves the loop with fork_error", "[fork-child]") {
    const auto mode = GENERATE(hob::ring_mode::defer_taskrun, hob::ring_mode::plain);
    // One operation is in the kernel, and one is queued and not yet submitted.
    test::program program(mode);
    const int descriptor = ::eventfd(0, EFD_CLOEXEC);
    test::child_result child;
    int polled = 0;
    int nops = 0;
    auto polling = [&]() -> hob::task<> { polled = co_await test::poll_readable(descriptor); };
    auto nopping = [&]() -> hob::task<> {
        nops += co_await test::nop();
        ++nops;
    };
    auto main = [&]() -> hob::task<> {
        auto poll = hob::create_task(polling());
        co_await test::settle();
        auto nop = hob::create_task(nopping());
        co_await hob::yield();
        child = test::in_child([&] {
            // In the child this coroutine cannot go on; the loop is left by an exception, so the
            // rest happens in a copy of the program's main function.
            try {
                auto doomed = []() -> hob::task<> { co_await hob::sleep_for(1ms); };
                // The loop is being run by the parent's frames.
                hob::run(doomed());
                return 1;
            } catch (const hob::usage_error&) {
            }
            try {
                hob::event_loop::current().call_soon([] {});
                return 2;
            } catch (const hob::fork_error&) {
                return 5;
            }
        });
        const std::uint64_t one = 1;
        CHECK(::write(descriptor, &one, sizeof one) == sizeof one);
        co_await poll;
        co_await nop;
    };
    program.run(main());
    CHECK(child.code == 5);
    CHECK((polled & 1) != 0);
    CHECK(nops == 1);
    ::close(descriptor);
}

TEST_CASE("run throws fork_error in a child that goes on in its parent's task", "[fork-child]") {
    const auto mode = GENERATE(hob::ring_mode::defer_taskrun, hob::ring_mode::plain);
    const bool with_operation = GENERATE(true, false);
    int status = 0;
    int parent_sum = 0;
    test::program program(mode);
    const pid_t parent = ::getpid();
    auto main = [&]() -> hob::task<> {
        auto other = hob::create_task(test::settle(50));
        co_await hob::sleep_for(1ms);
        const pid_t child = ::fork();
        if (child == 0) {
            ::alarm(10);
            // All of these only touch the child's copy.
            hob::create_task(test::settle());
            if (with_operation)
                co_await test::nop();
            else
                co_await hob::sleep_for(1ms);
            ::_exit(1);
        }
        for (int index = 0; index != 10; ++index) {
            co_await test::nop();
            ++parent_sum;
        }
        ::waitpid(child, &status, 0);
        for (int index = 0; index != 100; ++index) {
            co_await test::nop();
            ++parent_sum;
        }
        co_await other;
    };
    try {
        program.run(main());
    } catch (const hob::fork_error&) {
        ::_exit(::getpid() == parent ? 2 : 6);
    } catch (...) {
        if (::getpid() != parent)
            ::_exit(3);
        throw;
    }
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 6);
    CHECK(parent_sum == 110);
}

TEST_CASE("a child closes its copy of the loop without disturbing the parent's", "[fork-child]") {
    const auto mode = GENERATE(hob::ring_mode::defer_taskrun, hob::ring_mode::plain);
    auto looper = std::make_unique<test::program>(mode);
    const int descriptor = ::eventfd(0, EFD_CLOEXEC);
    int polled = 0;
    auto polling = [&]() -> hob::task<> { polled = co_await test::poll_readable(descriptor); };
    hob::task_handle<> handle;
    auto start = [&]() -> hob::task<> {
        handle = hob::create_task(polling());
        co_await test::settle();
    };
    looper->run(start());
    const test::child_result child = test::in_child([&] {
        handle = {};
        // The descriptor in the frame of the parent's task stays as it is: nothing is unwound.
        looper.reset();
        auto main = []() -> hob::task<int> {
            co_await test::nop();
            co_return 4;
        };
        return hob::run(main());
    });
    CHECK(child.code == 4);
    const std::uint64_t one = 1;
    CHECK(::write(descriptor, &one, sizeof one) == sizeof one);
    auto finish = [&]() -> hob::task<> { co_await handle; };
    looper->run(finish());
    CHECK((polled & 1) != 0);
    ::close(descriptor);
}

TEST_CASE("a child closes its copy of a loop that a signal has posted to", "[fork-child]") {
    const test::child_result child = test::in_child([] {
        auto work = []() -> hob::task<> {
            ::raise(SIGINT);
            // The grandchild goes on here, and leaves by `fork_error`.
            if (const pid_t forked = ::fork(); forked != 0) {
                int status = 0;
                ::waitpid(forked, &status, 0);
                ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 2);
            }
            co_await hob::sleep_for(1h);
        };
        try {
            hob::run(work());
        } catch (const hob::fork_error&) {
            return 7;
        }
        return 4;
    });
    CHECK(child.code == 7);
}

TEST_CASE("a loop's descriptors are closed on exec", "[fork-exec]") {
    const auto targets = [] {
        std::map<int, std::string> found;
        for (int descriptor = 0; descriptor != 1024; ++descriptor) {
            std::error_code error;
            const auto target =
                std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(descriptor), error);
            if (!error)
                found.emplace(descriptor, target);
        }
        return found;
    };
    const auto before = targets();
    test::program program;
    program.run(test::settle());
    int seen = 0;
    for (const auto& [descriptor, target] : targets()) {
        if (before.contains(descriptor))
            continue;
        ++seen;
        INFO(descriptor << " is " << target);
        CHECK((::fcntl(descriptor, F_GETFD) & FD_CLOEXEC) != 0);
    }
    CHECK(seen >= 2); // the ring and the eventfd
}
