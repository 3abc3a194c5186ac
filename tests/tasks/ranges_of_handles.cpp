// SPDX-License-Identifier: MIT
// gather, gather_outcomes and race over vectors of what is no task, handles first of all.
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/gather.hpp>
#include <hob/gather_outcomes.hpp>
#include <hob/race.hpp>
#include <hob/sync/future.hpp>
#include <hob/sync/queue.hpp>
#include <hob/timeout.hpp>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

using namespace std::chrono_literals;
using test::gate;
using test::make_pointer;

namespace {

hob::task<std::string> say(const char* what) {
    co_await hob::yield();
    co_return what;
}

} // namespace

TEST_CASE("gather joins the tasks behind a vector of handles, which keep their values",
          "[gather-order]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        std::vector<hob::task_handle<std::string>> handles;
        for (const char* each : {"a", "b", "c"})
            handles.push_back(hob::create_task(say(each)));
        const std::vector<std::string> values = co_await hob::gather(handles);
        CHECK(values == std::vector<std::string>{"a", "b", "c"});
        CHECK(handles[1].result() == "b");
        const std::vector<std::string> again = co_await hob::gather(std::move(handles));
        CHECK(again == values);
    };
    program.run(main());
}

TEST_CASE("gather moves values out of a vector of handles that is given away", "[gather-order]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        std::vector<hob::task_handle<std::unique_ptr<int>>> handles;
        for (const int each : {1, 2})
            handles.push_back(hob::create_task(make_pointer(each)));
        const auto values = co_await hob::gather(std::move(handles));
        CHECK(*values[0] == 1);
        CHECK(*values[1] == 2);
    };
    program.run(main());
}

TEST_CASE("cancelling a gather over handles leaves their tasks running", "[cancel-chain]") {
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const std::vector<hob::task_handle<int>> handles{
            hob::create_task(test::value_after(open, 1)),
            hob::create_task(test::value_after(open, 2))};
        const auto gathering = hob::create_task(hob::gather(handles));
        co_await test::settle();
        gathering.cancel();
        co_await test::settle();
        CHECK(gathering.cancelled());
        CHECK_FALSE(handles[0].done());
        open.open();
        const int second = co_await handles[1];
        CHECK(second == 2);
    };
    program.run(main());
}

TEST_CASE("gather_outcomes collects how cancelled tasks ended: the end of asyncio's workers",
          "[gather-collect][gather-child-cancel]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        hob::queue<int> work(hob::unbounded);
        int sum = 0;
        auto worker = [&]() -> hob::task<> {
            for (;;) {
                sum += co_await work.get();
                work.task_done();
            }
        };
        for (const int each : {1, 2, 3, 4})
            co_await work.put(each);
        std::vector<hob::task_handle<>> workers;
        for (int number = 0; number != 3; ++number)
            workers.push_back(hob::create_task(worker()));
        co_await work.join();
        CHECK(sum == 10);
        for (const auto& each : workers)
            each.cancel();
        const auto outcomes = co_await hob::gather_outcomes(workers);
        CHECK(outcomes.size() == 3);
        for (const auto& each : outcomes)
            CHECK_FALSE(each.has_value());
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a race over operations takes from the one that is first", "[race]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        hob::queue<int> first(1);
        hob::queue<int> second(1);
        std::vector<decltype(first.get())> gets;
        gets.push_back(first.get());
        gets.push_back(second.get());
        co_await second.put(7);
        const auto winner = co_await hob::race(std::move(gets));
        CHECK(winner.index == 1);
        CHECK(winner.value == 7);
    };
    program.run(main());
}

TEST_CASE("gather waits for a vector of operations", "[gather-order]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        std::vector<decltype(hob::sleep_for(1ms))> sleeps(3, hob::sleep_for(1ms));
        co_await hob::gather(std::move(sleeps));
        std::vector<hob::task_handle<>> none;
        co_await hob::gather(none);
    };
    program.run(main());
}

TEST_CASE("race and try_timeout give copies of the values of named handles and futures",
          "[race][timeout]") {
    test::program program(test::any_loop());
    auto main = []() -> hob::task<> {
        const auto first = hob::create_task(test::value_now(1));
        const auto second = hob::create_task(test::value_now(2));
        const std::variant<int, int> winner = co_await hob::race(first, second);
        CHECK(winner.index() == 0);
        CHECK(std::get<0>(winner) == 1);
        const std::optional<int> in_time = co_await hob::try_timeout(1s, second);
        CHECK(in_time == 2);
        hob::future<std::string> text;
        text.set_result("text");
        const std::optional<std::string> copy = co_await hob::try_timeout(1s, text);
        CHECK(copy == "text");
        const std::string& kept = co_await text;
        CHECK(kept == "text");
    };
    program.run(main());
}
