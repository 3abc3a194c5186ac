// SPDX-License-Identifier: MIT
// The order in which a loop runs things, and how much of them in a turn.
#include "../catch.hpp"
#include "support/program.hpp"

#include <hob/gather.hpp>
#include <hob/task_group.hpp>

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <thread>

using namespace std::chrono_literals;
using test::gate;
using test::loop;

TEST_CASE("callbacks and woken tasks run first in, first out", "[fifo]") {
    test::program program;
    std::vector<int> order;
    gate open;
    auto waiter = [&](int number) -> hob::task<> {
        co_await open.wait();
        order.push_back(number);
    };
    auto main = [&]() -> hob::task<> {
        auto first = hob::create_task(waiter(2));
        auto second = hob::create_task(waiter(3));
        co_await test::settle();
        loop().call_soon([&] { order.push_back(0); });
        loop().call_soon([&] { order.push_back(1); });
        open.open();
        loop().call_soon([&] { order.push_back(4); });
        auto third = hob::create_task(waiter(5));
        loop().call_soon([&] { order.push_back(6); });
        co_await test::settle();
    };
    program.run(main());
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5, 6});
}

TEST_CASE("the first steps of tasks run in the turn after their creation, in its order",
          "[fifo][spawn-order]") {
    test::program program;
    std::vector<int> order;
    auto task = [&](int number) -> hob::task<> {
        order.push_back(number);
        co_await hob::yield();
        order.push_back(number + 10);
    };
    auto main = [&]() -> hob::task<> {
        for (int number = 0; number != 3; ++number)
            hob::create_task(task(number));
        CHECK(order.empty());
        co_await test::settle();
    };
    program.run(main());
    CHECK(order == std::vector<int>{0, 1, 2, 10, 11, 12});
}

TEST_CASE("work that is queued during a turn runs in the next one", "[turn-bound]") {
    test::program program;
    std::vector<std::string> order;
    auto main = [&]() -> hob::task<> {
        loop().call_soon([&] {
            order.push_back("a1");
            loop().call_soon([&] { order.push_back("a2"); });
        });
        loop().call_soon([&] {
            order.push_back("b1");
            loop().call_soon([&] { order.push_back("b2"); });
        });
        co_await test::settle();
    };
    program.run(main());
    CHECK(order == std::vector<std::string>{"a1", "b1", "a2", "b2"});
}

TEST_CASE("a turn runs only a part of many calls that were posted", "[turn-bound][ts-starve]") {
    test::program program;
    constexpr int calls = 2000;
    int ran = 0;
    int most = 0;
    auto main = [&]() -> hob::task<> {
        for (int call = 0; call != calls; ++call)
            if (!loop().call_soon_threadsafe([&, call] { CHECK(ran++ == call); }))
                std::terminate();
        while (ran != calls) {
            const int before = ran;
            co_await hob::yield();
            most = std::max(most, ran - before);
        }
    };
    program.run(main());
    CHECK(most <= 256);
}

TEST_CASE("posted calls that no turn got to are run by the next run, or die with the loop",
          "[ts-dtor]") {
    constexpr int calls = 2000;
    int ran = 0;
    const auto alive = std::make_shared<int>();
    {
        test::program program;
        auto post = [&]() -> hob::task<> {
            for (int call = 0; call != calls; ++call)
                CHECK(loop().call_soon_threadsafe([&ran, kept = alive] { ++ran; }));
            co_await hob::yield();
        };
        program.run(post());
        CHECK(ran != calls);
        const int before = ran;
        program.run(test::settle(1));
        CHECK(ran > before);
        CHECK(ran != calls);
        CHECK(alive.use_count() == calls - ran + 1);
    }
    CHECK(alive.use_count() == 1);
}

TEST_CASE("yield lets everything that is ready run once", "[timer-zero]") {
    test::program program;
    std::string order;
    auto yielding = [&](char name) -> hob::task<> {
        for (int round = 0; round != 4; ++round) {
            order.push_back(name);
            co_await hob::yield();
        }
    };
    auto main = [&]() -> hob::task<> {
        co_await hob::gather(yielding('a'), yielding('b'), yielding('c'));
    };
    program.run(main());
    CHECK(order == "abcabcabcabc");
}

TEST_CASE("a callback that queues itself for ever does not keep the kernel's completions away",
          "[io-polled]") {
    const auto mode = GENERATE(hob::ring_mode::defer_taskrun, hob::ring_mode::plain);
    test::program program(mode);
    int turns = 0;
    bool stopped = false;
    std::function<void()> again = [&] {
        ++turns;
        if (!stopped)
            loop().call_soon(again);
    };
    auto spin = []() -> hob::task<> {
        for (;;)
            co_await hob::yield();
    };
    auto main = [&]() -> hob::task<> {
        again();
        auto spinner = hob::create_task(spin());
        for (int round = 0; round != 100; ++round) {
            const int before = turns;
            const int result = co_await test::nop();
            CHECK(result == 0);
            CHECK(turns - before <= 3);
        }
        const int descriptor = ::eventfd(0, EFD_CLOEXEC);
        auto writer = [&]() -> hob::task<> {
            co_await test::settle(3);
            const std::uint64_t one = 1;
            CHECK(::write(descriptor, &one, sizeof one) == sizeof one);
        };
        auto writing = hob::create_task(writer());
        const int ready = co_await test::poll_readable(descriptor);
        CHECK((ready & 1) != 0);
        ::close(descriptor);
        stopped = true;
        spinner.cancel();
    };
    program.run(main());
    program.runner().close();
}

TEST_CASE("a task whose awaits never suspend yields after at most 128 of them", "[budget]") {
    test::program program;
    int most = 0;
    int since = 0;
    bool done = false;
    std::function<void()> reset = [&] {
        most = std::max(most, since);
        since = 0;
        if (!done)
            loop().call_soon(reset);
    };
    auto main = [&]() -> hob::task<> {
        SECTION("of tasks") {
            loop().call_soon(reset);
            for (int round = 0; round != 10'000; ++round) {
                ++since;
                co_await test::value_now(round);
            }
        }
        SECTION("of a handle that is done") {
            auto handle = hob::create_task(test::value_now(1));
            co_await handle;
            loop().call_soon(reset);
            for (int round = 0; round != 10'000; ++round) {
                ++since;
                co_await handle;
            }
        }
        done = true;
    };
    program.run(main());
    CHECK(most <= 128);
    CHECK(most >= 100);
}

TEST_CASE("the budget also holds for branches that start in a step that has spent it", "[budget]") {
    test::program program;
    long most = 0;
    long since = 0;
    bool done = false;
    std::function<void()> reset = [&] {
        most = std::max(most, since);
        since = 0;
        if (!done)
            loop().call_soon(reset);
    };
    auto greedy = [&]() -> hob::task<> {
        for (int round = 0; round != 20'000; ++round) {
            ++since;
            co_await test::value_now(round);
        }
    };
    auto main = [&]() -> hob::task<> {
        loop().call_soon(reset);
        co_await hob::gather(greedy(), greedy(), greedy(), greedy());
        done = true;
    };
    program.run(main());
    // Four branches in a step; each of them 128, if every one had a budget of its own.
    CHECK(most <= 4 * 128);
}

TEST_CASE("a handle cancels a callback before it runs", "[callbacks-mutate]") {
    test::program program;
    int runs = 0;
    auto main = [&]() -> hob::task<> {
        auto handle = loop().call_soon([&] { ++runs; });
        CHECK_FALSE(handle.cancelled());
        CHECK(handle.cancel());
        CHECK(handle.cancelled());
        CHECK_FALSE(handle.cancel());
        co_await test::settle();
        CHECK(runs == 0);
        auto other = loop().call_soon([&] { ++runs; });
        co_await test::settle();
        CHECK(runs == 1);
        CHECK_FALSE(other.cancel());
        CHECK_FALSE(other.cancelled());
        hob::call_handle none;
        CHECK_FALSE(none.cancel());
        CHECK_FALSE(none.cancelled());
    };
    program.run(main());
}

TEST_CASE("callbacks cancel themselves, each other, and add more", "[callbacks-mutate]") {
    test::program program;
    std::vector<hob::call_handle> handles(4);
    std::string log;
    auto main = [&]() -> hob::task<> {
        handles[0] = loop().call_soon([&] {
            log.push_back('0');
            CHECK_FALSE(handles[0].cancel()); // it runs: too late
            CHECK(handles[1].cancel());
            CHECK(handles[3].cancel());
            handles[2] = loop().call_soon([&] { log.push_back('x'); });
            handles.push_back(loop().call_soon([&] { log.push_back('y'); }));
        });
        handles[1] = loop().call_soon([&] { log.push_back('1'); });
        handles[2] = loop().call_soon([&] { log.push_back('2'); });
        handles[3] = loop().call_soon([&] { log.push_back('3'); });
        co_await test::settle();
        handles.clear();
    };
    program.run(main());
    CHECK(log == "02xy");
}

TEST_CASE("a callback may drop its own handle, whose function outlives the call",
          "[destroy-in-cb]") {
    test::program program;
    auto handle = std::make_unique<hob::call_handle>();
    int alive = 0;
    bool ran = false;
    auto main = [&]() -> hob::task<> {
        *handle = loop().call_soon([&, token = test::counted(alive)] {
            handle.reset();
            CHECK(alive == 1);
            ran = true;
        });
        co_await test::settle();
        CHECK(alive == 0);
    };
    program.run(main());
    CHECK(ran);
}

TEST_CASE("an exception in a callback is reported, and the others of the turn still run",
          "[callback-exc]") {
    test::program program;
    int runs = 0;
    auto main = [&]() -> hob::task<> {
        loop().call_soon([&] { ++runs; });
        loop().call_soon([] { throw std::runtime_error("soon"); });
        loop().call_soon([&] { ++runs; });
        loop().call_later(0s, [] { throw 42; });
        loop().call_later(0s, [&] { ++runs; });
        REQUIRE(loop().call_soon_threadsafe([] { throw std::runtime_error("threadsafe"); }));
        REQUIRE(loop().call_soon_threadsafe([&] { ++runs; }));
        co_await hob::sleep_for(1ms);
        co_await test::settle();
    };
    program.run(main());
    CHECK(runs == 4);
    REQUIRE(program.reports.size() == 3);
    std::vector<std::string> found;
    for (const auto& report : program.reports) {
        found.push_back(hob::exception_group::describe(report.exception));
        CHECK(report.task.empty());
    }
    std::sort(found.begin(), found.end());
    CHECK(found ==
          std::vector<std::string>{"an exception that is no std::exception", "soon", "threadsafe"});
}

TEST_CASE("a fatal exception in a callback leaves run", "[fatal-exc]") {
    test::program program;
    bool later_ran = false;
    gate never;
    auto main = [&]() -> hob::task<> {
        loop().call_soon([] { throw hob::fatal_error("end"); });
        loop().call_soon([&] { later_ran = true; });
        co_await never.wait();
    };
    CHECK_THROWS_WITH(program.run(main()), "end");
    CHECK_FALSE(later_ran);
    // What was left of the turn runs when the loop does.
    program.run(test::settle());
    CHECK(later_ran);
    CHECK(program.reports.empty());
    program.runner().close();
}

TEST_CASE("at most 256 completions are taken before ready tasks run", "[batch-bound]") {
    const auto mode = GENERATE(hob::ring_mode::defer_taskrun, hob::ring_mode::plain);
    test::program program(mode);
    int since = 0;
    int most = 0;
    int done = 0;
    constexpr int count = 3000;
    auto operation = [&]() -> hob::task<> {
        co_await test::nop();
        ++since;
        ++done;
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        for (int index = 0; index != count; ++index)
            group.start(operation());
        while (done != count) {
            co_await hob::yield();
            most = std::max(most, since);
            since = 0;
        }
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    program.run(main());
    CHECK(most <= 256);
}

TEST_CASE("call_soon_threadsafe runs things in the order of one thread's calls", "[fifo]") {
    test::program program;
    std::vector<int> order;
    constexpr int count = 1000;
    auto main = [&]() -> hob::task<> {
        const hob::loop_handle handle = loop().get_handle();
        std::thread sender([&] {
            for (int number = 0; number != count; ++number)
                if (!handle.call_soon_threadsafe([&order, number] { order.push_back(number); }))
                    return;
        });
        // Sleeps in the kernel in between.
        while (order.size() != count)
            co_await hob::sleep_for(1ms);
        sender.join();
    };
    program.run(main());
    bool sorted = true;
    for (int number = 0; number != count; ++number)
        sorted = sorted && order[static_cast<std::size_t>(number)] == number;
    CHECK(sorted);
}

TEST_CASE("in debug mode a step that blocks the loop is reported with its task's name",
          "[slow-report]") {
    test::program program;
    program.loop().set_slow_step(1us);
    auto blocking = []() -> hob::task<> {
        const auto end = hob::detail::clock::now() + 50us;
        while (hob::detail::clock::now() < end) {
        }
        co_return;
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(blocking());
        handle.set_name("blocking task");
        co_await handle;
    };
    program.run(main());
    CHECK(program.reports.empty());
    program.loop().set_debug(true);
    CHECK(program.loop().get_debug());
    program.run(main());
    const auto found =
        std::find_if(program.reports.begin(), program.reports.end(),
                     [](const auto& report) { return report.task == "blocking task"; });
    REQUIRE(found != program.reports.end());
    CHECK_THAT(found->message, test::contains("blocked the loop"));
    CHECK(found->exception == nullptr);
}
