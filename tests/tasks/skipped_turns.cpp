// SPDX-License-Identifier: MIT
// A turn of the loop that would do nothing else is spared: a yield goes on at once, and a task that
// is joined as soon as it was spawned runs inside the await. Nobody can tell, but by the metrics.
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/debug/metrics.hpp>
#include <hob/debug/task_dump.hpp>
#include <hob/gather.hpp>

#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using test::gate;
using test::loop;
using strings = std::vector<std::string>;

namespace {

/// Its loop has nothing to look after: the kernel has seen what a loop submits when it begins.
class quiet_program : public test::program {
  public:
    quiet_program() : test::program(test::any_loop()) { run(test::settle()); }
};

hob::task<> note(strings& log, const char* what) {
    log.emplace_back(what);
    co_return;
}

} // namespace

TEST_CASE("yields and joins with nothing else to do take a turn for every 128 of them",
          "[budget]") {
    quiet_program program;
    std::uint64_t turns = 0;
    int value = 0;
    auto main = [&]() -> hob::task<> {
        co_await hob::yield();
        turns = hob::metrics().turns;
        SECTION("of yields") {
            for (int round = 0; round != 12'800; ++round)
                co_await hob::yield();
        }
        SECTION("of joins") {
            for (int round = 0; round != 12'800; ++round)
                value += co_await hob::create_task(test::value_now(1));
            CHECK(value == 12'800);
        }
        turns = hob::metrics().turns - turns;
    };
    program.run(main());
    CHECK(turns >= 100);
    CHECK(turns <= 300);
}

TEST_CASE("the steps of a spared turn count, so that a task which yields is not taken for a stall",
          "[metrics]") {
    quiet_program program;
    std::uint64_t steps = 0;
    auto main = [&]() -> hob::task<> {
        co_await hob::yield();
        steps = hob::metrics().steps;
        SECTION("of yields") {
            for (int round = 0; round != 1'000; ++round)
                co_await hob::yield();
            steps = hob::metrics().steps - steps;
            CHECK(steps == 1'000);
        }
        SECTION("of joins, each with a step of the task and one of its joiner") {
            for (int round = 0; round != 1'000; ++round)
                co_await hob::create_task(test::value_now(1));
            steps = hob::metrics().steps - steps;
            CHECK(steps == 2'000);
        }
    };
    program.run(main());
}

TEST_CASE("a task that is joined at once still waits for those before it, and they for it",
          "[spawn-order]") {
    quiet_program program;
    strings log;
    auto main = [&]() -> hob::task<> {
        SECTION("one before it") {
            const auto first = hob::create_task(note(log, "other"));
            co_await hob::create_task(note(log, "joined"));
            log.emplace_back("joiner");
            CHECK(log == strings{"other", "joined", "joiner"});
        }
        SECTION("one behind it") {
            auto joined = hob::create_task(note(log, "joined"));
            const auto second = hob::create_task(note(log, "other"));
            co_await std::move(joined);
            log.emplace_back("joiner");
            CHECK(log == strings{"joined", "other", "joiner"});
        }
        SECTION("a callback behind it") {
            auto joined = hob::create_task(note(log, "joined"));
            loop().call_soon([&] { log.emplace_back("callback"); });
            co_await std::move(joined);
            log.emplace_back("joiner");
            CHECK(log == strings{"joined", "callback", "joiner"});
        }
        SECTION("one that it makes") {
            auto making = [&]() -> hob::task<> {
                log.emplace_back("joined");
                hob::create_task(note(log, "made"));
                co_return;
            };
            co_await hob::create_task(making());
            log.emplace_back("joiner");
            co_await hob::yield();
            // The joiner is woken when the task has ended, behind what the task has made.
            CHECK(log == strings{"joined", "made", "joiner"});
        }
    };
    program.run(main());
}

TEST_CASE("a yield or a join inside an eager start lets the outer task go on first", "[eager]") {
    quiet_program program;
    strings log;
    auto yielding = [&]() -> hob::task<> {
        co_await hob::yield();
        log.emplace_back("inner");
    };
    auto joining = [&]() -> hob::task<> { co_await hob::create_task(note(log, "inner")); };
    auto main = [&]() -> hob::task<> {
        SECTION("a yield") {
            const auto inner = hob::create_task(yielding(), hob::eager);
            log.emplace_back("outer");
            co_await inner;
        }
        SECTION("a join") {
            const auto inner = hob::create_task(joining(), hob::eager);
            log.emplace_back("outer");
            co_await inner;
        }
    };
    program.run(main());
    CHECK(log == strings{"outer", "inner"});
}

TEST_CASE("branches that yield take turns", "[timer-zero]") {
    quiet_program program;
    strings log;
    auto branch = [&](const char* name) -> hob::task<> {
        for (int round = 0; round != 2; ++round) {
            log.emplace_back(name);
            co_await hob::yield();
        }
    };
    program.run(
        [](auto& each) -> hob::task<> { co_await hob::gather(each("a"), each("b")); }(branch));
    CHECK(log == strings{"a", "b", "a", "b"});
}

TEST_CASE("while the first step of a joined task runs, its joiner is seen waiting for it",
          "[all-tasks]") {
    quiet_program program;
    std::string dump;
    auto child = [&]() -> hob::task<> {
        dump = hob::dump_tasks();
        co_return;
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(child());
        handle.set_name("child");
        co_await std::move(handle);
    };
    program.run(main());
    INFO(dump);
    CHECK(dump.find("task 'child'") != std::string::npos);
    CHECK(dump.find("waiting") != std::string::npos);
}

TEST_CASE("a task that suspends in its first step is waited for", "[multi-await]") {
    quiet_program program;
    gate open;
    auto joining = [&]() -> hob::task<int> {
        co_return co_await hob::create_task(test::value_after(open, 7));
    };
    auto main = [&]() -> hob::task<> {
        auto joiner = hob::create_task(joining());
        co_await test::settle();
        CHECK_FALSE(joiner.done());
        open.open();
        const int value = co_await std::move(joiner);
        CHECK(value == 7);
    };
    program.run(main());
}

TEST_CASE("a task that cancels its joiner in its first step", "[cancel-self-return]") {
    quiet_program program;
    hob::task_handle<> joiner;
    bool has_value = false;
    bool went_on = false;
    bool child_ended = false;
    gate open;
    auto returning = [&]() -> hob::task<int> {
        joiner.cancel();
        co_return 1;
    };
    auto suspending = [&]() -> hob::task<int> {
        joiner.cancel();
        co_await open.wait();
        child_ended = true;
        co_return 1;
    };
    auto joining = [&](hob::task<int> child) -> hob::task<> {
        const int value = co_await hob::create_task(std::move(child));
        has_value = value == 1;
        co_await hob::yield();
        went_on = true;
    };
    auto main = [&]() -> hob::task<> {
        SECTION("and returns: the value arrives, and the stop comes at the next suspension") {
            joiner = hob::create_task(joining(returning()));
            while (!joiner.done())
                co_await hob::yield();
            CHECK(has_value);
        }
        SECTION("and suspends: the joiner is stopped, the task goes on") {
            joiner = hob::create_task(joining(suspending()));
            while (!joiner.done())
                co_await hob::yield();
            CHECK_FALSE(has_value);
            open.open();
            co_await test::settle();
            CHECK(child_ended);
        }
        CHECK(joiner.cancelled());
        CHECK_FALSE(went_on);
    };
    program.run(main());
}

TEST_CASE("a join of the task that stands last in the turn at hand leaves it its place",
          "[spawn-order]") {
    quiet_program program;
    strings log;
    hob::task_handle<> later;
    auto join_later = [&]() -> hob::task<> {
        log.emplace_back("joins");
        co_await later;
        log.emplace_back("joined");
    };
    auto main = [&]() -> hob::task<> {
        SECTION("of a task that begins") {
            const auto joiner = hob::create_task(join_later());
            later = hob::create_task(note(log, "ran"));
            co_await joiner;
        }
        SECTION("of a task that is woken") {
            gate open;
            auto woken = [&]() -> hob::task<> {
                co_await open.wait();
                co_await join_later();
            };
            const auto joiner = hob::create_task(woken());
            co_await test::settle();
            open.open();
            later = hob::create_task(note(log, "ran"));
            co_await joiner;
        }
    };
    program.run(main());
    CHECK(log == strings{"joins", "ran", "joined"});
}

TEST_CASE("a turn ends after a join of the task that stands last in it", "[spawn-order][timer]") {
    quiet_program program;
    hob::task_handle<int> later;
    bool has_fired = false;
    auto joining = [&]() -> hob::task<> {
        co_await later;
        loop().call_later(1ms, [&] { has_fired = true; });
        const auto end = loop().time() + 10s;
        while (!has_fired && loop().time() < end)
            co_await hob::yield();
    };
    auto main = [&]() -> hob::task<> {
        const auto joiner = hob::create_task(joining());
        later = hob::create_task(test::value_now(1));
        co_await joiner;
    };
    program.run(main());
    CHECK(has_fired);
}

TEST_CASE("a joiner that is cancelled already is stopped, though what it joins could run at once",
          "[cancel-precancelled]") {
    quiet_program program;
    strings log;
    hob::task_handle<> self;
    auto joining = [&]() -> hob::task<> {
        const test::at_exit stopped(log, "stopped");
        self.cancel();
        auto handle = hob::create_task(note(log, "ran"));
        co_await std::move(handle);
        log.emplace_back("went on");
    };
    auto main = [&]() -> hob::task<> {
        self = hob::create_task(joining());
        co_await test::settle();
        CHECK(self.cancelled());
    };
    program.run(main());
    CHECK(log == strings{"ran", "stopped"});
}

TEST_CASE("what a joined task throws in its first step reaches the joiner", "[exc-retval]") {
    quiet_program program;
    auto main = [&]() -> hob::task<> {
        auto failing = hob::create_task(test::failure_now("broken"));
        CHECK_THROWS_WITH(co_await std::move(failing), "broken");
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a fatal exception in the first step of a joined task leaves run at once",
          "[fatal-exc]") {
    quiet_program program;
    bool went_on = false;
    auto failing = []() -> hob::task<> {
        throw hob::fatal_error("on purpose");
        co_return;
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(failing());
        try {
            co_await std::move(handle);
        } catch (const hob::fatal_error&) {
            went_on = true;
            throw;
        }
    };
    CHECK_THROWS_WITH(program.run(main()), "on purpose");
    CHECK_FALSE(went_on);
    // The tasks that are left use what is declared here.
    program.runner().close();
}

TEST_CASE("what another thread has posted is called all the same", "[fifo]") {
    quiet_program program;
    bool called = false;
    auto nothing = []() -> hob::task<> { co_return; };
    auto main = [&]() -> hob::task<> {
        hob::event_loop& here = loop();
        std::thread([&] { CHECK(here.call_soon_threadsafe([&] { called = true; })); }).join();
        // It is called behind what was ready before it.
        SECTION("between yields") {
            co_await hob::yield();
            co_await hob::yield();
        }
        SECTION("between joins") {
            co_await hob::create_task(nothing());
            co_await hob::create_task(nothing());
        }
        CHECK(called);
    };
    program.run(main());
}

TEST_CASE("timers and completions are looked at between yields and between joins", "[io-polled]") {
    quiet_program program;
    auto main = [&]() -> hob::task<> {
        bool happened = false;
        auto event = [&](hob::task<> after) -> hob::task<> {
            co_await std::move(after);
            happened = true;
        };
        auto sleep = []() -> hob::task<> { co_await hob::sleep_for(1ms); };
        auto operate = []() -> hob::task<> { co_await test::nop(); };
        auto nothing = []() -> hob::task<> { co_return; };
        SECTION("a timer, yields") {
            const auto waiting = hob::create_task(event(sleep()));
            while (!happened)
                co_await hob::yield();
        }
        SECTION("a timer, joins") {
            const auto waiting = hob::create_task(event(sleep()));
            while (!happened)
                co_await hob::create_task(nothing());
        }
        SECTION("an operation, yields") {
            const auto waiting = hob::create_task(event(operate()));
            while (!happened)
                co_await hob::yield();
        }
        SECTION("an operation, joins") {
            const auto waiting = hob::create_task(event(operate()));
            while (!happened)
                co_await hob::create_task(nothing());
        }
        CHECK(happened);
    };
    program.run(main());
}

TEST_CASE("nothing goes on behind a loop that is to stop", "[stop]") {
    quiet_program program;
    int rounds = 0;
    auto nothing = []() -> hob::task<> { co_return; };
    auto yielding = [&]() -> hob::task<> {
        for (;;) {
            ++rounds;
            co_await hob::yield();
        }
    };
    auto joining = [&]() -> hob::task<> {
        for (;;) {
            ++rounds;
            co_await hob::create_task(nothing());
        }
    };
    auto end_beside = [&](hob::task<> endless) -> hob::task<> {
        const auto other = hob::create_task(std::move(endless));
        co_await hob::yield();
        rounds = 0;
    };
    SECTION("because its main task has ended, yields") {
        program.run(end_beside(yielding()));
        CHECK(rounds <= 1);
    }
    SECTION("because its main task has ended, joins") {
        program.run(end_beside(joining()));
        CHECK(rounds <= 1);
    }
    SECTION("because of stop, yields") {
        hob::event_loop& here = program.runner().loop();
        here.call_soon([&] {
            hob::create_task(yielding());
            loop().call_soon([] { loop().stop(); });
        });
        here.run_forever();
        const int before = rounds;
        CHECK(before <= 2);
        here.stop();
        here.run_forever();
        CHECK(rounds == before + 1);
    }
    SECTION("because of stop, joins") {
        hob::event_loop& here = program.runner().loop();
        here.call_soon([&] {
            loop().stop();
            hob::create_task(joining());
        });
        here.run_forever();
        CHECK(rounds == 0);
        here.stop();
        here.run_forever();
        CHECK(rounds == 1);
    }
    // The tasks that are left use what is declared here.
    program.runner().close();
}

TEST_CASE("closing a loop ends though a callback calls itself for ever", "[run-leftover]") {
    quiet_program program;
    int calls = 0;
    std::function<void()> again = [&] {
        ++calls;
        loop().call_soon(again);
    };
    gate never;
    auto waiting = [&]() -> hob::task<> { co_await never.wait(); };
    auto main = [&]() -> hob::task<> {
        loop().call_soon(again);
        const auto left = hob::create_task(waiting());
        co_await hob::yield();
    };
    program.run(main());
    program.runner().close();
    CHECK(calls >= 1);
}
