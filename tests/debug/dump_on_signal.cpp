// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/child_process.hpp"
#include "support/program.hpp"

#include <hob/debug/dump_on_signal.hpp>

#include <signal.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

using test::contains;

TEST_CASE("a signal makes the loop write a dump, and the old handler comes back", "[dump-signal]") {
    struct sigaction before{};
    ::sigaction(SIGUSR1, nullptr, &before);
    std::vector<std::string> dumps;
    test::program program;
    auto main = [&]() -> hob::task<> {
        test::gate dumped;
        const hob::dump_on_signal on_signal(SIGUSR1, [&](const std::string& dump) {
            dumps.push_back(dump);
            dumped.open();
        });
        CHECK_THROWS_AS(hob::dump_on_signal(), hob::usage_error);
        // The loop sleeps when it comes, and does not take that for a deadlock.
        const hob::loop_handle handle = hob::event_loop::current().get_handle();
        const std::jthread other([] { ::kill(::getpid(), SIGUSR1); });
        co_await dumped.wait();
    };
    program.run(main());
    REQUIRE(dumps.size() == 1);
    CHECK_THAT(dumps[0], contains("task 'task-1'") && contains("dump_on_signal.cpp"));
    struct sigaction after{};
    ::sigaction(SIGUSR1, nullptr, &after);
    CHECK(after.sa_handler == before.sa_handler);
}

TEST_CASE("a signal that is on its way when its owner goes is dropped", "[dump-signal]") {
    int dumps = 0;
    test::program program;
    auto main = [&]() -> hob::task<> {
        for (int round = 0; round != 50; ++round) {
            {
                const hob::dump_on_signal on_signal(SIGUSR1, [&](const std::string&) { ++dumps; });
                ::raise(SIGUSR1);
                ::raise(SIGUSR1);
            }
            co_await hob::yield();
        }
        // Signals that come faster than they are answered are answered once.
        const hob::dump_on_signal on_signal(SIGUSR1, [&](const std::string&) { ++dumps; });
        for (int round = 0; round != 10; ++round)
            ::raise(SIGUSR1);
        co_await test::settle();
    };
    program.run(main());
    CHECK(dumps == 1);
    CHECK_THROWS_AS(hob::dump_on_signal(), hob::no_running_loop_error);
}

TEST_CASE("a signal that cannot be handled is refused", "[dump-signal]") {
    test::program program;
    auto main = []() -> hob::task<> {
        CHECK_THROWS_AS(hob::dump_on_signal(SIGKILL), std::system_error);
        const hob::dump_on_signal again(SIGUSR2);
        co_return;
    };
    program.run(main());
}

TEST_CASE("a forked child may have a dump_on_signal of its own", "[dump-signal][fork-child]") {
    const test::child_result child = test::in_child([] {
        std::signal(SIGUSR1, SIG_IGN);
        pid_t grandchild = -1;
        const auto main = [&]() -> hob::task<> {
            const hob::dump_on_signal dumps(SIGUSR1);
            co_await hob::yield();
            // On another thread, where the child does not leave this run first.
            std::thread([&] {
                grandchild = ::fork();
                if (grandchild != 0)
                    return;
                ::alarm(30);
                // As before the parent's.
                ::raise(SIGUSR1);
                std::string text;
                const auto again = [&]() -> hob::task<> {
                    test::gate written;
                    const hob::dump_on_signal own(SIGUSR1, [&](const std::string& dump) {
                        text = dump;
                        written.open();
                    });
                    ::raise(SIGUSR1);
                    co_await written.wait();
                };
                try {
                    test::program().run(again());
                } catch (const hob::usage_error&) {
                    ::_exit(3);
                }
                ::_exit(text.empty() ? 1 : 7);
            }).join();
        };
        test::program().run(main());
        return test::exit_code_of(grandchild);
    });
    INFO(child.errors);
    CHECK(child.code == 7);
}
