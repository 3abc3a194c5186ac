// SPDX-License-Identifier: MIT
// Ctrl-C. Each test has a process of its own.
#include "../catch.hpp"
#include "support/child_process.hpp"
#include "support/program.hpp"

#include <hob/finally.hpp>
#include <hob/shield.hpp>

#include <csignal>
#include <thread>

using namespace std::chrono_literals;
using test::gate;

namespace {

hob::task<> interrupt_soon() {
    co_await hob::yield();
    std::raise(SIGINT);
}

} // namespace

TEST_CASE("Ctrl-C cancels the main task, which cleans up, and run tells", "[cancel-main]") {
    const auto result = test::in_child([] {
        gate never;
        int cleaned = 0;
        bool passed = false;
        auto cleanup = [&]() -> hob::task<> {
            co_await test::settle();
            ++cleaned;
        };
        auto main = [&]() -> hob::task<> {
            hob::create_task(interrupt_soon());
            co_await hob::finally(never.wait(), cleanup());
            passed = true;
        };
        hob::runner runner;
        try {
            runner.run(main());
        } catch (const hob::interrupted_error&) {
            return cleaned == 1 && !passed ? 0 : 1;
        }
        return 2;
    });
    CHECK(result.code == 0);
    CHECK(result.signal == 0);
}

TEST_CASE("run returns 130 after Ctrl-C, also when the loop slept", "[cancel-main]") {
    const auto result = test::in_child([] {
        auto main = []() -> hob::task<> { co_await hob::sleep_for(1h); };
        const pid_t self = ::getpid();
        std::thread other([self] {
            std::this_thread::sleep_for(20ms);
            ::kill(self, SIGINT);
        });
        const int code = hob::run(main());
        other.join();
        return code;
    });
    CHECK(result.code == 130);
    CHECK(result.errors.empty());
}

TEST_CASE("a second Ctrl-C ends the process at once", "[cancel-main]") {
    const auto result = test::in_child([] {
        auto cleanup = []() -> hob::task<> {
            std::raise(SIGINT);
            co_await hob::sleep_for(1h);
        };
        auto main = [&]() -> hob::task<> {
            hob::create_task(interrupt_soon());
            co_await hob::finally(hob::sleep_for(1h), cleanup());
        };
        return hob::run(main());
    });
    CHECK(result.signal == SIGINT);
}

TEST_CASE("a main task that ends anyway gives its value", "[cancel-main]") {
    const auto result = test::in_child([] {
        auto last_step = []() -> hob::task<int> {
            co_await hob::yield();
            std::raise(SIGINT);
            co_return 7;
        };
        auto shielded = []() -> hob::task<int> {
            hob::create_task(interrupt_soon());
            co_await hob::shield(test::settle());
            co_return 8;
        };
        hob::runner runner;
        if (runner.run(last_step()) != 7)
            return 1;
        if (runner.run(test::settle()), runner.run(shielded()) != 8)
            return 2;
        return 0;
    });
    CHECK(result.code == 0);
    CHECK(result.errors.empty());
}

TEST_CASE("a runner listens again in its next run", "[cancel-main]") {
    const auto result = test::in_child([] {
        auto main = []() -> hob::task<> {
            hob::create_task(interrupt_soon());
            co_await hob::sleep_for(1h);
        };
        hob::runner runner;
        int interrupts = 0;
        for (int round = 0; round != 3; ++round) {
            try {
                runner.run(main());
            } catch (const hob::interrupted_error&) {
                ++interrupts;
            }
        }
        return interrupts;
    });
    CHECK(result.code == 3);
}

TEST_CASE("Ctrl-C leaves other tasks to the closing of the loop", "[cancel-main]") {
    const auto result = test::in_child([] {
        std::vector<std::string> log;
        auto other = [&]() -> hob::task<> {
            const test::at_exit note(log, "other");
            co_await hob::sleep_for(1h);
        };
        auto main = [&]() -> hob::task<> {
            const test::at_exit note(log, "main");
            hob::create_task(other());
            hob::create_task(interrupt_soon());
            co_await hob::sleep_for(1h);
        };
        const int code = hob::run(main());
        return code == 130 && log == std::vector<std::string>{"main", "other"} ? 0 : 1;
    });
    CHECK(result.code == 0);
}

TEST_CASE("without handle_interrupt and after run, Ctrl-C does what it did before",
          "[cancel-main]") {
    const auto off = test::in_child([] {
        auto main = []() -> hob::task<> {
            std::raise(SIGINT);
            co_return;
        };
        hob::runner runner(test::program::with(hob::ring_mode::automatic));
        runner.run(main());
        return 0;
    });
    CHECK(off.signal == SIGINT);
    const auto after = test::in_child([] {
        hob::run(test::settle());
        std::raise(SIGINT);
        return 0;
    });
    CHECK(after.signal == SIGINT);
    const auto ignored = test::in_child([] {
        std::signal(SIGINT, SIG_IGN);
        auto main = []() -> hob::task<> {
            std::raise(SIGINT);
            co_await test::settle();
        };
        hob::run(main());
        std::raise(SIGINT);
        return 4;
    });
    CHECK(ignored.code == 4);
}

TEST_CASE("the run of a forked child answers to Ctrl-C", "[cancel-main][fork-child]") {
    const test::child_result child = test::in_child([] {
        pid_t grandchild = -1;
        const auto main = [&]() -> hob::task<> {
            co_await hob::yield();
            // On another thread, where the child does not leave this run first.
            std::thread([&] {
                grandchild = ::fork();
                if (grandchild != 0)
                    return;
                ::alarm(30);
                const auto again = []() -> hob::task<> {
                    ::raise(SIGINT);
                    co_await hob::sleep_for(1s);
                };
                ::_exit(hob::run(again()) == 130 ? 7 : 1);
            }).join();
        };
        hob::run(main());
        return test::exit_code_of(grandchild);
    });
    INFO(child.errors);
    CHECK(child.code == 7);
}
