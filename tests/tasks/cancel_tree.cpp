// SPDX-License-Identifier: MIT
// Where a cancellation goes: down the awaits, not through handles, and never in circles.
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/finally.hpp>
#include <hob/gather.hpp>
#include <hob/race.hpp>
#include <hob/shield.hpp>
#include <hob/task_group.hpp>
#include <hob/timeout.hpp>

#include <array>

using namespace std::chrono_literals;
using test::at_exit;
using test::counted;
using test::gate;
using strings = std::vector<std::string>;

namespace {

hob::task<> deep(long depth, gate& never, long& alive) {
    class level {
      public:
        explicit level(long& count) : count_(count) { ++count_; }
        ~level() { --count_; }

      private:
        long& count_;
    };
    const level here(alive);
    if (depth == 0)
        co_await never.wait();
    else
        co_await deep(depth - 1, never, alive);
}
hob::task<> join(const hob::task_handle<>& target) {
    co_await target;
}
hob::task<> deep_scopes(int depth, gate& never, int& alive) {
    const counted here(alive);
    if (depth == 0) {
        co_await never.wait();
        co_return;
    }
    auto group_body = [&](hob::task_group& group) -> hob::task<> {
        group.start(deep_scopes(depth - 1, never, alive));
        co_return;
    };
    switch (depth % 5) {
    case 0:
        co_await hob::timeout(1h, deep_scopes(depth - 1, never, alive));
        break;
    case 1:
        co_await hob::gather(deep_scopes(depth - 1, never, alive), never.wait());
        break;
    case 2:
        co_await hob::race(never.wait(), deep_scopes(depth - 1, never, alive));
        break;
    case 3:
        co_await hob::finally(deep_scopes(depth - 1, never, alive), hob::yield());
        break;
    default:
        co_await hob::with_task_group(group_body);
    }
}

} // namespace

TEST_CASE("a chain a million deep is cancelled on a constant stack", "[cancel-iter]") {
    gate never;
    test::program program;
    long alive = 0;
    const long depth = 1'000'000;
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(deep(depth, never, alive));
        while (alive != depth + 1)
            co_await hob::yield();
        co_await test::settle();
        handle.cancel();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
        CHECK(alive == 0);
    };
    program.run(main());
}

TEST_CASE("ten thousand nested scopes are cancelled on a constant stack", "[cancel-iter]") {
    gate never;
    test::program program;
    int alive = 0;
    const int depth = 10'000;
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(deep_scopes(depth, never, alive));
        while (alive != depth + 1)
            co_await hob::yield();
        co_await test::settle();
        handle.cancel();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
        CHECK(alive == 0);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("tasks that await each other in a circle are stopped by a cancellation",
          "[cancel-cycle]") {
    test::program program(test::any_loop());
    int alive = 0;
    std::array<hob::task_handle<>, 5> ring;
    int cancelled_errors = 0;
    auto member = [&](counted, std::size_t next) -> hob::task<> {
        co_await hob::yield();
        try {
            co_await ring[next];
        } catch (const hob::cancelled_error&) {
            ++cancelled_errors;
            throw;
        }
    };
    auto main = [&]() -> hob::task<> {
        for (std::size_t index = 0; index != ring.size(); ++index)
            ring[index] = hob::create_task(member(counted(alive), (index + 1) % ring.size()));
        co_await test::settle();
        CHECK(alive == 5);
        SECTION("of one of them") {
            ring[2].cancel();
            co_await test::settle();
            CHECK(cancelled_errors == 4);
            CHECK_THROWS_AS(co_await ring[3], hob::cancelled_error);
        }
        SECTION("of all of them") {
            for (const auto& each : ring)
                each.cancel();
            co_await test::settle();
            CHECK(cancelled_errors == 0);
        }
        CHECK(alive == 0);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a circle through a group, and one that the closing of the loop stops",
          "[cancel-cycle]") {
    int alive = 0;
    {
        test::program program(test::any_loop());
        hob::task_handle<> parent;
        auto child = [&](counted) -> hob::task<> { co_await parent; };
        auto body = [&](counted) -> hob::task<> {
            auto group_body = [&](hob::task_group& group) -> hob::task<> {
                group.start(child(counted(alive)));
                co_return;
            };
            co_await hob::with_task_group(group_body);
        };
        auto main = [&]() -> hob::task<> {
            parent = hob::create_task(body(counted(alive)));
            co_await test::settle();
            CHECK(alive == 2);
            parent.cancel();
            CHECK_THROWS_AS(co_await parent, hob::cancelled_error);
            CHECK(alive == 0);
            parent = hob::create_task(body(counted(alive)));
            co_await test::settle();
            CHECK(alive == 2);
        };
        program.run(main());
    }
    CHECK(alive == 0);
}

TEST_CASE("cancelling a task cancels what it awaits down to the leaf", "[cancel-chain]") {
    gate never;
    test::program program(test::any_loop());
    strings log;
    auto leaf = [&](std::string name) -> hob::task<> {
        const at_exit note(log, name);
        co_await never.wait();
    };
    auto middle = [&]() -> hob::task<> {
        const at_exit note(log, "middle");
        co_await hob::timeout(1h, hob::gather(leaf("left"), leaf("right")));
    };
    auto root = [&]() -> hob::task<> {
        const at_exit note(log, "root");
        co_await middle();
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(root());
        co_await test::settle();
        handle.cancel();
        co_await test::settle();
        CHECK(handle.cancelled());
    };
    program.run(main());
    CHECK(log == strings{"left", "right", "middle", "root"});
}

TEST_CASE("cancelling a joiner leaves the joined task running", "[cancel-chain]") {
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        auto target = hob::create_task(test::settle(60));
        auto plain = hob::create_task(join(target));
        auto through_timeout = [&]() -> hob::task<> { co_await hob::timeout(1h, target); };
        auto through_gather = [&]() -> hob::task<> { co_await hob::gather(target, target); };
        auto in_timeout = hob::create_task(through_timeout());
        auto in_gather = hob::create_task(through_gather());
        auto patient = hob::create_task(join(target));
        co_await test::settle();
        plain.cancel();
        in_timeout.cancel();
        in_gather.cancel();
        co_await test::settle();
        CHECK(plain.cancelled());
        CHECK(in_timeout.cancelled());
        CHECK(in_gather.cancelled());
        CHECK_FALSE(target.done());
        co_await patient;
        CHECK(target.done());
        CHECK_FALSE(target.cancelled());
    };
    program.run(main());
}

TEST_CASE("a task spawned into a cancelled scope is stopped at its first suspension",
          "[cancel-precancelled]") {
    test::program program(test::any_loop());
    strings log;
    gate never;
    auto child = [&](std::string name) -> hob::task<> {
        log.push_back(name + " runs");
        co_await hob::yield();
        log.push_back(name + " never");
    };
    auto group_body = [&](hob::task_group& group) -> hob::task<> {
        group.start(child("before"));
        group.cancel();
        group.start(child("after"));
        co_await never.wait();
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(group_body); };
    program.run(main());
    // The one that was there is cancelled before its first step.
    CHECK(log == strings{"after runs"});
}

TEST_CASE("a group that is cancelled before its body exists stops the body",
          "[cancel-precancelled]") {
    gate never;
    test::program program(test::any_loop());
    bool passed = false;
    auto work = [&]() -> hob::task<> {
        co_await never.wait();
        passed = true;
    };
    auto group_body = [&](hob::task_group& group) {
        group.cancel();
        return work();
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(group_body); };
    program.run(main());
    CHECK_FALSE(passed);
}

TEST_CASE("a task may be cancelled between two runs", "[cancel-async]") {
    gate never;
    test::program program(test::any_loop());
    int alive = 0;
    hob::task_handle<> handle;
    auto body = [&](counted) -> hob::task<> { co_await never.wait(); };
    auto first = [&]() -> hob::task<> {
        handle = hob::create_task(body(counted(alive)));
        co_await test::settle();
    };
    program.run(first());
    CHECK(handle.cancel());
    CHECK(alive == 1);
    CHECK_FALSE(handle.done());
    program.run(test::settle());
    CHECK(handle.cancelled());
    CHECK(alive == 0);
}

TEST_CASE("a task of one loop may be cancelled while another loop of its thread runs",
          "[cancel-async]") {
    test::program first(test::any_loop());
    test::program second;
    int alive = 0;
    hob::task_handle<> handle;
    auto body = [&](counted) -> hob::task<> { co_await hob::sleep_for(1h); };
    auto start = [&]() -> hob::task<> {
        handle = hob::create_task(body(counted(alive)));
        co_await test::settle();
    };
    first.run(start());
    auto cancel = [&]() -> hob::task<> {
        CHECK(handle.cancel());
        co_await test::settle();
        // It runs in its own loop only.
        CHECK(alive == 1);
    };
    second.run(cancel());
    first.run(test::settle());
    CHECK(handle.cancelled());
    CHECK(alive == 0);
}
