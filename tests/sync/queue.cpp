// SPDX-License-Identifier: MIT
// Queues: the order of items and tasks, cancellation, join and shutdown.
#include "../catch.hpp"
#include "support/program.hpp"

#include <hob/sync/queue.hpp>

#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace {

template <class Queue> hob::task<> get_and_note(Queue& queue, std::vector<int>& got) {
    try {
        got.push_back(co_await queue.get());
    } catch (const hob::queue_shut_down&) {
        got.push_back(-1);
    }
}
template <class Queue> hob::task<> put_and_note(Queue& queue, int item, std::vector<int>& put) {
    try {
        co_await queue.put(item);
        put.push_back(item);
    } catch (const hob::queue_shut_down&) {
        put.push_back(-item);
    }
}
/// Gets without waiting what there is.
template <class Queue> std::vector<int> drain(Queue& queue) {
    std::vector<int> items;
    while (auto item = queue.try_get())
        items.push_back(*item);
    return items;
}
using numbers = std::vector<int>;

} // namespace

TEST_CASE("items come out in the order in which they were put", "[q-fifo]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::queue<int> queue(hob::unbounded);
        // So many that the ring grows while it is wrapped around.
        for (int item = 0; item != 10; ++item)
            co_await queue.put(item);
        for (int item = 0; item != 7; ++item)
            CHECK(co_await queue.get() == item);
        for (int item = 10; item != 100; ++item)
            co_await queue.put(item);
        CHECK(queue.size() == 93);
        for (int item = 7; item != 100; ++item)
            CHECK(co_await queue.get() == item);
        CHECK(queue.empty());
        CHECK(queue.capacity() == std::numeric_limits<std::size_t>::max());
    };
    program.run(main());
}

TEST_CASE("those who wait for an item are served in their order", "[q-fifo]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::queue<int> queue(2);
        std::array<numbers, 3> got;
        for (numbers& each : got)
            hob::create_task(get_and_note(queue, each));
        co_await test::settle();
        for (int item = 0; item != 3; ++item)
            CHECK(queue.try_put(item));
        // Each item has its owner before that has run.
        CHECK_FALSE(queue.try_get());
        co_await test::settle();
        CHECK(got == std::array<numbers, 3>{numbers{0}, numbers{1}, numbers{2}});
    };
    program.run(main());
}

TEST_CASE("a full queue takes the items of those who wait in their order", "[q-fifo][q-no-idle]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::queue<int> queue(2);
        numbers put;
        for (int item = 1; item != 6; ++item)
            hob::create_task(put_and_note(queue, item, put));
        co_await test::settle();
        CHECK(put == numbers{1, 2});
        CHECK_FALSE(queue.try_put(9));
        CHECK(co_await queue.get() == 1);
        // The room is taken already.
        CHECK(queue.size() == 2);
        CHECK_FALSE(queue.try_put(9));
        co_await test::settle();
        CHECK(put == numbers{1, 2, 3});
        CHECK(drain(queue) == numbers{2, 3, 4, 5});
        co_await test::settle();
        CHECK(put == numbers{1, 2, 3, 4, 5});
    };
    program.run(main());
}

TEST_CASE("a cancelled get takes no item", "[q-get-cancel][waiter-unlink]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::queue<int> queue(4);
        numbers lost;
        numbers got;
        std::vector<hob::task_handle<>> cancelled;
        for (int count = 0; count != 3; ++count)
            cancelled.push_back(hob::create_task(get_and_note(queue, lost)));
        auto waiting = hob::create_task(get_and_note(queue, got));
        co_await test::settle();
        for (const auto& each : cancelled)
            each.cancel();
        co_await hob::yield();
        co_await queue.put(1);
        co_await queue.put(2);
        co_await waiting;
        CHECK(lost.empty());
        CHECK(got == numbers{1});
        CHECK(drain(queue) == numbers{2});
    };
    program.run(main());
}

TEST_CASE("a get that has its item keeps it though it is cancelled",
          "[q-get-cancel][completion-wins]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::queue<int> queue(4);
        for (const bool cancel_first : {false, true}) {
            numbers got;
            auto woken = hob::create_task(get_and_note(queue, got));
            co_await test::settle();
            if (cancel_first)
                woken.cancel();
            co_await queue.put(1);
            woken.cancel();
            co_await test::settle();
            CHECK(got == numbers{1});
            CHECK(queue.empty());
        }
    };
    program.run(main());
}

TEST_CASE("a cancelled put inserts nothing, destroys its item and frees its place",
          "[q-put-cancel][waiter-unlink]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::queue<std::shared_ptr<int>> queue(1);
        co_await queue.put(std::make_shared<int>(1));
        auto item = std::make_shared<int>(2);
        const std::weak_ptr<int> watch = item;
        auto put = [&](std::shared_ptr<int> what) -> hob::task<> { co_await queue.put(what); };
        auto cancelled = hob::create_task(put(std::move(item)));
        auto waiting = hob::create_task(put(std::make_shared<int>(3)));
        co_await test::settle();
        CHECK_FALSE(watch.expired());
        cancelled.cancel();
        co_await test::settle();
        CHECK(watch.expired());
        CHECK(queue.unfinished() == 1);
        CHECK(*co_await queue.get() == 1);
        CHECK(*co_await queue.get() == 3);
        CHECK_FALSE(queue.try_get());
        co_await waiting;
    };
    program.run(main());
}

TEST_CASE("a put that was accepted stays so though its task is cancelled",
          "[q-put-cancel][completion-wins]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::queue<int> queue(1);
        numbers put;
        co_await queue.put(1);
        auto woken = hob::create_task(put_and_note(queue, 2, put));
        co_await test::settle();
        CHECK(co_await queue.get() == 1);
        woken.cancel();
        co_await test::settle();
        CHECK(put == numbers{2});
        CHECK(drain(queue) == numbers{2});
    };
    program.run(main());
}

TEST_CASE("a queue without capacity hands items over", "[q-cap]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::queue<int> queue(0);
        numbers put;
        numbers got;
        CHECK_FALSE(queue.try_put(1));
        CHECK_FALSE(queue.try_get());
        hob::create_task(put_and_note(queue, 1, put));
        hob::create_task(put_and_note(queue, 2, put));
        co_await test::settle();
        CHECK(put.empty());
        CHECK(queue.empty());
        CHECK(queue.unfinished() == 0);
        CHECK(co_await queue.get() == 1);
        CHECK(queue.try_get() == 2);
        co_await test::settle();
        CHECK(put == numbers{1, 2});
        hob::create_task(get_and_note(queue, got));
        co_await test::settle();
        CHECK(queue.try_put(3));
        CHECK_FALSE(queue.try_put(4));
        co_await test::settle();
        CHECK(got == numbers{3});
        CHECK(queue.unfinished() == 3);
    };
    program.run(main());
}

TEST_CASE("a lifo queue gives the latest item, a priority queue the least", "[q-fifo]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::lifo_queue<int> stack(hob::unbounded);
        hob::priority_queue<int> least(hob::unbounded);
        hob::priority_queue<int, std::greater<>> greatest(100);
        for (const int item : {3, 1, 4, 1, 5, 9, 2, 6}) {
            co_await stack.put(item);
            co_await least.put(item);
            co_await greatest.put(item);
        }
        CHECK(drain(stack) == numbers{6, 2, 9, 5, 1, 4, 1, 3});
        CHECK(drain(least) == numbers{1, 1, 2, 3, 4, 5, 6, 9});
        CHECK(drain(greatest) == numbers{9, 6, 5, 4, 3, 2, 1, 1});
    };
    program.run(main());
}

TEST_CASE("equal items of a priority queue keep their order", "[q-fifo]") {
    const auto by_length = [](const std::string& left, const std::string& right) {
        return left.size() < right.size();
    };
    hob::priority_queue<std::string, decltype(by_length)> queue(hob::unbounded, by_length);
    for (const char* item : {"bb", "a", "cc", "d", "aa", "b", "dd", "c"})
        CHECK(queue.try_put(item));
    std::string order;
    while (auto item = queue.try_get())
        order += *item + " ";
    CHECK(order == "a d b c bb cc aa dd ");
}

TEST_CASE("what waits for room in a priority queue is ordered when it gets in", "[q-no-idle]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::priority_queue<int> queue(1);
        numbers put;
        for (const int item : {5, 7, 1})
            hob::create_task(put_and_note(queue, item, put));
        co_await test::settle();
        CHECK(drain(queue) == numbers{5, 7, 1});
        co_await test::settle();
        CHECK(put == numbers{5, 7, 1});
    };
    program.run(main());
}

TEST_CASE("join waits until the work on every item is done", "[q-join]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::queue<int> queue(1);
        co_await queue.join();
        CHECK_THROWS_AS(queue.task_done(), hob::usage_error);
        numbers put;
        bool joined = false;
        auto join = [&]() -> hob::task<> {
            co_await queue.join();
            joined = true;
        };
        hob::create_task(put_and_note(queue, 1, put));
        hob::create_task(put_and_note(queue, 2, put));
        co_await test::settle();
        auto cancelled = hob::create_task(join());
        auto joining = hob::create_task(join());
        co_await test::settle();
        cancelled.cancel();
        // An item that waits for room counts once it is in.
        CHECK(queue.unfinished() == 1);
        CHECK(co_await queue.get() == 1);
        CHECK(queue.unfinished() == 2);
        queue.task_done();
        CHECK(co_await queue.get() == 2);
        co_await test::settle();
        CHECK_FALSE(joined);
        queue.task_done();
        co_await joining;
        CHECK(cancelled.cancelled());
        CHECK(queue.unfinished() == 0);
        CHECK_THROWS_AS(queue.task_done(), hob::usage_error);
    };
    program.run(main());
}

TEST_CASE("shutting an empty queue down refuses gets and puts", "[q-shutdown]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::queue<int> queue(1);
        numbers got;
        hob::create_task(get_and_note(queue, got));
        hob::create_task(get_and_note(queue, got));
        co_await test::settle();
        queue.shutdown();
        CHECK(queue.is_shut_down());
        co_await test::settle();
        CHECK(got == numbers{-1, -1});
        CHECK_THROWS_AS(co_await queue.get(), hob::queue_shut_down);
        CHECK_THROWS_AS(co_await queue.put(1), hob::queue_shut_down);
        CHECK_THROWS_AS(queue.try_get(), hob::queue_shut_down);
        CHECK_THROWS_AS(queue.try_put(1), hob::queue_shut_down);
        queue.shutdown();
        co_await queue.join();
    };
    program.run(main());
}

TEST_CASE("a queue that is shut down gives what it has, and refuses those who wait for room",
          "[q-shutdown]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::queue<int> queue(2);
        numbers put;
        for (int item = 1; item != 5; ++item)
            hob::create_task(put_and_note(queue, item, put));
        co_await test::settle();
        queue.shutdown();
        co_await test::settle();
        CHECK(put == numbers{1, 2, -3, -4});
        CHECK(co_await queue.get() == 1);
        CHECK(queue.try_get() == 2);
        CHECK_THROWS_AS(co_await queue.get(), hob::queue_shut_down);
        CHECK(queue.unfinished() == 2);
        queue.task_done();
        queue.task_done();
        co_await queue.join();
    };
    program.run(main());
}

TEST_CASE("an immediate shutdown drops the items and counts them as done", "[q-shutdown]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::queue<std::shared_ptr<int>> queue(4);
        const auto item = std::make_shared<int>(1);
        for (int count = 0; count != 3; ++count)
            co_await queue.put(item);
        const auto in_work = co_await queue.get();
        auto join = [&]() -> hob::task<> { co_await queue.join(); };
        auto joining = hob::create_task(join());
        co_await test::settle();
        queue.shutdown(true);
        CHECK(item.use_count() == 2);
        CHECK(queue.empty());
        CHECK(queue.unfinished() == 1);
        CHECK_THROWS_AS(co_await queue.get(), hob::queue_shut_down);
        co_await test::settle();
        CHECK_FALSE(joining.done());
        queue.task_done();
        co_await joining;
    };
    program.run(main());
}

TEST_CASE("an immediate shutdown of what nobody works on wakes who joins", "[q-shutdown]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::queue<int> queue(4);
        CHECK(queue.try_put(1));
        auto join = [&]() -> hob::task<> { co_await queue.join(); };
        auto joining = hob::create_task(join());
        co_await test::settle();
        queue.shutdown();
        co_await test::settle();
        CHECK_FALSE(joining.done());
        queue.shutdown(true);
        co_await joining;
    };
    program.run(main());
}

TEST_CASE("items may be move-only, aggregates, or made on the way in", "[q-fifo]") {
    class job {
      public:
        std::string name;
        int priority;
    };
    test::program program;
    auto main = []() -> hob::task<> {
        hob::queue<std::unique_ptr<int>> pointers(0);
        auto put = [&]() -> hob::task<> { co_await pointers.put(std::make_unique<int>(5)); };
        auto putting = hob::create_task(put());
        CHECK(*co_await pointers.get() == 5);
        co_await putting;

        hob::queue<job> jobs(2);
        const job named{"a name too long for a small string", 1};
        co_await jobs.put(named);
        CHECK((co_await jobs.get()).name == named.name);

        hob::queue<std::string> lines(2);
        co_await lines.put("hello");
        std::string line = "a line too long for a small string";
        co_await lines.put(std::move(line));
        line = "kept";
        CHECK_FALSE(lines.try_put(std::move(line)));
        CHECK(line == "kept");
        CHECK(co_await lines.get() == "hello");
        CHECK((co_await lines.get()).size() == 34);
    };
    program.run(main());
}

TEST_CASE("making an item may use the queue that it is for", "[q-cap]") {
    class item {
      public:
        explicit item(std::string word) : text(std::move(word)) {}
        item(hob::queue<item>& queue, int count) : text("outer") {
            while (count-- != 0)
                CHECK(queue.try_put(item("inner")));
        }
        explicit item(const std::function<item()>& make) : item(make()) {}
        std::string text;
    };
    hob::queue<item> queue(16);
    const int inner = GENERATE(15, 16);
    const std::function<item()> make = [&] { return item(queue, inner); };
    CHECK(queue.try_put(make) == (inner == 15));
    CHECK(queue.size() == 16);
    int found = 0;
    while (const auto each = queue.try_get())
        found += each->text == "inner";
    CHECK(found == inner);
}
