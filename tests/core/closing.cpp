// SPDX-License-Identifier: MIT
// What happens while a loop closes: destructors and handlers that start tasks and make calls.
#include "../catch.hpp"
#include "executor/pool_support.hpp"
#include "support/child_process.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/debug/metrics.hpp>
#include <hob/executor/run_in_executor.hpp>
#include <hob/finally.hpp>
#include <hob/shield.hpp>
#include <hob/sync/event.hpp>

#include <memory>
#include <string>
#include <thread>
#include <utility>

using namespace std::chrono_literals;
using test::gate;
using test::loop;
using test::on_destruction;

namespace {

hob::task<> sleep(std::shared_ptr<int>) {
    co_await hob::sleep_for(1h);
}
hob::task<> fail_for_good() {
    throw hob::fatal_error("on purpose");
    co_return;
}
void check_fatal_error_is_told(const test::program& program) {
    REQUIRE(program.reports.size() == 1);
    CHECK(hob::detail::holds<hob::fatal_error>(program.reports[0].exception));
}

} // namespace

TEST_CASE("what is destroyed when a loop closes may start tasks, which end with the loop",
          "[run-leftover][never-awaited]") {
    const bool is_eager = GENERATE(false, true);
    const bool is_timed = GENERATE(false, true);
    const auto alive = std::make_shared<int>();
    {
        test::program program;
        const auto start = [&] {
            if (is_eager)
                hob::create_task(sleep(alive), hob::eager);
            else
                hob::create_task(sleep(alive));
        };
        auto main = [&]() -> hob::task<> {
            loop().call_later(1h, [] {});
            if (is_timed)
                loop().call_later(1h, [kept = on_destruction(start)] {});
            else
                loop().call_soon([kept = on_destruction(start)] {});
            loop().call_later(1h, [] {});
            co_return;
        };
        program.run(main());
        program.runner().close();
        CHECK(alive.use_count() == 1);
    }
    CHECK(alive.use_count() == 1);
}

TEST_CASE("a task that is started by the last report of a closing loop ends with it",
          "[run-leftover][never-awaited]") {
    const auto alive = std::make_shared<int>();
    int reports = 0;
    hob::task_handle<int> kept;
    {
        hob::runner runner;
        runner.loop().set_exception_handler([&](const hob::exception_context&) {
            ++reports;
            hob::create_task(sleep(alive), hob::eager);
        });
        auto main = [&]() -> hob::task<> {
            kept = hob::create_task(test::failure_now("x"));
            co_await test::settle();
        };
        runner.run(main());
    }
    CHECK(reports == 1);
    CHECK(alive.use_count() == 1);
}

TEST_CASE("posts whose destruction starts tasks leave none behind, however many and whenever",
          "[run-leftover]") {
    const auto alive = std::make_shared<int>();
    test::program program;
    const auto start = [&] { hob::create_task(sleep(alive)); };
    auto main = [&]() -> hob::task<> {
        SECTION("behind more than a turn takes") {
            for (int count = 0; count != 300; ++count)
                CHECK(loop().call_soon_threadsafe([] {}));
            CHECK(loop().call_soon_threadsafe([kept = on_destruction(start)] {}));
        }
        SECTION("made by a destructor") {
            loop().call_later(
                1h, [kept = on_destruction([&, handle = loop().get_handle()] {
                         CHECK(handle.call_soon_threadsafe([inner = on_destruction(start)] {}));
                     })] {});
        }
        co_return;
    };
    program.run(main());
    program.runner().close();
    CHECK(alive.use_count() == 1);
}

TEST_CASE("a handler that is told of a task which nothing can stop may start another one",
          "[run-leftover]") {
    const bool is_eager = GENERATE(false, true);
    // In a child, because what cannot be stopped leaks.
    const test::child_result child = test::in_child([is_eager] {
        const auto alive = std::make_shared<int>();
        int reports = 0;
        gate never;
        test::program program;
        program.loop().set_exception_handler([&](const hob::exception_context&) {
            ++reports;
            if (is_eager)
                hob::create_task(sleep(alive), hob::eager);
            else
                hob::create_task(sleep(alive));
        });
        auto stuck = [&]() -> hob::task<> { co_await hob::shield(never.wait()); };
        auto main = [&]() -> hob::task<> {
            hob::create_task(stuck());
            co_await test::settle();
        };
        program.run(main());
        program.runner().close();
        return reports == 1 && alive.use_count() == 1 ? 7 : 1;
    });
    CHECK(child.code == 7);
}

TEST_CASE("a fatal error while a loop closes hides no task that begins to wait",
          "[run-leftover][fatal-exc]") {
    const auto alive = std::make_shared<int>();
    hob::event never;
    test::program program;
    auto wait = [&](std::shared_ptr<int>) -> hob::task<> { co_await never.wait(); };
    auto body = [&]() -> hob::task<> {
        const on_destruction at_end([&] {
            hob::create_task(wait(alive));
            hob::create_task(fail_for_good());
        });
        co_await hob::sleep_for(1h);
    };
    auto main = [&]() -> hob::task<> {
        hob::create_task(body());
        co_await test::settle();
    };
    program.run(main());
    program.runner().close();
    CHECK(alive.use_count() == 1);
    check_fatal_error_is_told(program);
}

TEST_CASE("a fatal error of a task that is started by what a closing loop discards is reported",
          "[fatal-exc]") {
    test::program program;
    auto main = [&]() -> hob::task<> {
        loop().call_later(
            1h, [kept = on_destruction([] { hob::create_task(fail_for_good(), hob::eager); })] {});
        co_return;
    };
    program.run(main());
    program.runner().close();
    check_fatal_error_is_told(program);
}

TEST_CASE("a loop goes on as usual when a fatal error that was told goes through another task",
          "[fatal-exc]") {
    test::program program;
    hob::task_handle<> failed;
    auto fail = [&]() -> hob::task<> {
        failed = hob::create_task(fail_for_good());
        co_await test::settle();
    };
    CHECK_THROWS_AS(program.run(fail()), hob::fatal_error);
    auto rejoin = [&]() -> hob::task<> { co_await failed; };
    bool slept = false;
    SECTION("in a second run") {
        auto main = [&]() -> hob::task<> {
            const auto rejoining = hob::create_task(rejoin());
            const std::uint64_t before = hob::metrics().turns;
            co_await hob::sleep_for(20ms);
            // One that may not sleep makes hundreds of thousands.
            CHECK(hob::metrics().turns - before < 100);
            slept = true;
        };
        program.run(main());
    }
    SECTION("while it closes") {
        auto clean = [&]() -> hob::task<> {
            co_await hob::sleep_for(1ms);
            hob::create_task(sleep(nullptr));
            slept = true;
        };
        auto main = [&]() -> hob::task<> {
            hob::create_task(hob::finally(hob::sleep_for(1h), rejoin()));
            hob::create_task(hob::finally(hob::sleep_for(1h), clean()));
            co_await test::settle();
        };
        program.run(main());
        program.runner().close();
    }
    CHECK(slept);
}

TEST_CASE("done-callbacks are called when a loop closes, whichever task ends last",
          "[run-leftover][done-callback]") {
    test::program program;
    std::string called;
    auto clean = []() -> hob::task<> { co_await hob::sleep_for(1ms); };
    auto main = [&]() -> hob::task<> {
        const auto first = hob::create_task(sleep(nullptr));
        first.add_done_callback([&](const auto&) { called += "a"; });
        const auto second = hob::create_task(hob::finally(hob::sleep_for(1h), clean()));
        second.add_done_callback([&](const auto&) { called += "b"; });
        co_await test::settle();
    };
    program.run(main());
    program.runner().close();
    CHECK(called == "ab");
}

TEST_CASE("a loop that never ran waits, when it closes, for what its destructors start",
          "[run-leftover][ex-outlive]") {
    bool went_on = false;
    test::thread_gate gate;
    hob::thread_pool pool;
    std::thread opener([&] {
        gate.wait_for_visitors(1);
        gate.open();
    });
    auto work = [&]() -> hob::task<> {
        co_await hob::run_in_executor(pool, [&] { gate.wait(); });
        went_on = true;
    };
    // Not stopped: a job that has begun is waited for.
    const auto start = [&] { hob::create_task(hob::shield(work()), hob::eager); };
    {
        hob::event_loop loop;
        SECTION("in a call") {
            loop.call_later(1h, [kept = on_destruction(start)] {});
        }
        SECTION("in a post that a call makes") {
            loop.call_later(
                1h, [kept = on_destruction([&, handle = loop.get_handle()] {
                         CHECK(handle.call_soon_threadsafe([inner = on_destruction(start)] {}));
                     })] {});
        }
        loop.close();
    }
    CHECK(went_on);
    opener.join();
}

TEST_CASE("a task that nothing stops goes on when what the loop discards wakes it",
          "[run-leftover]") {
    bool went_on = false;
    hob::event event;
    test::program program;
    auto wait = [&]() -> hob::task<> {
        co_await hob::shield(event.wait());
        went_on = true;
    };
    auto main = [&]() -> hob::task<> {
        hob::create_task(wait());
        co_await test::settle();
        CHECK(loop().call_soon_threadsafe([kept = on_destruction([&] { event.set(); })] {}));
    };
    program.run(main());
    program.runner().close();
    CHECK(went_on);
}

TEST_CASE("a task that nothing stops is told of, also if a destructor has started it",
          "[run-leftover]") {
    const test::child_result child = test::in_child([] {
        gate never;
        test::program program;
        auto stuck = [&]() -> hob::task<> { co_await hob::shield(never.wait()); };
        auto main = [&]() -> hob::task<> {
            loop().call_later(
                1h, [kept = on_destruction([&] { hob::create_task(stuck(), hob::eager); })] {});
            co_return;
        };
        program.run(main());
        program.runner().close();
        return program.reports.size() == 1 ? 7 : 1;
    });
    CHECK(child.code == 7);
}

TEST_CASE("a handler that is told of a fatal error may start a task, which ends with the loop",
          "[run-leftover][fatal-exc]") {
    const auto alive = std::make_shared<int>();
    test::program program;
    int reports = 0;
    program.loop().set_exception_handler([&](const hob::exception_context&) {
        ++reports;
        hob::create_task(sleep(alive), hob::eager);
    });
    auto main = [&]() -> hob::task<> {
        loop().call_later(
            1h, [kept = on_destruction([] { hob::create_task(fail_for_good(), hob::eager); })] {});
        co_return;
    };
    program.run(main());
    program.runner().close();
    CHECK(reports == 1);
    CHECK(alive.use_count() == 1);
}
