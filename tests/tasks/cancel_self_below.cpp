// SPDX-License-Identifier: MIT
// A task cancels itself, or a scope around it, from inside scopes of its own: the next suspension
// stops it there too, although the cancellation goes down only at the end of the turn.
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/any_task_handle.hpp>
#include <hob/current_task.hpp>
#include <hob/executor/run_in_executor.hpp>
#include <hob/finally.hpp>
#include <hob/gather.hpp>
#include <hob/race.hpp>
#include <hob/shield.hpp>
#include <hob/stop_token.hpp>
#include <hob/sync/queue.hpp>
#include <hob/task_group.hpp>
#include <hob/timeout.hpp>

#include <stop_token>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace {

/// Cancels the task that it runs in, and counts what it passes then.
class canceller {
  public:
    hob::task<> cancel_and_yield() {
        hob::current_task().cancel();
        co_await hob::yield();
        ++passed;
    }
    static hob::task<> cancel_only() {
        hob::current_task().cancel();
        co_return;
    }
    hob::task<> yield() {
        co_await hob::yield();
        ++passed;
    }
    hob::task<> cancel_below_and_yield() {
        co_await hob::gather(cancel_only());
        co_await hob::yield();
        ++passed;
    }
    hob::task<> run_job() {
        hob::current_task().cancel();
        co_await hob::to_thread([this] { ++passed; });
        ++passed;
    }
    hob::task<> join() {
        hob::current_task().cancel();
        const auto joined = hob::create_task(test::value_now(1));
        co_await joined;
        ++passed;
    }

    int passed = 0;
};

} // namespace

TEST_CASE("a task that cancels itself below a scope is stopped at its next suspension",
          "[cancel-self][cancel-level]") {
    canceller self;
    test::program program(test::any_loop());
    auto inside = [&](int form) -> hob::task<> {
        switch (form) {
        case 0:
            co_return co_await hob::gather(self.cancel_and_yield());
        case 1:
            co_await hob::gather(canceller::cancel_only(), self.yield());
            co_return;
        case 2:
            co_await hob::race(self.cancel_and_yield());
            co_return;
        case 3:
            co_return co_await hob::timeout(1s, self.cancel_and_yield());
        case 4:
            co_return co_await hob::finally(self.cancel_and_yield(), hob::yield());
        case 5: {
            auto body = [&](hob::task_group&) { return self.cancel_and_yield(); };
            co_return co_await hob::with_task_group(body);
        }
        case 6:
            co_return co_await hob::with_stop_token(std::stop_token(), self.cancel_and_yield());
        case 7:
            co_await hob::timeout(1s, hob::gather(hob::race(self.cancel_and_yield())));
            co_return;
        case 8:
            // The scope in the middle goes on in the same step.
            co_return co_await hob::timeout(1s, self.cancel_below_and_yield());
        case 9:
            co_return co_await hob::timeout(1s, self.run_job());
        default:
            co_return co_await hob::timeout(1s, self.join());
        }
    };
    auto main = [&]() -> hob::task<> {
        for (int form = 0; form != 11; ++form) {
            INFO("form " << form);
            const auto task = hob::create_task(inside(form));
            CHECK_THROWS_AS(co_await task, hob::cancelled_error);
            CHECK(task.cancelled());
            CHECK(self.passed == 0);
        }
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a task that cancels itself in a shield or a cleanup is stopped behind it",
          "[cancel-self][shield]") {
    canceller self;
    test::program program(test::any_loop());
    auto inside = [&](int form) -> hob::task<> {
        switch (form) {
        case 0:
            co_await hob::shield(self.cancel_and_yield());
            break;
        case 1:
            co_await hob::shield(hob::timeout(1s, hob::gather(self.cancel_and_yield())));
            break;
        default:
            co_await hob::finally(hob::yield(), hob::timeout(1s, self.cancel_and_yield()));
        }
        co_await self.yield();
    };
    auto main = [&]() -> hob::task<> {
        for (int form = 0; form != 3; ++form) {
            INFO("form " << form);
            self.passed = 0;
            const auto task = hob::create_task(inside(form));
            CHECK_THROWS_AS(co_await task, hob::cancelled_error);
            CHECK(self.passed == 1);
        }
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a group or a race that is over stops what is below its tasks at the next suspension",
          "[cancel-level][tg-cancel]") {
    int passed = 0;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        auto body = [&](hob::task_group& group) -> hob::task<> {
            auto cancel_below = [&]() -> hob::task<> {
                group.cancel();
                co_await hob::yield();
                ++passed;
            };
            co_await hob::timeout(1s, cancel_below());
            ++passed;
        };
        co_await hob::with_task_group(body);
        auto starting = [&](hob::task_group& group) -> hob::task<> {
            auto start_below = [&]() -> hob::task<> {
                group.start(test::failure_now("x"));
                co_await hob::yield();
                co_await hob::yield();
                ++passed;
            };
            co_await hob::timeout(1s, start_below());
            ++passed;
        };
        auto failing = hob::with_task_group(starting);
        CHECK_THROWS_AS(co_await std::move(failing), hob::exception_group);
        CHECK(passed == 0);
    };
    program.run(main());
}

TEST_CASE("what begins below a cancelled scope takes the cancellation from nobody else",
          "[cancel-level][cancel-self]") {
    test::program program(test::any_loop());
    hob::task_handle<> whole;
    int alive = 0;
    auto sleep = [&]() -> hob::task<> {
        const test::counted self(alive);
        co_await hob::sleep_for(1h);
    };
    auto cancel = [&]() -> hob::task<> {
        whole.cancel();
        co_return;
    };
    auto nothing = []() -> hob::task<> { co_return; };
    auto nested = [&]() -> hob::task<> { co_await hob::gather(sleep(), cancel(), nothing()); };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        group.start(sleep());
        co_await test::settle();
        whole.cancel();
        group.start(nothing());
    };
    auto inside = [&](int form) -> hob::task<> {
        co_await hob::yield();
        switch (form) {
        case 0:
            co_await hob::timeout(2h, hob::with_task_group(body));
            break;
        case 1:
            co_await hob::timeout(2h, hob::gather(sleep(), cancel(), nothing()));
            break;
        case 2: {
            std::vector<hob::task<>> tasks;
            tasks.push_back(sleep());
            tasks.push_back(cancel());
            tasks.push_back(nothing());
            co_await hob::timeout(2h, hob::gather(std::move(tasks)));
            break;
        }
        default:
            co_await hob::timeout(2h, hob::race(sleep(), nested()));
        }
    };
    auto main = [&]() -> hob::task<> {
        for (int form = 0; form != 4; ++form) {
            INFO("form " << form);
            const auto start = hob::event_loop::current().time();
            whole = hob::create_task(inside(form));
            CHECK_THROWS_AS(co_await whole, hob::cancelled_error);
            CHECK(alive == 0);
            CHECK(hob::event_loop::current().time() - start < 30min);
        }
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a server below other scopes is cancelled in the turn in which a client comes",
          "[cancel-level][tg-ext-cancel]") {
    test::program program(test::any_loop());
    hob::queue<int> clients(10);
    int alive = 0;
    auto serve_one = [&](int) -> hob::task<> {
        const test::counted self(alive);
        co_await hob::sleep_for(1h);
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        for (;;)
            group.start(serve_one(co_await clients.get()));
    };
    auto serve = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    auto main = [&]() -> hob::task<> {
        const auto server = hob::create_task(hob::gather(serve(), hob::sleep_for(2h)));
        co_await test::settle();
        CHECK(clients.try_put(1));
        co_await test::settle();
        CHECK(alive == 1);
        auto cancel = [](hob::any_task_handle target) -> hob::task<> {
            target.cancel();
            co_return;
        };
        // Both run in the next turn.
        const auto cancelling = hob::create_task(cancel(server));
        CHECK(clients.try_put(2));
        CHECK_THROWS_AS(co_await server, hob::cancelled_error);
        CHECK(alive == 0);
    };
    program.run(main());
    CHECK(program.reports.empty());
}
