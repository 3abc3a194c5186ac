// SPDX-License-Identifier: MIT
// What all primitives do alike: their loop, their budget, their names, their end.
#include "../catch.hpp"
#include "support/child_process.hpp"
#include "support/program.hpp"

#include <hob/debug/task_dump.hpp>
#include <hob/sync/barrier.hpp>
#include <hob/sync/channel.hpp>
#include <hob/sync/condition_variable.hpp>
#include <hob/sync/event.hpp>
#include <hob/sync/latch.hpp>
#include <hob/sync/mutex.hpp>
#include <hob/sync/queue.hpp>
#include <hob/sync/semaphore.hpp>

#include <functional>
#include <memory>
#include <string>
#include <thread>

namespace {

/// One of each kind. Every one of them makes who uses it wait.
class all_primitives {
  public:
    all_primitives() {
        if (!queue_full.try_put(1))
            FAIL("a new queue is full");
        auto ends = hob::channel<int>(1);
        sender = std::move(ends.first);
        receiver = std::move(ends.second);
    }

    hob::task<> wait_for_mutex() { const auto guard = co_await mutex.lock(); }
    hob::task<> wait_for_condition() {
        auto guard = co_await condition_mutex.lock();
        co_await condition.wait(guard);
    }
    hob::task<> wait_for_event() { co_await event.wait(); }
    hob::task<> wait_for_latch() { co_await latch.wait(); }
    hob::task<> wait_for_semaphore() { const auto permit = co_await semaphore.acquire(); }
    hob::task<> wait_for_barrier() { co_await barrier.arrive_and_wait(); }
    hob::task<> wait_for_item() { co_await queue.get(); }
    hob::task<> wait_for_room() { co_await queue_full.put(1); }
    hob::task<> wait_for_join() { co_await queue_full.join(); }
    hob::task<> wait_for_channel() { co_await receiver.receive(); }

    using wait = hob::task<> (all_primitives::*)();
    static constexpr std::array<wait, 10> waits = {
        &all_primitives::wait_for_mutex,     &all_primitives::wait_for_condition,
        &all_primitives::wait_for_event,     &all_primitives::wait_for_latch,
        &all_primitives::wait_for_semaphore, &all_primitives::wait_for_barrier,
        &all_primitives::wait_for_item,      &all_primitives::wait_for_room,
        &all_primitives::wait_for_join,      &all_primitives::wait_for_channel};

    hob::mutex mutex;
    hob::mutex_guard held = mutex.try_lock();
    hob::mutex condition_mutex;
    hob::condition_variable condition{condition_mutex};
    hob::event event;
    hob::latch latch{1};
    hob::semaphore semaphore{0};
    hob::barrier barrier{2};
    hob::queue<int> queue{1};
    hob::queue<int> queue_full{1};
    hob::channel_sender<int> sender;
    hob::channel_receiver<int> receiver;
};

} // namespace

TEST_CASE("a primitive that is used in a second loop refuses", "[prim-loop]") {
    test::program first;
    test::program second;
    all_primitives all;
    auto main = [&]() -> hob::task<> {
        for (const all_primitives::wait each : all_primitives::waits)
            hob::create_task((all.*each)());
        co_await test::settle();
    };
    first.run(main());
    auto misuse = [&]() -> hob::task<> {
        for (const all_primitives::wait each : all_primitives::waits)
            CHECK_THROWS_AS(co_await (all.*each)(), hob::usage_error);
        CHECK_THROWS_AS(all.held.unlock(), hob::usage_error);
        CHECK(all.held.owns_lock());
        CHECK_THROWS_AS(all.mutex.try_lock(), hob::usage_error);
        CHECK_THROWS_AS(all.event.set(), hob::usage_error);
        CHECK_FALSE(all.event.is_set());
        CHECK_THROWS_AS(all.latch.count_down(), hob::usage_error);
        CHECK(all.latch.count() == 1);
        CHECK_THROWS_AS(all.semaphore.release(), hob::usage_error);
        CHECK(all.semaphore.value() == 0);
        CHECK_THROWS_AS(all.barrier.abort(), hob::usage_error);
        CHECK_THROWS_AS(all.barrier.reset(), hob::usage_error);
        CHECK_THROWS_AS(all.queue.try_put(1), hob::usage_error);
        CHECK_THROWS_AS(all.queue_full.try_get(), hob::usage_error);
        CHECK_THROWS_AS(all.queue_full.shutdown(), hob::usage_error);
        CHECK_THROWS_AS(all.queue_full.task_done(), hob::usage_error);
        CHECK(all.queue_full.unfinished() == 1);
        CHECK_THROWS_AS(all.sender.try_send(1), hob::usage_error);
        CHECK_THROWS_AS(all.sender.close(), hob::usage_error);
        CHECK(all.sender);
    };
    second.run(misuse());
    // Those of the first loop still wait, and get what they wait for.
    auto end = [&]() -> hob::task<> {
        all.held.unlock();
        {
            const auto guard = co_await all.condition_mutex.lock();
            all.condition.notify_all();
        }
        all.event.set();
        all.latch.count_down();
        all.semaphore.release();
        co_await all.barrier.arrive_and_wait();
        co_await all.queue.put(1);
        co_await all.queue_full.get();
        co_await all.queue_full.get();
        all.queue_full.task_done();
        all.queue_full.task_done();
        co_await all.sender.send(1);
        co_await test::settle();
        CHECK(hob::dump_tasks().find("waiting") == std::string::npos);
    };
    first.run(end());
    CHECK(first.reports.empty());
}

TEST_CASE("without a loop a waiter is woken on the thread of its loop, and nowhere else",
          "[prim-loop]") {
    test::program program;
    hob::event event;
    hob::mutex mutex;
    hob::mutex_guard held = mutex.try_lock();
    bool passed = false;
    auto wait = [&]() -> hob::task<> {
        co_await event.wait();
        const auto guard = co_await mutex.lock();
        passed = true;
    };
    hob::task_handle<> waiting;
    auto main = [&]() -> hob::task<> {
        waiting = hob::create_task(wait());
        co_await test::settle();
    };
    program.run(main());
    std::thread([&] { CHECK_THROWS_AS(event.set(), hob::wrong_thread_error); }).join();
    CHECK_FALSE(event.is_set());
    event.set();
    auto settle = []() -> hob::task<> { co_await test::settle(); };
    program.run(settle());
    CHECK_FALSE(passed);
    held.unlock();
    program.run(settle());
    CHECK(passed);
}

TEST_CASE("a cancelled task leaves the line of whatever it waits for", "[waiter-unlink]") {
    test::program program;
    auto main = []() -> hob::task<> {
        all_primitives all;
        for (int count = 0; count != 3; ++count) {
            std::vector<hob::task_handle<>> waiting;
            for (const all_primitives::wait each : all_primitives::waits)
                waiting.push_back(hob::create_task((all.*each)()));
            co_await test::settle();
            for (const auto& each : waiting)
                each.cancel();
            co_await test::settle();
            for (const auto& each : waiting)
                CHECK(each.cancelled());
        }
        // The destructors see that nobody is left in a line.
    };
    program.run(main());
}

TEST_CASE("a loop that closes stops those who wait for primitives", "[waiter-unlink]") {
    all_primitives all;
    test::program program;
    auto main = [&]() -> hob::task<> {
        for (const all_primitives::wait each : all_primitives::waits)
            hob::create_task((all.*each)());
        co_await test::settle();
    };
    program.run(main());
}

TEST_CASE("a task that never has to wait yields all the same", "[budget]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::mutex mutex;
        hob::event event;
        event.set();
        hob::semaphore semaphore(1);
        hob::barrier barrier(1);
        hob::queue<int> queue(1);
        int turns = 0;
        bool ended = false;
        auto count_turns = [&]() -> hob::task<> {
            while (!ended) {
                ++turns;
                co_await hob::yield();
            }
        };
        auto counting = hob::create_task(count_turns());
        const auto yields = [&](auto once) -> hob::task<> {
            const int before = turns;
            for (int count = 0; count != 1000; ++count)
                co_await once();
            CHECK(turns - before >= 1000 / 128);
        };
        co_await yields([&]() { return event.wait(); });
        int sum = 0;
        for (int count = 0; count != 1000; ++count) {
            const auto guard = co_await mutex.lock();
            CHECK_FALSE(mutex.try_lock());
            const auto permit = co_await semaphore.acquire();
            CHECK(semaphore.value() == 0);
            CHECK(co_await barrier.arrive_and_wait() == 0);
            co_await queue.put(count);
            CHECK(queue.size() == 1);
            sum += co_await queue.get();
            CHECK(queue.empty());
        }
        CHECK(sum == 999 * 500);
        CHECK(turns >= 6000 / 128);
        ended = true;
        co_await counting;
    };
    program.run(main());
}

TEST_CASE("a cancelled task whose budget is spent is stopped without effect", "[budget]") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::mutex mutex;
        hob::queue<int> queue(1000);
        int locked = 0;
        int put = 0;
        hob::task_handle<> self;
        auto lock = [&]() -> hob::task<> {
            self.cancel();
            for (int count = 0; count != 1000; ++count) {
                const auto guard = co_await mutex.lock();
                ++locked;
                co_await queue.put(count);
                ++put;
            }
        };
        self = hob::create_task(lock());
        co_await test::settle();
        CHECK(self.cancelled());
        CHECK(locked < 1000);
        CHECK(locked - put <= 1);
        CHECK(queue.size() == static_cast<std::size_t>(put));
        CHECK_FALSE(mutex.is_locked());
    };
    program.run(main());
}

TEST_CASE("a dump says what each task waits for") {
    test::program program;
    auto main = []() -> hob::task<> {
        all_primitives all;
        std::vector<hob::task_handle<>> waiting;
        for (const all_primitives::wait each : all_primitives::waits)
            waiting.push_back(hob::create_task((all.*each)()));
        waiting.push_back(hob::create_task(all.wait_for_mutex()));
        co_await test::settle();
        const std::string dump = hob::dump_tasks();
        for (const char* text :
             {"mutex (2 waiting)", "condition variable (1 waiting)", "event (1 waiting)",
              "latch (1 waiting)", "semaphore (1 waiting)", "barrier (1 waiting)",
              "an item of a queue (1 waiting)", "room in a queue (1 waiting)",
              "the work on a queue's items (1 waiting)", "an item of a channel (1 waiting)"})
            CHECK(dump.find(text) != std::string::npos);
        for (const auto& each : waiting)
            each.cancel();
        co_await test::settle();
    };
    program.run(main());
}

TEST_CASE("destroying a primitive that a task waits for ends the process with a word",
          "[waiter-unlink]") {
    const test::child_result result = test::in_child([] {
        test::program program;
        auto event = std::make_unique<hob::event>();
        auto wait = [&]() -> hob::task<> { co_await event->wait(); };
        auto main = [&]() -> hob::task<> {
            hob::create_task(wait());
            co_await test::settle();
            event.reset();
        };
        program.run(main());
        return 0;
    });
    CHECK(result.signal == SIGABRT);
    CHECK(result.errors.find("destroyed while tasks wait for it") != std::string::npos);
}

TEST_CASE("what an operation of a primitive gives may be kept, and awaited more than once",
          "[await]") {
    test::program program;
    hob::event event;
    hob::mutex mutex;
    hob::semaphore semaphore(2);
    hob::queue<int> queue(2);
    auto main = [&]() -> hob::task<> {
        event.set();
        auto waiting = event.wait();
        co_await waiting;
        co_await waiting;
        auto locking = mutex.lock();
        for (int round = 0; round != 2; ++round) {
            const auto guard = co_await locking;
            CHECK(guard.owns_lock());
        }
        auto acquiring = semaphore.acquire();
        const auto first = co_await acquiring;
        const auto second = co_await acquiring;
        CHECK(semaphore.value() == 0);
        auto putting = queue.put(3);
        co_await putting;
        co_await putting;
        auto getting = queue.get();
        const int sum = co_await getting + co_await getting;
        CHECK(sum == 6);
    };
    program.run(main());
}
