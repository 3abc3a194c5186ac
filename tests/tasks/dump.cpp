// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/program.hpp"

#include <hob/debug/task_dump.hpp>
#include <hob/gather.hpp>
#include <hob/shield.hpp>
#include <hob/sync/future.hpp>
#include <hob/task_group.hpp>
#include <hob/timeout.hpp>

#include <source_location>
#include <stdexcept>

using namespace std::chrono_literals;
using test::contains;
using test::gate;

namespace {

/// "file:line", as a dump writes it, for the line `below` of the call.
std::string line_below(unsigned below = 1,
                       std::source_location where = std::source_location::current()) {
    return std::string(where.file_name()) + ":" + std::to_string(where.line() + below);
}

hob::task<> innermost_function(gate& until, std::string& line) {
    line = line_below();
    co_await until.wait();
}
hob::task<> middle_function(gate& until, std::string& inner, std::string& outer) {
    outer = line_below();
    co_await innermost_function(until, inner);
}

std::size_t occurrences(const std::string& text, const std::string& part) {
    std::size_t count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
        ++count;
    return count;
}

} // namespace

TEST_CASE("a dump names each task, its state, and each await's line, innermost first", "[dump]") {
    test::program program;
    gate open;
    std::string inner;
    std::string outer;
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(middle_function(open, inner, outer));
        handle.set_name("worker");
        CHECK_THAT(hob::dump_tasks(), contains("task 'worker': not started"));
        co_await test::settle();
        const std::string text = hob::dump_tasks();
        CHECK_THAT(text, contains("task 'worker': waiting for a gate"));
        CHECK_THAT(text, contains(inner) && contains(outer));
        CHECK(text.find(inner) < text.find(outer));
        CHECK_THAT(text, contains("innermost_function") && contains("middle_function"));
        CHECK_THAT(text, contains("running"));
        open.open();
        CHECK_THAT(hob::dump_tasks(), contains("task 'worker': ready") && contains(inner));
        co_await handle;
        CHECK_THAT(hob::dump_tasks(), !contains("worker"));
    };
    program.run(main());
}

TEST_CASE("a dump shows the branches of gather, timeout and shield below their task", "[dump]") {
    test::program program;
    gate open;
    auto outer = [&]() -> hob::task<> {
        co_await hob::gather(open.wait(), hob::timeout(1h, open.wait()),
                             hob::timeout(std::chrono::hours::max(), open.wait()),
                             hob::shield(open.wait()), hob::sleep_for(0s));
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(outer());
        handle.set_name("outer");
        const auto waits_for_four = contains("task 'outer': waiting for gather (4 to go)");
        std::string text;
        do {
            co_await hob::yield();
            text = hob::dump_tasks();
        } while (!waits_for_four.match(text));
        CHECK(occurrences(text, "waiting for a gate") == 4);
        CHECK_THAT(text, contains("\n    branch: waiting for a timeout (3599") &&
                             contains("a timeout (disabled)") &&
                             contains("\n    branch: waiting for a shield\n") &&
                             contains("\n        branch: waiting for a gate\n"));
        handle.cancel();
        co_await test::settle();
        CHECK_THAT(hob::dump_tasks(), contains("task 'outer': being cancelled"));
        open.open();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
    };
    program.run(main());
    program.runner().close();
}

TEST_CASE("a dump shows the body and the children of a task group", "[dump]") {
    test::program program;
    gate open;
    auto body = [&](hob::task_group& group) -> hob::task<> {
        auto named = group.create_task(test::value_after(open, 1));
        named.set_name("named child");
        group.start(test::value_after(open, 2));
        co_await test::settle();
        const std::string text = hob::dump_tasks();
        CHECK_THAT(text, contains("waiting for a task group (2 children)") &&
                             contains("\n    task 'named child': waiting for a gate") &&
                             contains("\n    branch: running"));
        open.open();
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    program.run(main());
}

TEST_CASE("a dump says which task a join waits for", "[dump]") {
    test::program program;
    gate open;
    auto main = [&]() -> hob::task<> {
        auto target = hob::create_task(test::value_after(open, 1));
        target.set_name("target");
        auto joining = [&]() -> hob::task<> { co_await target; };
        auto joiner = hob::create_task(joining());
        co_await test::settle();
        CHECK_THAT(hob::dump_tasks(), contains("waiting for task 'target'"));
        open.open();
        co_await joiner;
    };
    program.run(main());
}

TEST_CASE("a dump survives sleeps at both ends of the clock", "[dump]") {
    test::program program;
    auto sleeper = [](hob::detail::time_point until) -> hob::task<> {
        co_await hob::sleep_until(until);
    };
    auto main = [&]() -> hob::task<> {
        auto past = hob::create_task(sleeper(hob::detail::time_point::min()));
        auto future = hob::create_task(sleeper(hob::detail::time_point::max()));
        // In the turn of the sleepers, before any timer fires.
        hob::event_loop::current().call_soon(
            [&] { CHECK_THAT(hob::dump_tasks(), contains("a sleep (")); });
        co_await past;
        CHECK_THAT(hob::dump_tasks(), contains("a sleep ("));
        future.cancel();
    };
    program.run(main());
}

TEST_CASE("a loop can be dumped while it does not run", "[dump]") {
    test::program program;
    gate never;
    hob::task_handle<> sleeping;
    hob::task_handle<int> waiting;
    auto sleeper = []() -> hob::task<> { co_await hob::sleep_for(1h); };
    auto yielding = []() -> hob::task<> {
        for (;;)
            co_await hob::yield();
    };
    auto main = [&]() -> hob::task<> {
        sleeping = hob::create_task(sleeper());
        sleeping.set_name("sleeping");
        waiting = hob::create_task(test::value_after(never, 1));
        waiting.set_name("waiting");
        hob::create_task(yielding()).set_name("yielding");
        co_await test::settle();
    };
    program.run(main());
    const std::string text = program.loop().dump();
    CHECK_THAT(text, contains("task 'sleeping': waiting for a sleep (") &&
                         contains("task 'waiting': waiting for a gate") &&
                         contains("task 'yielding': ready"));
    program.runner().close();
}

TEST_CASE("dump_tasks outside a loop throws", "[dump]") {
    CHECK_THROWS_AS(hob::dump_tasks(), hob::no_running_loop_error);
}

TEST_CASE("a dump goes 10,000 awaits deep", "[dump]") {
    test::program program;
    gate open;
    auto chain = [&](auto& self, int depth) -> hob::task<> {
        if (depth != 0)
            co_await self(self, depth - 1);
        else
            co_await open.wait();
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(chain(chain, 9'999));
        // One turn for each 128 of them.
        co_await test::settle(200);
        CHECK(occurrences(hob::dump_tasks(), "  at ") >= 10'000);
        open.open();
        co_await handle;
    };
    program.run(main());
}

TEST_CASE("a dump of scopes in each other is cut off where nobody reads on", "[dump]") {
    gate open;
    test::program program;
    auto nest = [&](auto& self, int levels) -> hob::task<> {
        if (levels == 0)
            co_await open.wait();
        else
            co_await hob::timeout(1h, self(self, levels - 1));
    };
    auto main = [&]() -> hob::task<> {
        const auto task = hob::create_task(nest(nest, 5'000));
        co_await test::settle(5'000);
        const std::string text = hob::dump_tasks();
        CHECK(text.size() < 4'000'000);
        CHECK(contains("and more below, deeper than 500 levels").match(text));
        open.open();
        co_await task;
    };
    program.run(main());
}

TEST_CASE("a task of an operation stands where it was created", "[dump]") {
    test::program program;
    gate open;
    std::string spawned;
    std::string started;
    auto main = [&]() -> hob::task<> {
        spawned = line_below();
        const auto waiting = hob::create_task(open.wait());
        auto lead = [&]() -> hob::task<> {
            co_await hob::with_task_group([&](hob::task_group& group) -> hob::task<> {
                started = line_below();
                group.start(open.wait());
                co_return;
            });
        };
        const auto leader = hob::create_task(lead());
        CHECK_THAT(hob::dump_tasks(), contains(spawned));
        co_await test::settle();
        for (const auto format :
             {hob::dump_format::text, hob::dump_format::json, hob::dump_format::dot}) {
            const std::string text = hob::dump_tasks(format);
            if (format == hob::dump_format::json) {
                CHECK_THAT(text, contains(R"("line": )" + spawned.substr(spawned.find(':') + 1)));
                CHECK_THAT(text, contains(R"("line": )" + started.substr(started.find(':') + 1)));
            } else {
                CHECK_THAT(text, contains(spawned) && contains(started));
            }
            CHECK_THAT(text, !contains("as_task"));
        }
        open.open();
        co_await hob::gather(waiting, leader);
    };
    program.run(main());
}

TEST_CASE("an operation in a combinator is shown without a line of its own", "[dump]") {
    test::program program;
    gate open;
    std::string line;
    auto main = [&]() -> hob::task<> {
        auto waiting = [&]() -> hob::task<> {
            line = line_below();
            co_await hob::timeout(1h, open.wait());
        };
        const auto task = hob::create_task(waiting());
        co_await test::settle();
        for (const auto format :
             {hob::dump_format::text, hob::dump_format::json, hob::dump_format::dot})
            CHECK_THAT(hob::dump_tasks(format), contains("a gate") && !contains("as_task"));
        CHECK_THAT(hob::dump_tasks(), contains(line));
        open.open();
        co_await task;
    };
    program.run(main());
}

TEST_CASE("the stack of an exception leaves out what stands for an operation", "[dump]") {
    test::program program;
    std::string line;
    auto main = [&]() -> hob::task<> {
        const hob::future<> failed;
        auto waiting = [&]() -> hob::task<> {
            line = line_below();
            co_await hob::gather(failed, hob::yield());
        };
        hob::create_task(waiting());
        co_await test::settle();
        failed.set_exception(std::make_exception_ptr(std::runtime_error("no soup")));
        co_await test::settle();
    };
    program.run(main());
    CHECK(program.reports.size() == 1);
    CHECK_THAT(program.reports[0].stack, contains(line) && !contains("as_task"));
}

TEST_CASE("a combinator that is dropped is told of without an internal line",
          "[dump][never-awaited]") {
    test::program program;
    program.loop().set_debug(true);
    auto main = [&]() -> hob::task<> {
        {
            const auto dropped = hob::gather(hob::yield());
        }
        co_return;
    };
    program.run(main());
    CHECK(program.reports.size() == 1);
    CHECK(program.reports[0].message == "a task was never awaited");
}
