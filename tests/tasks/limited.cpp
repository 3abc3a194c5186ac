// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/current_task.hpp>
#include <hob/executor/run_in_executor.hpp>
#include <hob/for_each_limited.hpp>
#include <hob/map_limited.hpp>
#include <hob/staggered_race.hpp>
#include <hob/sync/event.hpp>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using test::gate;

namespace {

/// An attempt that says when it starts and when it is destroyed.
class attempt_log {
  public:
    hob::task<int> attempt(int number, std::chrono::milliseconds time, bool fails) {
        const farewell at_end(*this, number);
        text += "+" + std::to_string(number) + "@" + std::to_string(now()) + " ";
        co_await hob::sleep_for(time);
        if (fails)
            throw std::runtime_error(std::to_string(number));
        co_return number;
    }
    [[nodiscard]] long now() const { return (hob::event_loop::current().time() - start) / 1ms; }

    std::string text;
    hob::detail::time_point start;

  private:
    class farewell {
      public:
        farewell(attempt_log& log, int number) noexcept : log_(log), number_(number) {}
        farewell(const farewell&) = delete;
        farewell& operator=(const farewell&) = delete;
        ~farewell() { log_.text += "-" + std::to_string(number_) + " "; }

      private:
        attempt_log& log_;
        int number_;
    };
};

} // namespace

TEST_CASE("a staggered race starts the next attempt after the delay or a failure", "[staggered]") {
    attempt_log log;
    test::program program(test::simulated_loop());
    auto main = [&]() -> hob::task<> {
        log.start = hob::event_loop::current().time();
        std::vector<hob::task<int>> attempts;
        attempts.push_back(log.attempt(0, 5ms, true));
        attempts.push_back(log.attempt(1, 100ms, false));
        attempts.push_back(log.attempt(2, 30ms, false));
        attempts.push_back(log.attempt(3, 1ms, false));
        const auto winner = co_await hob::staggered_race(40ms, std::move(attempts));
        CHECK(winner.index == 2);
        CHECK(winner.value == 2);
        CHECK(log.now() == 75);
        // The losers have ended, and the last one never began.
        CHECK(log.text == "+0@0 -0 +1@5 +2@45 -2 -1 ");
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("an attempt whose turn does not come was not forgotten", "[staggered][never-awaited]") {
    test::program program(test::any_loop());
    program.loop().set_debug(true);
    auto main = [&]() -> hob::task<> {
        std::vector<hob::task<int>> attempts;
        for (int number = 0; number != 3; ++number)
            attempts.push_back(test::value_now(number));
        const auto winner = co_await hob::staggered_race(1h, std::move(attempts));
        CHECK(winner.index == 0);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("attempts that win in one turn leave one winner", "[staggered]") {
    gate open;
    int waiting = 0;
    test::program program(test::any_loop());
    auto wait = [&]() -> hob::task<int> {
        if (++waiting == 3)
            hob::event_loop::current().call_soon([&] { open.open(); });
        co_await open.wait();
        co_return 0;
    };
    auto main = [&]() -> hob::task<> {
        std::vector<hob::task<int>> attempts;
        for (int number = 0; number != 3; ++number)
            attempts.push_back(wait());
        const auto winner = co_await hob::staggered_race(0ms, std::move(attempts));
        CHECK(winner.index == 0);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a staggered race in which all fail throws all, and one of none is refused",
          "[staggered]") {
    attempt_log log;
    test::program program(test::simulated_loop());
    auto main = [&]() -> hob::task<> {
        log.start = hob::event_loop::current().time();
        std::vector<hob::task<int>> attempts;
        attempts.push_back(log.attempt(0, 1ms, true));
        attempts.push_back(log.attempt(1, 2ms, true));
        std::vector<std::string> messages;
        try {
            co_await hob::staggered_race(1h, std::move(attempts));
        } catch (const hob::exception_group& group) {
            messages = test::messages(group);
        }
        CHECK(messages == std::vector<std::string>{"0", "1"});
        CHECK(log.text == "+0@0 -0 +1@1 -1 ");
        std::vector<hob::task<int>> none;
        CHECK_THROWS_AS(co_await hob::staggered_race(1h, std::move(none)), hob::usage_error);
    };
    program.run(main());
}

TEST_CASE("cancelling a staggered race reaches every attempt", "[staggered]") {
    attempt_log log;
    test::program program(test::simulated_loop());
    auto main = [&]() -> hob::task<> {
        log.start = hob::event_loop::current().time();
        auto racing = [&]() -> hob::task<> {
            std::vector<hob::task<int>> attempts;
            for (int number = 0; number != 3; ++number)
                attempts.push_back(log.attempt(number, 1h, false));
            co_await hob::staggered_race(10ms, std::move(attempts));
            FAIL("went on");
        };
        const auto task = hob::create_task(racing());
        co_await hob::sleep_for(15ms);
        task.cancel();
        co_await test::settle();
        CHECK(task.cancelled());
        CHECK(log.text == "+0@0 +1@10 -0 -1 ");
        CHECK(hob::detail::reactor::here().timers().empty());
    };
    program.run(main());
}

TEST_CASE("for_each_limited runs a task for each element, so many at a time",
          "[for-each-limited]") {
    test::program program(test::simulated_loop());
    auto main = [&]() -> hob::task<> {
        int running = 0;
        int most = 0;
        std::vector<int> elements{5, 1, 4, 2, 3, 6, 7};
        std::string order;
        auto work = [&](int& element) -> hob::task<> {
            most = std::max(most, ++running);
            co_await hob::sleep_for(std::chrono::milliseconds(element));
            order += std::to_string(element);
            element = -element;
            --running;
        };
        const auto before = hob::event_loop::current().time();
        co_await hob::for_each_limited(3, elements, work);
        CHECK(most == 3);
        CHECK(running == 0);
        CHECK(std::ranges::all_of(elements, [](int each) { return each < 0; }));
        CHECK(order.size() == 7);
        CHECK(hob::event_loop::current().time() - before < 28ms);
    };
    program.run(main());
}

TEST_CASE("for_each_limited takes the next element only when there is a place",
          "[for-each-limited]") {
    std::vector<gate> gates(4);
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        int taken = 0;
        auto lazy = std::views::iota(0, 4) | std::views::transform([&](int each) {
                        ++taken;
                        return each;
                    });
        auto work = [&](int each) -> hob::task<int> {
            co_await gates[static_cast<std::size_t>(each)].wait();
            co_return each;
        };
        auto all = [&]() -> hob::task<> { co_await hob::for_each_limited(2, lazy, work); };
        const auto task = hob::create_task(all());
        co_await test::settle();
        CHECK(taken == 2);
        gates[1].open();
        co_await test::settle();
        CHECK(taken == 3);
        for (gate& each : gates)
            each.open();
        co_await task;
        CHECK(taken == 4);
    };
    program.run(main());
}

TEST_CASE("a failure in for_each_limited cancels the others and takes no more elements",
          "[for-each-limited]") {
    gate never;
    int alive = 0;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const std::vector<int> elements{0, 1, 2, 3};
        int begun = 0;
        auto work = [&](int each) -> hob::task<> {
            const test::counted self(alive);
            ++begun;
            if (each == 1)
                throw std::runtime_error("one");
            co_await never.wait();
        };
        std::vector<std::string> messages;
        try {
            co_await hob::for_each_limited(2, elements, work);
        } catch (const hob::exception_group& group) {
            messages = test::messages(group);
        }
        CHECK(messages == std::vector<std::string>{"one"});
        CHECK(alive == 0);
        CHECK(begun <= 3);
        // The callable itself may throw, too.
        auto throwing = [](int) -> hob::task<> { throw std::logic_error("no task"); };
        CHECK_THROWS_AS(co_await hob::for_each_limited(2, elements, throwing),
                        hob::exception_group);
        CHECK_THROWS_AS(hob::for_each_limited(0, elements, work), hob::usage_error);
        co_await hob::for_each_limited(1, std::vector<int>(), work);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("cancelling for_each_limited stops its tasks before it", "[for-each-limited]") {
    gate never;
    int alive = 0;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        auto work = [&](int) -> hob::task<> {
            const test::counted self(alive);
            co_await never.wait();
        };
        const std::vector<int> elements{1, 2, 3};
        auto all = [&]() -> hob::task<> {
            co_await hob::for_each_limited(2, elements, work);
            FAIL("went on");
        };
        const auto task = hob::create_task(all());
        co_await test::settle();
        CHECK(alive == 2);
        task.cancel();
        co_await test::settle();
        CHECK(task.cancelled());
        CHECK(alive == 0);
    };
    program.run(main());
}

TEST_CASE("for_each_limited runs operations as well", "[for-each-limited]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        std::vector<hob::event> events(3);
        const auto waiting = hob::create_task(
            hob::for_each_limited(2, events, [](hob::event& each) { return each.wait(); }));
        for (hob::event& each : events) {
            co_await test::settle();
            CHECK_FALSE(waiting.done());
            each.set();
        }
        co_await waiting;
    };
    program.run(main());
}

TEST_CASE("map_limited gives the values in the order of the elements, whoever ends first",
          "[map-limited]") {
    test::program program(test::simulated_loop());
    auto main = [&]() -> hob::task<> {
        int running = 0;
        int most = 0;
        std::string order;
        auto work = [&](int each) -> hob::task<std::unique_ptr<int>> {
            most = std::max(most, ++running);
            co_await hob::sleep_for(std::chrono::milliseconds(each));
            order += std::to_string(each);
            --running;
            co_return std::make_unique<int>(10 * each);
        };
        const std::vector<int> elements{5, 1, 4, 2};
        const auto values = co_await hob::map_limited(3, elements, work);
        CHECK(most == 3);
        CHECK(order == "1245");
        std::vector<int> numbers;
        for (const auto& each : values)
            numbers.push_back(*each);
        CHECK(numbers == std::vector<int>{50, 10, 40, 20});
        CHECK((co_await hob::map_limited(1, std::vector<int>(), work)).empty());
    };
    program.run(main());
}

TEST_CASE("map_limited over a lazy range of jobs", "[map-limited]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const auto square = [](int each) {
            return hob::to_thread([](int number) { return number * number; }, each);
        };
        const auto squares = co_await hob::map_limited(2, std::views::iota(0, 6), square);
        CHECK(squares == std::vector<int>{0, 1, 4, 9, 16, 25});
    };
    program.run(main());
}

TEST_CASE("a failure in map_limited cancels the others, and so does its own cancellation",
          "[map-limited]") {
    gate never;
    int alive = 0;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const std::vector<int> elements{0, 1, 2, 3};
        auto work = [&](int each) -> hob::task<int> {
            const test::counted self(alive);
            if (each == 2)
                throw std::runtime_error("two");
            co_await never.wait();
            co_return each;
        };
        CHECK_THROWS_AS(co_await hob::map_limited(3, elements, work), hob::exception_group);
        CHECK(alive == 0);
        const auto waiting = hob::create_task(hob::map_limited(2, elements, work));
        co_await test::settle();
        CHECK(alive == 2);
        waiting.cancel();
        co_await test::settle();
        CHECK(waiting.cancelled());
        CHECK(alive == 0);
        CHECK_THROWS_AS(hob::map_limited(0, elements, work), hob::usage_error);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a cancellation that comes with a free place is no success", "[limited]") {
    // The children end, and some turns later the task is cancelled that waits for all elements.
    const int turns = GENERATE(0, 1, 2, 3);
    const bool maps = GENERATE(false, true);
    INFO(turns << " turns");
    test::program program;
    auto main = [&]() -> hob::task<> {
        hob::event open;
        int done = 0;
        bool went_on = false;
        auto visit = [&](int) -> hob::task<> {
            co_await open.wait();
            ++done;
        };
        auto map = [&](int element) -> hob::task<int> {
            co_await open.wait();
            ++done;
            co_return element;
        };
        const std::vector<int> elements(10);
        auto all = [&]() -> hob::task<> {
            if (maps)
                co_await hob::map_limited(3, elements, map);
            else
                co_await hob::for_each_limited(3, elements, visit);
            went_on = true;
        };
        const auto task = hob::create_task(all());
        co_await test::settle();
        open.set();
        for (int turn = 0; turn != turns; ++turn)
            co_await hob::yield();
        task.cancel();
        bool stopped = false;
        try {
            co_await task;
        } catch (const hob::cancelled_error&) {
            stopped = true;
        }
        CHECK(stopped != went_on);
        CHECK((stopped || done == 10));
    };
    program.run(main());
}

TEST_CASE("elements whose turn does not come after a failure were not forgotten",
          "[limited][never-awaited]") {
    const bool maps = GENERATE(false, true);
    test::program program(test::any_loop());
    program.loop().set_debug(true);
    const std::vector<int> elements{0, 1, 2};
    int began = 0;
    auto visit = [&](int element) -> hob::task<> {
        ++began;
        if (element == 0)
            throw std::runtime_error("the first one");
        co_await test::settle();
    };
    auto map = [&](int element) -> hob::task<int> {
        co_await visit(element);
        co_return element;
    };
    auto main = [&]() -> hob::task<> {
        if (maps)
            co_await hob::map_limited(3, elements, map);
        else
            co_await hob::for_each_limited(3, elements, visit);
    };
    CHECK_THROWS_AS(program.run(main()), hob::exception_group);
    CHECK(began == 1);
    CHECK(program.reports.empty());
}

TEST_CASE("a limit may be the largest number", "[limited]") {
    test::program program;
    auto main = []() -> hob::task<> {
        int sum = 0;
        auto add = [&](int element) -> hob::task<> {
            sum += element;
            co_return;
        };
        const std::vector<int> elements{1, 2, 3};
        co_await hob::for_each_limited(std::numeric_limits<std::size_t>::max(), elements, add);
        CHECK(sum == 6);
    };
    program.run(main());
}

TEST_CASE("map_limited has no value for an element that is cancelled on its own", "[limited]") {
    test::program program;
    hob::any_task_handle second;
    auto name = [&](int element) -> hob::task<std::string> {
        if (element == 2)
            second = hob::current_task();
        co_await test::settle();
        co_return std::string(40, 'x');
    };
    auto cancel_second = [&]() -> hob::task<> {
        co_await hob::yield();
        second.cancel();
    };
    auto main = [&]() -> hob::task<> {
        const std::vector<int> elements{1, 2, 3};
        const auto cancelling = hob::create_task(cancel_second());
        bool was_told = false;
        try {
            co_await hob::map_limited(3, elements, name);
        } catch (const hob::cancelled_error&) {
            was_told = true;
        }
        CHECK(was_told);
        co_await cancelling;
    };
    program.run(main());
    second = {};
}
