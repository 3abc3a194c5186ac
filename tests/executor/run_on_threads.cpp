// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/child_process.hpp"
#include "support/program.hpp"

#include <hob/executor/run_on_threads.hpp>

#include <signal.h>

#include <atomic>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>

using namespace std::chrono_literals;

TEST_CASE("run_on_threads runs a loop on each of its threads", "[run-two]") {
    std::mutex mutex;
    std::set<std::thread::id> threads;
    std::set<const void*> loops;
    std::set<std::size_t> indices;
    std::atomic<int> arrived = 0;
    auto main = [&](std::size_t index) -> hob::task<> {
        {
            const std::lock_guard lock(mutex);
            threads.insert(std::this_thread::get_id());
            loops.insert(&hob::event_loop::current());
            indices.insert(index);
        }
        ++arrived;
        // All at once: a loop after the other would never end.
        while (arrived != 3)
            co_await hob::yield();
    };
    hob::run_on_threads(3, std::ref(main));
    CHECK(threads.size() == 3);
    CHECK(threads.contains(std::this_thread::get_id()));
    CHECK(loops.size() == 3);
    CHECK(indices == std::set<std::size_t>{0, 1, 2});
}

TEST_CASE("the first exception of a thread ends the others and is thrown", "[run-two]") {
    const std::size_t failing = GENERATE(0U, 2U);
    std::atomic<int> unwound = 0;
    class teller {
      public:
        explicit teller(std::atomic<int>& count) noexcept : count_(count) {}
        teller(const teller&) = delete;
        teller& operator=(const teller&) = delete;
        ~teller() { ++count_; }

      private:
        std::atomic<int>& count_;
    };
    auto main = [&](std::size_t index) -> hob::task<> {
        const teller at_end(unwound);
        co_await hob::yield();
        if (index == failing)
            throw std::runtime_error("from a thread");
        co_await hob::sleep_for(1h);
    };
    CHECK_THROWS_WITH(hob::run_on_threads(3, std::ref(main)), "from a thread");
    CHECK(unwound == 3);
}

TEST_CASE("a main task that cancels itself ends all of them", "[run-two]") {
    auto main = [](std::size_t index) -> hob::task<> {
        if (index == 1)
            hob::current_task().cancel();
        co_await hob::sleep_for(1h);
    };
    CHECK_THROWS_AS(hob::run_on_threads(2, main), hob::cancelled_error);
}

TEST_CASE("no thread, and a running loop, are refused", "[run-two]") {
    auto main = []() -> hob::task<> { co_return; };
    CHECK_THROWS_AS(hob::run_on_threads(0, main), hob::usage_error);
    hob::run_on_threads(1, main);
    test::program program;
    auto inside = [&]() -> hob::task<> {
        CHECK_THROWS_AS(hob::run_on_threads(1, main), hob::usage_error);
        co_return;
    };
    program.run(inside());
}

TEST_CASE("Ctrl-C ends the other loops also when the first main task has ended", "[cancel-main]") {
    const test::child_result child = test::in_child([] {
        std::atomic<bool> has_ended = false;
        std::atomic<bool> cleaned_up = false;
        class cleanup {
          public:
            explicit cleanup(std::atomic<bool>& done) noexcept : done_(done) {}
            cleanup(const cleanup&) = delete;
            cleanup& operator=(const cleanup&) = delete;
            ~cleanup() { done_ = true; }

          private:
            std::atomic<bool>& done_;
        };
        auto main = [&](std::size_t index) -> hob::task<> {
            if (index == 0) {
                has_ended = true;
                co_return;
            }
            const cleanup at_end(cleaned_up);
            while (!has_ended)
                co_await hob::yield();
            ::kill(::getpid(), SIGINT);
            co_await hob::sleep_for(1h);
        };
        try {
            hob::run_on_threads(2, std::ref(main));
        } catch (const hob::interrupted_error&) {
            return cleaned_up ? 0 : 2;
        }
        return 1;
    });
    INFO(child.errors);
    CHECK(child.code == 0);
}

TEST_CASE("Ctrl-C ends the loops of all threads", "[cancel-main]") {
    const test::child_result child = test::in_child([] {
        std::atomic<int> arrived = 0;
        auto main = [&](std::size_t) -> hob::task<> {
            if (++arrived == 2)
                ::kill(::getpid(), SIGINT);
            co_await hob::sleep_for(1h);
        };
        try {
            hob::run_on_threads(2, std::ref(main));
        } catch (const hob::interrupted_error&) {
            return 0;
        }
        return 1;
    });
    INFO(child.errors);
    CHECK(child.code == 0);
}
