// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/context_variable.hpp>
#include <hob/current_task.hpp>
#include <hob/finally.hpp>
#include <hob/gather.hpp>
#include <hob/task_group.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

using test::gate;

namespace {

std::vector<std::string> names_of_all_tasks() {
    std::vector<std::string> names;
    for (const hob::any_task_handle& each : hob::all_tasks())
        names.push_back(each.name());
    std::sort(names.begin(), names.end());
    return names;
}

} // namespace

TEST_CASE("current_task is right across interleaving and restored after nested steps",
          "[current]") {
    test::program program(test::any_loop());
    CHECK_FALSE(hob::current_task());
    auto nested = []() -> hob::task<std::string> {
        co_await hob::yield();
        co_return hob::current_task().name();
    };
    auto worker = [&](const char* name) -> hob::task<> {
        hob::current_task().set_name(name);
        for (int turn = 0; turn != 5; ++turn) {
            const std::string inner = co_await nested();
            CHECK(inner == name);
            const auto [left, right] = co_await hob::gather(nested(), nested());
            CHECK(left == name);
            CHECK(right == name);
            CHECK(hob::current_task().name() == name);
        }
    };
    auto main = [&]() -> hob::task<> {
        const auto first = hob::create_task(worker("first"));
        const auto second = hob::create_task(worker("second"));
        CHECK(hob::current_task() != hob::any_task_handle(first));
        // An eager task runs in the middle of this step.
        auto eager = hob::create_task(worker("eager"), hob::eager);
        CHECK(eager.name() == "eager");
        CHECK(hob::current_task().name() == "task-1");
        bool in_callback = true;
        hob::event_loop::current().call_soon([&] { in_callback = bool(hob::current_task()); });
        co_await hob::gather(first, second, eager);
        CHECK_FALSE(in_callback);
    };
    program.run(main());
    CHECK_FALSE(hob::current_task());
}

TEST_CASE("the report of a slow step is no part of the task that was slow", "[current]") {
    test::program program;
    hob::event_loop& loop = program.loop();
    int reports = 0;
    bool in_task = false;
    loop.set_exception_handler([&](const hob::exception_context&) {
        ++reports;
        in_task = in_task || hob::current_task();
    });
    loop.set_debug(true);
    loop.set_slow_step(std::chrono::nanoseconds(0));
    auto main = []() -> hob::task<> { co_await hob::yield(); };
    program.run(main());
    CHECK(reports >= 2);
    CHECK_FALSE(in_task);
}

TEST_CASE("a task is the current one while it is being unwound", "[current]") {
    gate never;
    std::string seen;
    test::program program(test::any_loop());
    class teller {
      public:
        explicit teller(std::string& target) noexcept : target_(target) {}
        teller(const teller&) = delete;
        teller& operator=(const teller&) = delete;
        ~teller() { target_ = hob::current_task().name(); }

      private:
        std::string& target_;
    };
    auto worker = [&]() -> hob::task<> {
        const teller at_end(seen);
        co_await never.wait();
    };
    auto main = [&]() -> hob::task<> {
        const auto task = hob::create_task(worker());
        task.set_name("unwound");
        co_await test::settle();
        task.cancel();
        co_await test::settle();
        CHECK(seen == "unwound");
        CHECK(hob::current_task().name() == "task-1");
    };
    program.run(main());
}

TEST_CASE("a task may cancel itself through current_task", "[cancel-self]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        auto cancels_itself = []() -> hob::task<int> {
            CHECK(hob::current_task().cancel());
            co_await hob::yield();
            FAIL("went on");
            co_return 1;
        };
        const auto task = hob::create_task(cancels_itself());
        CHECK_THROWS_AS(co_await task, hob::cancelled_error);
        const hob::any_task_handle any(task);
        CHECK(any.done());
        CHECK(any.cancelled());
        CHECK_FALSE(any.cancel());
    };
    program.run(main());
}

TEST_CASE("all_tasks is exactly the set of live tasks", "[all-tasks]") {
    gate open;
    test::program program(test::any_loop());
    auto wait = [&]() -> hob::task<> { co_await open.wait(); };
    auto main = [&]() -> hob::task<> {
        hob::current_task().set_name("main");
        CHECK(names_of_all_tasks() == std::vector<std::string>{"main"});
        hob::create_task(wait()).set_name("loop's");
        auto body = [&](hob::task_group& group) -> hob::task<> {
            group.create_task(wait()).set_name("group's");
            auto inner = [&](hob::task_group& deeper) -> hob::task<> {
                deeper.create_task(wait()).set_name("inner group's");
                co_await wait();
            };
            co_await hob::gather(hob::with_task_group(inner), wait());
        };
        auto grouped = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
        const auto owner = hob::create_task(grouped());
        owner.set_name("owner");
        co_await test::settle();
        CHECK(names_of_all_tasks() ==
              std::vector<std::string>{"group's", "inner group's", "loop's", "main", "owner"});
        // The handles keep what they refer to, also while tasks end.
        const auto kept = hob::all_tasks();
        open.open();
        co_await owner;
        co_await test::settle();
        CHECK(names_of_all_tasks() == std::vector<std::string>{"main"});
        CHECK(std::count_if(kept.begin(), kept.end(),
                            [](const auto& each) { return each.done(); }) == 4);
    };
    program.run(main());
    CHECK_THROWS_AS(hob::all_tasks(), hob::no_running_loop_error);
}

TEST_CASE("tasks can be cancelled in a walk over all of them", "[all-tasks]") {
    gate never;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const hob::any_task_handle self = hob::current_task();
        for (int count = 0; count != 10; ++count)
            hob::create_task(test::value_after(never, count));
        co_await test::settle();
        for (const hob::any_task_handle& each : hob::all_tasks())
            if (each != self)
                each.cancel();
        co_await test::settle();
        CHECK(hob::all_tasks().size() == 1);
    };
    program.run(main());
}

TEST_CASE("an eager task runs to its first suspension before create_task returns", "[eager]") {
    gate open;
    test::program program(test::any_loop());
    std::string log;
    auto work = [&](bool suspends) -> hob::task<int> {
        log += "begin ";
        if (suspends)
            co_await open.wait();
        log += "end ";
        co_return 4;
    };
    auto main = [&]() -> hob::task<> {
        const auto suspended = hob::create_task(work(true), hob::eager);
        CHECK(log == "begin ");
        CHECK_FALSE(suspended.done());
        log.clear();
        const auto finished = hob::create_task(work(false), hob::eager);
        CHECK(log == "begin end ");
        CHECK(finished.done());
        const int value = co_await finished;
        CHECK(value == 4);
        open.open();
        const int other = co_await suspended;
        CHECK(other == 4);
    };
    program.run(main());
}

TEST_CASE("an eager task that cancels itself and returns is done at once",
          "[eager][cancel-self-return]") {
    test::program program(test::any_loop());
    auto work = []() -> hob::task<int> {
        hob::current_task().cancel();
        co_return 4;
    };
    auto main = [&]() -> hob::task<> {
        const auto finished = hob::create_task(work(), hob::eager);
        CHECK(finished.done());
        const int value = co_await finished;
        CHECK(value == 4);
    };
    program.run(main());
}

TEST_CASE("what fails in its eager step is joined or reported like any other task", "[eager]") {
    test::program program(test::any_loop());
    auto fail = []() -> hob::task<> {
        throw std::runtime_error("eager");
        co_return;
    };
    auto main = [&]() -> hob::task<> {
        const auto joined = hob::create_task(fail(), hob::eager);
        CHECK(joined.done());
        CHECK_THROWS_WITH(co_await joined, "eager");
        hob::create_task(fail(), hob::eager).set_name("dropped");
        CHECK_THROWS_AS(hob::create_task(hob::task<>(nullptr), hob::eager), hob::usage_error);
    };
    program.run(main());
    REQUIRE(program.reports.size() == 1);
    CHECK(program.reports[0].task == "dropped");
}

TEST_CASE("eager tasks of eager tasks, ten thousand deep", "[eager]") {
    test::program program(test::any_loop());
    auto deeper = [](auto& self, int depth) -> hob::task<int> {
        if (depth == 0)
            co_return 0;
        const auto child = hob::create_task(self(self, depth - 1), hob::eager);
        co_return 1 + co_await child;
    };
    auto main = [&]() -> hob::task<> {
        const int depth = co_await hob::create_task(deeper(deeper, 10'000), hob::eager);
        CHECK(depth == 10'000);
    };
    program.run(main());
}

TEST_CASE("a context variable belongs to its task, and new tasks begin with a copy", "[context]") {
    hob::context_variable<std::string> user("user", "nobody");
    gate open;
    test::program program(test::any_loop());
    CHECK(user.get() == "nobody");
    CHECK_THROWS_AS(user.set("x"), hob::usage_error);
    auto child = [&](std::string before) -> hob::task<> {
        CHECK(user.get() == before);
        user.set("child of " + before);
        co_await open.wait();
        CHECK(user.get() == "child of " + before);
    };
    auto main = [&]() -> hob::task<> {
        const auto early = hob::create_task(child("nobody"));
        user.set("main");
        const auto late = hob::create_task(child("main"));
        const auto eager = hob::create_task(child("main"), hob::eager);
        co_await test::settle();
        CHECK(user.get() == "main");
        auto body = [&](hob::task_group& group) -> hob::task<> {
            group.start(child("main"));
            co_return;
        };
        open.open();
        co_await hob::with_task_group(body);
        co_await hob::gather(early, late, eager);
        // What it awaits is part of the task.
        auto sets = [&]() -> hob::task<> {
            user.set("set by a callee");
            co_return;
        };
        co_await sets();
        CHECK(user.get() == "set by a callee");
    };
    program.run(main());
}

TEST_CASE("a context variable is restored at the end of a scope, however that comes", "[context]") {
    hob::context_variable<int> depth("depth");
    gate never;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        CHECK_THROWS_AS(depth.get(), hob::usage_error);
        CHECK(depth.find() == nullptr);
        {
            const auto outer = depth.set_until_destroyed(1);
            CHECK(depth.get() == 1);
            try {
                const auto inner = depth.set_until_destroyed(2);
                CHECK(depth.get() == 2);
                throw 0;
            } catch (int) {
            }
            CHECK(depth.get() == 1);
        }
        CHECK(depth.find() == nullptr);

        int at_end = 0;
        auto stopped = [&]() -> hob::task<> {
            depth.set(5);
            auto body = [&]() -> hob::task<> {
                const auto inner = depth.set_until_destroyed(6);
                co_await never.wait();
            };
            auto cleanup = [&]() -> hob::task<> {
                at_end = depth.get();
                co_return;
            };
            co_await hob::finally(body(), cleanup);
        };
        const auto task = hob::create_task(stopped());
        co_await test::settle();
        task.cancel();
        co_await test::settle();
        CHECK(at_end == 5);
    };
    program.run(main());
}

TEST_CASE("values of context variables are shared, and freed with the last task", "[context]") {
    hob::context_variable<std::shared_ptr<int>> shared("shared");
    hob::context_variable<int> other("other", 0);
    auto value = std::make_shared<int>(1);
    const std::weak_ptr<int> watch = value;
    gate open;
    test::program program(test::any_loop());
    auto child = [&]() -> hob::task<> {
        other.set(3);
        co_await open.wait();
        CHECK(*shared.get() == 1);
        CHECK(other.get() == 3);
    };
    auto main = [&]() -> hob::task<> {
        shared.set(std::move(value));
        const auto task = hob::create_task(child());
        co_await test::settle();
        shared.set(nullptr);
        CHECK(other.get() == 0);
        CHECK_FALSE(watch.expired());
        open.open();
        co_await task;
    };
    program.run(main());
    CHECK(watch.expired());
}
