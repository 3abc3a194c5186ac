// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/context_variable.hpp>
#include <hob/finally.hpp>
#include <hob/task_group.hpp>
#include <hob/timeout.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using test::gate;

namespace {

/// A callable whose moves throw once they have been made so many times.
class throwing_body {
  public:
    explicit throwing_body(int& moves_left) : moves_left_(moves_left) {}
    throwing_body(throwing_body&& other) : moves_left_(other.moves_left_) {
        if (moves_left_-- == 0)
            throw std::runtime_error("moved too often");
    }

    hob::task<> operator()(hob::task_status<>& status) const {
        status.started();
        co_return;
    }

  private:
    int& moves_left_;
};

} // namespace

TEST_CASE("start returns when the child reports ready, which then belongs to the group",
          "[tg-start]") {
    gate prepared;
    gate ended;
    test::program program(test::any_loop());
    std::string log;
    auto child = [&](hob::task_status<std::unique_ptr<int>>& status) -> hob::task<> {
        co_await prepared.wait();
        log += "ready ";
        status.started(std::make_unique<int>(5));
        log += "on ";
        co_await ended.wait();
        log += "end ";
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        hob::event_loop::current().call_soon([&] { prepared.open(); });
        const auto value = co_await group.start<std::unique_ptr<int>>(child);
        log += "started ";
        CHECK(*value == 5);
        CHECK(group.size() == 1);
        hob::event_loop::current().call_soon([&] { ended.open(); });
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    program.run(main());
    CHECK(log == "ready on started end ");
}

TEST_CASE("a failure before ready is the starter's, and leaves the group alone", "[tg-start]") {
    gate open;
    test::program program(test::any_loop());
    auto failing = [&](hob::task_status<>&) -> hob::task<> {
        co_await hob::yield();
        throw std::runtime_error("not ready");
    };
    auto throwing = [](hob::task_status<>&) -> hob::task<> { throw std::runtime_error("at once"); };
    auto silent = [](hob::task_status<>&) -> hob::task<> { co_await hob::yield(); };
    auto main = [&]() -> hob::task<> {
        bool sibling_ended = false;
        auto sibling = [&]() -> hob::task<> {
            co_await open.wait();
            sibling_ended = true;
        };
        auto body = [&](hob::task_group& group) -> hob::task<> {
            group.start(sibling());
            CHECK_THROWS_WITH(co_await group.start(failing), "not ready");
            CHECK_THROWS_WITH(co_await group.start(throwing), "at once");
            CHECK_THROWS_AS(co_await group.start(silent), hob::usage_error);
            CHECK(group.size() == 1);
            open.open();
        };
        co_await hob::with_task_group(body);
        CHECK(sibling_ended);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a failure after ready is the group's", "[tg-start]") {
    test::program program(test::any_loop());
    gate never;
    auto child = [&](hob::task_status<>& status) -> hob::task<> {
        status.started();
        CHECK_THROWS_AS(status.started(), hob::usage_error);
        co_await hob::yield();
        throw std::runtime_error("later");
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        co_await group.start(child);
        co_await never.wait();
    };
    auto main = [&]() -> hob::task<> {
        std::vector<std::string> messages;
        try {
            co_await hob::with_task_group(body);
        } catch (const hob::exception_group& group) {
            messages = test::messages(group);
        }
        CHECK(messages == std::vector<std::string>{"later"});
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a child that ends with its report gives its value all the same", "[tg-start]") {
    test::program program(test::any_loop());
    auto child = [](hob::task_status<std::string>& status) -> hob::task<int> {
        status.started("quick");
        co_return 1;
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        const std::string value = co_await group.start<std::string>(child);
        CHECK(value == "quick");
        CHECK(group.size() == 0);
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    program.run(main());
}

TEST_CASE("cancelling a start before ready joins the child", "[tg-start]") {
    const bool reports_while_stopped = GENERATE(false, true);
    gate never;
    gate clean;
    int alive = 0;
    test::program program(test::any_loop());
    auto child = [&](hob::task_status<>& status) -> hob::task<> {
        const test::counted self(alive);
        auto cleanup = [&]() -> hob::task<> {
            co_await clean.wait();
            if (reports_while_stopped)
                status.started();
        };
        co_await hob::finally(never.wait(), cleanup);
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        auto starting = [&]() -> hob::task<> {
            co_await group.start(child);
            FAIL("went on");
        };
        const auto starter = hob::create_task(starting());
        co_await test::settle();
        CHECK(alive == 1);
        starter.cancel();
        co_await test::settle();
        CHECK_FALSE(starter.done());
        clean.open();
        co_await test::settle();
        CHECK(starter.cancelled());
        CHECK(alive == 0);
        CHECK(group.size() == 0);
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a timeout around start cancels the child", "[tg-start]") {
    gate never;
    int alive = 0;
    test::program program(test::simulated_loop());
    auto child = [&](hob::task_status<>&) -> hob::task<> {
        const test::counted self(alive);
        co_await never.wait();
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        CHECK_THROWS_AS(co_await hob::timeout(5ms, group.start(child)), hob::timeout_error);
        CHECK(alive == 0);
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    program.run(main());
}

TEST_CASE("a group waits for a start under way in another task, and can be cancelled with it",
          "[tg-start]") {
    const bool cancels_group = GENERATE(false, true);
    gate open;
    gate never;
    int alive = 0;
    test::program program(test::any_loop());
    auto child = [&](hob::task_status<>& status) -> hob::task<> {
        const test::counted self(alive);
        co_await open.wait();
        status.started();
        if (cancels_group)
            co_await never.wait();
    };
    auto main = [&]() -> hob::task<> {
        hob::task_handle<> starter;
        auto starting = [&](hob::task_group& group) -> hob::task<> { co_await group.start(child); };
        auto body = [&](hob::task_group& group) -> hob::task<> {
            starter = hob::create_task(starting(group));
            co_await test::settle();
            CHECK(group.size() == 1);
            hob::event_loop::current().call_soon([&] { open.open(); });
            if (cancels_group)
                group.cancel();
        };
        co_await hob::with_task_group(body);
        // In a cancelled group it is handed over, and stopped at its next suspension.
        CHECK(alive == 0);
        co_await starter;
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a child that was cancelled before ready is a cancelled_error", "[tg-start]") {
    gate never;
    test::program program(test::any_loop());
    auto stops_itself = [&](hob::task_status<>&) -> hob::task<> {
        auto body = [](hob::task_group& group) -> hob::task<> {
            group.cancel();
            co_await hob::yield();
        };
        co_await hob::with_task_group(body);
        throw std::runtime_error("not reached by the test below");
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        CHECK_THROWS_AS(co_await group.start(stops_itself), std::runtime_error);
        // After a failure of the group nothing starts any more.
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    program.run(main());
}

TEST_CASE("nothing can be started in a group that has failed", "[tg-start]") {
    gate never;
    test::program program(test::any_loop());
    auto child = [](hob::task_status<>& status) -> hob::task<> {
        status.started();
        co_return;
    };
    auto fail = []() -> hob::task<> {
        throw std::runtime_error("first");
        co_return;
    };
    auto main = [&]() -> hob::task<> {
        bool refused = false;
        auto body = [&](hob::task_group& group) -> hob::task<> {
            group.start(fail());
            auto late = [&]() -> hob::task<> {
                try {
                    co_await group.start(child);
                } catch (const hob::usage_error&) {
                    refused = true;
                }
            };
            co_await hob::finally(never.wait(), late());
        };
        CHECK_THROWS_AS(co_await hob::with_task_group(body), hob::exception_group);
        CHECK(refused);
    };
    program.run(main());
}

TEST_CASE("a callable that cannot be moved into its task loses nothing", "[tg-start][exc-early]") {
    hob::context_variable<std::string> inherited("inherited", "");
    test::program program(test::any_loop());
    bool has_started = false;
    auto main = [&]() -> hob::task<> {
        inherited.set("what the task gets a copy of");
        for (int moves = 0; !has_started; ++moves) {
            int left = moves;
            auto body = [&](hob::task_group& group) -> hob::task<> {
                throwing_body child(left);
                co_await group.start(std::move(child));
                has_started = true;
            };
            try {
                co_await hob::with_task_group(body);
            } catch (const hob::exception_group& error) {
                CHECK(test::messages(error).front() == "moved too often");
            }
        }
    };
    program.run(main());
}

TEST_CASE("a callable that is no coroutine may say that its child is ready", "[tg-start]") {
    test::program program(test::any_loop());
    auto main = []() -> hob::task<> {
        bool served = false;
        auto serve = [&]() -> hob::task<> {
            co_await hob::yield();
            served = true;
        };
        auto body = [&](hob::task_status<int>& status) {
            status.started(8080);
            return serve();
        };
        auto group_body = [&](hob::task_group& group) -> hob::task<> {
            const int port = co_await group.start<int>(body);
            CHECK(port == 8080);
            CHECK(group.size() == 1);
        };
        co_await hob::with_task_group(group_body);
        CHECK(served);
    };
    program.run(main());
}

TEST_CASE("a child whose value cannot be made may say again that it has started", "[tg-start]") {
    class made_twice {
      public:
        explicit made_twice(bool fails) {
            if (fails)
                throw std::runtime_error("not yet");
        }
        int value = 3;
    };
    test::program program(test::any_loop());
    auto child = [](hob::task_status<made_twice>& status) -> hob::task<> {
        try {
            status.started(true);
        } catch (const std::runtime_error&) {
        }
        status.started(false);
        co_return;
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        const made_twice started = co_await group.start<made_twice>(child);
        CHECK(started.value == 3);
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    program.run(main());
}
