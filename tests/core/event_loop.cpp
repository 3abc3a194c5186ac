// SPDX-License-Identifier: MIT
// The life of a loop: run, stop, close, and what goes wrong around them.
#include "../catch.hpp"
#include "support/child_process.hpp"
#include "support/program.hpp"

#include <hob/debug/metrics.hpp>
#include <hob/finally.hpp>
#include <hob/shield.hpp>
#include <hob/task_group.hpp>

#include <sys/eventfd.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <iterator>
#include <memory>
#include <source_location>
#include <thread>
#include <utility>

using namespace std::chrono_literals;
using test::contains;
using test::gate;
using test::loop;

namespace {

std::ptrdiff_t open_descriptors() {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                         std::filesystem::directory_iterator());
}

} // namespace

TEST_CASE("run gives the main task's value or throws its exception", "[run-result]") {
    CHECK(hob::run(test::value_now(5)) == 5);
    auto move_only = []() -> hob::task<std::unique_ptr<int>> {
        co_await hob::yield();
        co_return std::make_unique<int>(6);
    };
    CHECK(*hob::run(move_only()) == 6);
    CHECK_THROWS_WITH(hob::run(test::failure_now("boom")), "boom");
    CHECK(hob::run(test::settle()) == 0);
    auto failing = []() -> hob::task<> {
        co_await hob::yield();
        throw std::logic_error("void");
    };
    CHECK_THROWS_AS(hob::run(failing()), std::logic_error);
    CHECK_THROWS_AS(hob::run(hob::task<int>(nullptr)), hob::usage_error);
}

TEST_CASE("what is left when the main task ends is cancelled, awaited, and its errors reported",
          "[run-leftover]") {
    std::vector<std::string> log;
    std::vector<std::string> reports;
    gate never;
    auto cleanup = [&]() -> hob::task<> {
        co_await hob::sleep_for(1ms);
        log.push_back("cleaned up");
    };
    auto leftover = [&]() -> hob::task<> {
        const test::at_exit note(log, "unwound");
        co_await hob::finally(never.wait(), cleanup());
        log.push_back("never");
    };
    auto stubborn = [&]() -> hob::task<> {
        co_await hob::shield(hob::sleep_for(1ms));
        throw std::runtime_error("left over");
    };
    auto main = [&]() -> hob::task<int> {
        loop().set_exception_handler([&](const hob::exception_context& context) {
            reports.push_back(context.task + ": " +
                              hob::exception_group::describe(context.exception));
        });
        hob::create_task(leftover());
        hob::create_task(stubborn()).set_name("stubborn");
        hob::create_task(leftover());
        co_await hob::yield();
        hob::create_task(leftover()); // cancelled before its first step
        co_return 7;
    };
    CHECK(hob::run(main()) == 7);
    CHECK(log == std::vector<std::string>{"cleaned up", "cleaned up", "unwound", "unwound"});
    CHECK(reports == std::vector<std::string>{"stubborn: left over"});
}

TEST_CASE("left-over tasks may start more while they are stopped", "[run-leftover]") {
    gate never;
    int alive = 0;
    int births = 0;
    std::function<hob::task<>(int)> phoenix = [&](int lives) -> hob::task<> {
        const test::counted self(alive);
        ++births;
        auto reborn = [&phoenix, lives]() -> hob::task<> {
            if (lives != 0)
                hob::create_task(phoenix(lives - 1));
            co_return;
        };
        co_await hob::finally(never.wait(), reborn());
    };
    // A timer is no reason to wait for it either.
    const bool with_timer = GENERATE(false, true);
    auto main = [&]() -> hob::task<> {
        if (with_timer)
            loop().call_later(1h, [] {});
        hob::create_task(phoenix(20));
        co_await hob::yield();
        co_await hob::yield();
    };
    hob::run(main());
    CHECK(alive == 0);
    // A rebirth that is cancelled before its first step never runs.
    CHECK(births >= 1);
}

TEST_CASE("run inside a running loop throws and leaves the outer loop intact", "[run-nested]") {
    test::program program;
    bool inner_ran = false;
    auto inner = [&]() -> hob::task<> {
        inner_ran = true;
        co_return;
    };
    auto main = [&]() -> hob::task<> {
        CHECK_THROWS_AS(hob::run(inner()), hob::usage_error);
        CHECK_FALSE(inner_ran);
        REQUIRE(hob::event_loop::current_or_null() == &program.loop());
        co_await hob::yield();
        co_await hob::sleep_for(1ms);
        const int result = co_await test::nop();
        CHECK(result == 0);
        // From a callback as well.
        gate done;
        loop().call_soon([&] {
            CHECK_THROWS_AS(hob::run(inner()), hob::usage_error);
            done.open();
        });
        co_await done.wait();
        // And the same loop.
        CHECK_THROWS_AS(program.runner().run(inner()), hob::usage_error);
        CHECK_THROWS_AS(loop().run_forever(), hob::usage_error);
        auto task = hob::create_task(test::value_now(3));
        const int value = co_await task;
        CHECK(value == 3);
    };
    program.run(main());
}

TEST_CASE("another loop may be made and destroyed while one runs", "[run-nested]") {
    test::program program;
    auto main = [&]() -> hob::task<> {
        {
            hob::event_loop other;
            other.call_soon([] {});
        }
        REQUIRE(hob::event_loop::current_or_null() == &program.loop());
        co_await hob::yield();
        hob::event_loop another;
        another.close();
        REQUIRE(hob::event_loop::current_or_null() == &program.loop());
        co_await hob::sleep_for(1ms);
    };
    program.run(main());
}

TEST_CASE("two loops in two threads are independent, and a loop runs again", "[run-two]") {
    auto work = [](int& result) {
        hob::runner runner(test::program::with(hob::ring_mode::automatic));
        auto main = [](int round) -> hob::task<int> {
            int sum = 0;
            for (int index = 0; index != 200; ++index) {
                auto handle = hob::create_task(test::value_now(round));
                co_await hob::yield();
                sum += co_await handle;
                if (index % 50 == 0)
                    co_await hob::sleep_for(100us);
                sum += co_await test::nop();
            }
            co_return sum;
        };
        for (int round = 1; round != 6; ++round)
            result += runner.run(main(round));
    };
    int first = 0;
    int second = 0;
    std::thread one([&] { work(first); });
    std::thread two([&] { work(second); });
    one.join();
    two.join();
    CHECK(first == 3000);
    CHECK(second == 3000);
}

TEST_CASE("tasks that are left over go on in the next run of a runner", "[run-two]") {
    test::program program;
    int progress = 0;
    auto background = [&]() -> hob::task<> {
        for (;;) {
            ++progress;
            co_await hob::yield();
        }
    };
    auto main = [&]() -> hob::task<> {
        hob::create_task(background());
        co_await test::settle(3);
    };
    program.run(main());
    const int before = progress;
    CHECK(before > 0);
    program.run(test::settle(5));
    CHECK(progress > before);
    program.runner().close();
}

TEST_CASE("a task may be cancelled while its loop does not run", "[run-two]") {
    test::program program;
    gate never;
    hob::task_handle<int> handle;
    auto main = [&]() -> hob::task<> {
        handle = hob::create_task(test::value_after(never, 1));
        co_await hob::yield();
        co_await hob::yield();
    };
    program.run(main());
    CHECK(handle.cancel());
    CHECK_FALSE(handle.done());
    program.run(test::settle());
    CHECK(handle.cancelled());
}

TEST_CASE("a task of one loop is cancelled from a task of another one on the same thread",
          "[run-two]") {
    test::program first;
    test::program second;
    hob::task_handle<> handle;
    auto sleeper = []() -> hob::task<> { co_await hob::sleep_for(1h); };
    auto start = [&]() -> hob::task<> {
        handle = hob::create_task(sleeper());
        co_await hob::yield();
        co_await hob::yield();
    };
    first.run(start());
    auto cancel = [&]() -> hob::task<> {
        handle.cancel();
        co_await test::settle();
    };
    second.run(cancel());
    CHECK_FALSE(handle.done());
    first.run(test::settle());
    CHECK(handle.cancelled());
}

TEST_CASE("stop ends run_forever after the turn at hand", "[stop]") {
    hob::event_loop looper;
    std::string log;
    looper.call_soon([&] {
        log.push_back('a');
        looper.stop();
        looper.call_soon([&] { log.push_back('c'); });
        CHECK(looper.is_running());
    });
    looper.call_soon([&] { log.push_back('b'); });
    looper.run_forever();
    CHECK(log == "ab");
    CHECK_FALSE(looper.is_running());
    // The request was used up: the next run goes on until the next one.
    looper.call_soon([&] {
        log.push_back('d');
        looper.call_soon([&] {
            log.push_back('e');
            looper.stop();
        });
    });
    looper.run_forever();
    CHECK(log == "abcde");
}

TEST_CASE("a loop that is stopped before it runs polls once and returns", "[stop]") {
    hob::event_loop looper;
    int runs = 0;
    looper.call_soon([&] {
        ++runs;
        looper.call_soon([&] { ++runs; });
    });
    looper.call_later(0s, [&] { runs += 10; });
    looper.stop();
    looper.run_forever();
    CHECK(runs == 1);
    looper.stop();
    looper.run_forever();
    CHECK(runs == 12);
}

TEST_CASE("run_forever sleeps until another thread stops it", "[stop]") {
    hob::event_loop looper;
    const hob::loop_handle handle = looper.get_handle();
    std::thread stopper([&, handle] {
        if (!handle.call_soon_threadsafe([&] { looper.stop(); }))
            std::abort();
    });
    looper.run_forever();
    stopper.join();
    CHECK_FALSE(looper.is_running());
}

TEST_CASE("closing is idempotent, and a closed loop refuses everything", "[close-idem]") {
    hob::event_loop looper;
    CHECK_FALSE(looper.is_closed());
    looper.close();
    CHECK(looper.is_closed());
    CHECK_NOTHROW(looper.close());
    CHECK_THROWS_AS(looper.call_soon([] {}), hob::loop_closed_error);
    CHECK_THROWS_AS(looper.call_later(1s, [] {}), hob::loop_closed_error);
    CHECK_THROWS_AS(looper.call_at(looper.time(), [] {}), hob::loop_closed_error);
    CHECK_THROWS_AS(looper.run_forever(), hob::loop_closed_error);
    CHECK_THROWS_AS(looper.stop(), hob::loop_closed_error);
    CHECK_FALSE(looper.call_soon_threadsafe([] {}));

    hob::runner runner;
    runner.close();
    CHECK_NOTHROW(runner.close());
    CHECK_THROWS_AS(runner.run(test::value_now(1)), hob::loop_closed_error);
}

TEST_CASE("a loop that runs cannot be closed", "[close-idem]") {
    test::program program;
    auto main = [&]() -> hob::task<> {
        CHECK_THROWS_AS(loop().close(), hob::usage_error);
        CHECK_FALSE(loop().is_closed());
        co_await hob::yield();
    };
    program.run(main());
    CHECK(program.run(test::value_now(1)) == 1);
}

TEST_CASE("a handle to a closed loop refuses and destroys what it is given", "[close-idem]") {
    auto looper = std::make_unique<hob::event_loop>();
    const hob::loop_handle handle = looper->get_handle();
    int alive = 0;
    int runs = 0;
    REQUIRE(handle.call_soon_threadsafe([&, token = test::counted(alive)] { ++runs; }));
    CHECK(alive == 1);
    looper.reset();
    CHECK(alive == 0);
    CHECK(runs == 0);
    CHECK_FALSE(handle.call_soon_threadsafe([&, token = test::counted(alive)] { ++runs; }));
    CHECK(alive == 0);
}

TEST_CASE("closing destroys the callbacks and timers that have not run", "[close-ops]") {
    int alive = 0;
    hob::call_handle kept;
    {
        hob::event_loop looper;
        for (int index = 0; index != 1000; ++index) {
            looper.call_soon([token = test::counted(alive)] {});
            looper.call_later(1h, [token = test::counted(alive)] {});
            kept = looper.call_later(2h, [token = test::counted(alive)] {});
        }
        CHECK(alive == 3000);
    }
    CHECK(alive == 0);
    CHECK_FALSE(kept.cancel());
}

TEST_CASE("closing with a thousand operations, sleeps and waits under way frees everything",
          "[close-ops]") {
    const auto mode = GENERATE(hob::ring_mode::defer_taskrun, hob::ring_mode::plain);
    const auto before = open_descriptors();
    int alive = 0;
    const int descriptor = ::eventfd(0, EFD_CLOEXEC);
    gate never;
    {
        test::program program(mode);
        auto polling = [&]() -> hob::task<> {
            const test::counted self(alive);
            co_await test::poll_readable(descriptor);
        };
        auto sleeping = [&]() -> hob::task<> {
            const test::counted self(alive);
            co_await hob::sleep_for(1h);
        };
        auto waiting = [&]() -> hob::task<> {
            const test::counted self(alive);
            co_await never.wait();
        };
        auto main = [&]() -> hob::task<> {
            for (int index = 0; index != 1000; ++index) {
                hob::create_task(polling());
                hob::create_task(sleeping());
                hob::create_task(waiting());
            }
            co_await test::settle(3);
            CHECK(alive == 3000);
            CHECK(loop().operations_in_flight() == 1000);
        };
        program.run(main());
        program.runner().close();
        CHECK(alive == 0);
        CHECK(program.loop().operations_in_flight() == 0);
        CHECK(program.reports.empty());
    }
    ::close(descriptor);
    CHECK(open_descriptors() == before);
}

TEST_CASE("using a loop from another thread throws", "[wrong-thread]") {
    test::program program;
    gate never;
    hob::task_handle<int> handle;
    auto main = [&]() -> hob::task<> {
        handle = hob::create_task(test::value_after(never, 1));
        co_await test::settle();
    };
    program.run(main());
    hob::event_loop& looper = program.loop();
    int refused = 0;
    auto expect = [&](auto&& call) {
        try {
            call();
        } catch (const hob::wrong_thread_error&) {
            ++refused;
        } catch (...) {
        }
    };
    std::thread([&] {
        expect([&] { looper.call_soon([] {}); });
        expect([&] { looper.call_later(1s, [] {}); });
        expect([&] { looper.stop(); });
        expect([&] { looper.close(); });
        expect([&] { looper.run_forever(); });
        expect([&] { program.run(test::value_now(1)); });
        expect([&] { handle.cancel(); });
    }).join();
    CHECK(refused == 7);
    CHECK(program.run(test::value_now(2)) == 2);
    CHECK_FALSE(handle.done());
    program.runner().close();
}

TEST_CASE("a task cannot be cancelled from another thread that runs a loop of its own",
          "[wrong-thread]") {
    test::program program;
    gate never;
    hob::task_handle<int> handle;
    auto main = [&]() -> hob::task<> {
        handle = hob::create_task(test::value_after(never, 1));
        co_await test::settle();
    };
    program.run(main());
    bool refused = false;
    std::thread([&] {
        auto cancelling = [&]() -> hob::task<> {
            try {
                handle.cancel();
            } catch (const hob::wrong_thread_error&) {
                refused = true;
            }
            co_return;
        };
        hob::run(cancelling());
    }).join();
    CHECK(refused);
    program.runner().close();
}

TEST_CASE("a loop that is destroyed on another thread ends the process and says why",
          "[wrong-thread]") {
    // TSan lets no child of a process with threads go on.
    if (test::sanitized)
        return;
    const auto child = test::in_child([] {
        auto looper = std::make_unique<hob::event_loop>();
        std::thread([&] { looper.reset(); }).join();
        return 1;
    });
    CHECK(child.signal == SIGABRT);
    CHECK_THAT(child.errors, test::contains("wrong_thread_error"));
    CHECK_THAT(child.errors, test::contains("belongs to another thread"));
}

TEST_CASE("a loop that is closed may be destroyed anywhere", "[wrong-thread]") {
    auto looper = std::make_unique<hob::event_loop>();
    looper->close();
    std::thread([&] { looper.reset(); }).join();
}

TEST_CASE("a task cannot be awaited in another loop than its own", "[wrong-thread]") {
    test::program program;
    gate never;
    hob::task_handle<int> handle;
    auto main = [&]() -> hob::task<> {
        handle = hob::create_task(test::value_after(never, 1));
        co_await test::settle();
    };
    program.run(main());
    int refused = 0;
    auto joining = [&]() -> hob::task<> {
        try {
            co_await handle;
        } catch (const hob::usage_error&) {
            ++refused;
        }
    };
    SECTION("on another thread") {
        std::thread([&] {
            try {
                hob::run(joining());
            } catch (const hob::deadlock_error&) {
            }
        }).join();
    }
    SECTION("on the same thread") {
        try {
            hob::run(joining());
        } catch (const hob::deadlock_error&) {
        }
    }
    CHECK(refused == 1);
    program.runner().close();
}

TEST_CASE("what needs a running loop says so when there is none", "[wrong-thread]") {
    int alive = 0;
    auto task = [](test::counted) -> hob::task<> { co_return; };
    {
        test::counted argument(alive);
        CHECK_THROWS_AS(hob::create_task(task(std::move(argument))), hob::no_running_loop_error);
    }
    CHECK(alive == 0);
    CHECK_THROWS_AS(hob::event_loop::current(), hob::no_running_loop_error);
    CHECK(hob::event_loop::current_or_null() == nullptr);
}

TEST_CASE("a thousand loops one after the other leave nothing behind", "[ring-leak]") {
    const auto before = open_descriptors();
    const auto once = [] {
        auto main = []() -> hob::task<> {
            auto sleeper = []() -> hob::task<> { co_await hob::sleep_for(1h); };
            hob::create_task(sleeper());
            co_await test::nop();
        };
        hob::run(main());
    };
    long resident = 0;
    const int count = test::sanitized ? 200 : 1000;
    for (int round = 0; round != count; ++round) {
        once();
        if (round == count / 10)
            resident = test::resident_kib();
    }
    CHECK(open_descriptors() == before);
    if (!test::sanitized)
        CHECK(test::resident_kib() - resident < 1024);
}

TEST_CASE("a run that can never proceed throws and names the waiting tasks and their lines",
          "[deadlock]") {
    std::string message;
    unsigned line = 0;
    gate never;
    auto stuck = [&]() -> hob::task<> {
        line = std::source_location::current().line() + 1;
        co_await never.wait();
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(stuck());
        handle.set_name("stuck task");
        co_await handle;
    };
    try {
        hob::run(main());
    } catch (const hob::deadlock_error& error) {
        message = error.what();
    }
    CHECK_THAT(message, contains("deadlock") && contains("task 'stuck task': waiting for a gate") &&
                            contains("waiting for task 'stuck task'") &&
                            contains("event_loop.cpp:" + std::to_string(line)));
}

TEST_CASE("a timer, an operation, a callback or a thread-safe handle is no deadlock",
          "[deadlock]") {
    test::program program;
    SECTION("a timer") {
        gate open;
        auto main = [&]() -> hob::task<> {
            loop().call_later(1ms, [&] { open.open(); });
            co_await open.wait();
        };
        program.run(main());
    }
    SECTION("an operation") {
        gate open;
        const int descriptor = ::eventfd(1, EFD_CLOEXEC);
        auto polling = [&]() -> hob::task<> {
            co_await test::poll_readable(descriptor);
            open.open();
        };
        auto main = [&]() -> hob::task<> {
            hob::create_task(polling());
            co_await open.wait();
        };
        program.run(main());
        ::close(descriptor);
    }
    SECTION("a thread-safe handle") {
        gate open;
        std::thread other;
        auto main = [&]() -> hob::task<> {
            other = std::thread([&, handle = loop().get_handle()]() mutable {
                std::this_thread::yield();
                if (!handle.call_soon_threadsafe([&] { open.open(); }))
                    std::abort();
            });
            co_await open.wait();
        };
        program.run(main());
        other.join();
    }
    SECTION("a left-over task that goes on") {
        gate open;
        auto opener = [&]() -> hob::task<> {
            co_await test::settle(5);
            open.open();
        };
        auto main = [&]() -> hob::task<> {
            hob::create_task(opener());
            co_await open.wait();
        };
        program.run(main());
    }
}

TEST_CASE("the last thread-safe handle posts, goes away, and that is no deadlock", "[deadlock]") {
    // The loop looks at its inbox and at the number of handles: in an order that cannot lose.
    test::program program;
    auto main = [&]() -> hob::task<> {
        for (int round = 0; round != 2000; ++round) {
            gate open;
            auto handle = std::make_unique<hob::loop_handle>(loop().get_handle());
            std::thread other([&] {
                auto own = std::move(handle);
                if (!own->call_soon_threadsafe([&] { open.open(); }))
                    std::abort();
            });
            co_await open.wait();
            other.join();
        }
    };
    CHECK_NOTHROW(program.run(main()));
}

TEST_CASE("after a deadlock a loop can be used and closed", "[deadlock]") {
    test::program program;
    gate never;
    int alive = 0;
    auto stuck = [&]() -> hob::task<> {
        const test::counted self(alive);
        co_await never.wait();
    };
    CHECK_THROWS_AS(program.run(stuck()), hob::deadlock_error);
    CHECK(alive == 1);
    CHECK(program.run(test::value_now(3)) == 3);
    program.runner().close();
    CHECK(alive == 0);
}

TEST_CASE("closing a loop whose tasks can never be stopped does not hang silently",
          "[deadlock][exit-hang]") {
    const test::child_result child = test::in_child([] {
        ::alarm(5);
        gate never;
        auto shielded = [&]() -> hob::task<> { co_await hob::shield(never.wait()); };
        try {
            hob::run(shielded());
        } catch (const hob::deadlock_error&) {
            return 7;
        }
        return 1;
    });
    // Whichever way it ends, it ends, and says something.
    CHECK(child.signal != SIGALRM);
}

TEST_CASE("a broken invariant stops the process with a diagnostic, in every build",
          "[internal-error]") {
    const test::child_result child = test::in_child([] {
        hob::detail::check(true, "fine");
        hob::detail::check(false, "the sky fell");
        return 0;
    });
    CHECK(child.signal == SIGABRT);
    CHECK_THAT(child.errors,
               contains("hob: internal error: the sky fell") && contains("event_loop.cpp"));
}

TEST_CASE("an idle loop sleeps", "[idle-cpu]") {
    const auto mode = GENERATE(hob::ring_mode::defer_taskrun, hob::ring_mode::plain);
    test::program program(mode);
    const int descriptor = ::eventfd(0, EFD_CLOEXEC);
    auto polling = [&]() -> hob::task<> { co_await test::poll_readable(descriptor); };
    auto main = [&]() -> hob::task<> {
        hob::create_task(polling());
        loop().call_later(1h, [] {});
        co_await hob::sleep_for(1ms);
        // Not the switches of the thread: on a busy machine, the kernel makes some in one wait.
        const std::uint64_t before = hob::metrics().system_calls;
        co_await hob::sleep_for(200ms);
        CHECK(hob::metrics().system_calls - before <= 2);
    };
    program.run(main());
    program.runner().close();
    ::close(descriptor);
}

TEST_CASE("a process that leaves with operations under way ends", "[exit-hang]") {
    const int way = GENERATE(0, 1);
    const test::child_result child = test::in_child([way] {
        ::alarm(5);
        const int descriptor = ::eventfd(0, EFD_CLOEXEC);
        auto polling = [&]() -> hob::task<> { co_await test::poll_readable(descriptor); };
        auto main = [&]() -> hob::task<> {
            for (int index = 0; index != 1000; ++index)
                hob::create_task(polling());
            co_await test::settle();
            if (way == 0)
                ::_exit(3);
            ::raise(SIGKILL);
        };
        hob::run(main());
        return 0;
    });
    if (way == 0)
        CHECK(child.code == 3);
    else
        CHECK(child.signal == SIGKILL);
}
