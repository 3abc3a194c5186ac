// SPDX-License-Identifier: MIT
// Task groups in which something fails.
#include "../catch.hpp"
#include "support/child_process.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/finally.hpp>
#include <hob/shield.hpp>
#include <hob/task_group.hpp>

#include <signal.h>

#include <algorithm>
#include <coroutine>

using namespace std::chrono_literals;
using strings = std::vector<std::string>;
using test::gate;

namespace {

/// Awaits a group that is to fail, and gives the messages of its exceptions.
template <class Body> hob::task<strings> failures_of(Body body) {
    try {
        co_await hob::with_task_group(body);
    } catch (const hob::exception_group& group) {
        co_return test::messages(group);
    }
    co_return strings{};
}

} // namespace

TEST_CASE("a child's exception cancels its siblings and the body", "[tg-sibling]") {
    test::program program(test::any_loop());
    gate never;
    gate failing;
    strings log;
    auto waiting = [&](std::string name) -> hob::task<> {
        const test::at_exit note(log, name + " unwound");
        co_await never.wait();
        log.push_back("never");
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        const test::at_exit note(log, "body unwound");
        group.start(waiting("a"));
        group.start(test::failure_after(failing, "boom"));
        group.start(waiting("b"));
        hob::event_loop::current().call_soon([&] { failing.open(); });
        co_await never.wait();
        log.push_back("never");
    };
    auto main = [&]() -> hob::task<> {
        bool passed = false;
        try {
            co_await hob::with_task_group(body);
            passed = true;
        } catch (const hob::exception_group& group) {
            CHECK(test::messages(group) == strings{"boom"});
            CHECK(log == strings{"a unwound", "b unwound", "body unwound"});
        }
        CHECK_FALSE(passed);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("the exceptions of all children and of the body are thrown in the order of the failures",
          "[tg-aggregate]") {
    test::program program(test::any_loop());
    gate both;
    auto stubborn = [](const char* message) -> hob::task<> {
        co_await hob::shield(test::settle(5));
        throw std::runtime_error(message);
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        group.start(stubborn("fourth"));
        group.start(test::failure_after(both, "first"));
        group.start(test::failure_after(both, "second"));
        hob::event_loop::current().call_soon([&] { both.open(); });
        co_await hob::shield(both.wait());
        throw std::logic_error("third");
    };
    auto main = [&]() -> hob::task<> {
        auto failures = failures_of(body);
        const strings found = co_await std::move(failures);
        REQUIRE(found.size() == 4);
        CHECK(found.back() == "fourth");
        CHECK(std::find(found.begin(), found.end(), "third") != found.end());
        CHECK(std::find(found.begin(), found.end(), "first") <
              std::find(found.begin(), found.end(), "second"));
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a child that was cancelled is none of the group's exceptions", "[tg-aggregate]") {
    test::program program(test::any_loop());
    gate never;
    gate failing;
    auto body = [&](hob::task_group& group) -> hob::task<> {
        auto victim = group.create_task(test::value_after(never, 1));
        group.start(test::failure_after(failing, "boom"));
        co_await test::settle();
        victim.cancel();
        failing.open();
        co_await never.wait();
    };
    auto main = [&]() -> hob::task<> {
        auto failures = failures_of(body);
        const strings found = co_await std::move(failures);
        CHECK(found == strings{"boom"});
    };
    program.run(main());
}

TEST_CASE("a body that fails cancels its children", "[tg-sibling]") {
    test::program program(test::any_loop());
    gate never;
    int alive = 0;
    auto child = [&]() -> hob::task<> {
        const test::counted self(alive);
        co_await never.wait();
    };
    SECTION("after a suspension") {
        auto body = [&](hob::task_group& group) -> hob::task<> {
            group.start(child());
            co_await test::settle();
            CHECK(alive == 1);
            throw std::runtime_error("body");
        };
        auto main = [&]() -> hob::task<> {
            auto failures = failures_of(body);
            const strings found = co_await std::move(failures);
            CHECK(found == strings{"body"});
        };
        program.run(main());
    }
    SECTION("at once: the children never start") {
        bool started = false;
        auto marking = [&]() -> hob::task<> {
            started = true;
            co_return;
        };
        auto body = [&](hob::task_group& group) -> hob::task<> {
            group.start(marking());
            throw std::runtime_error("body");
            co_return;
        };
        auto main = [&]() -> hob::task<> {
            auto failures = failures_of(body);
            const strings found = co_await std::move(failures);
            CHECK(found == strings{"body"});
        };
        program.run(main());
        CHECK_FALSE(started);
    }
    SECTION("before it is a coroutine") {
        auto body = [&](hob::task_group& group) -> hob::task<> {
            group.start(child());
            throw std::runtime_error("body");
        };
        auto main = [&]() -> hob::task<> {
            auto failures = failures_of(body);
            const strings found = co_await std::move(failures);
            CHECK(found == strings{"body"});
        };
        program.run(main());
    }
    CHECK(alive == 0);
    CHECK(program.reports.empty());
}

TEST_CASE("two children that fail in the same turn are both in the group's exception",
          "[tg-aggregate]") {
    test::program program(test::any_loop());
    gate both;
    auto body = [&](hob::task_group& group) -> hob::task<> {
        group.start(test::failure_after(both, "one"));
        group.start(test::failure_after(both, "two"));
        hob::event_loop::current().call_soon([&] { both.open(); });
        co_return;
    };
    auto main = [&]() -> hob::task<> {
        auto failures = failures_of(body);
        const strings found = co_await std::move(failures);
        CHECK(found == strings{"one", "two"});
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("nested groups wrap an exception once a level", "[tg-nest]") {
    test::program program(test::any_loop());
    gate never;
    gate failing;
    auto inner = [&](hob::task_group& group) -> hob::task<> {
        group.start(test::failure_after(failing, "deep"));
        co_await never.wait();
    };
    auto outer = [&](hob::task_group& group) -> hob::task<> {
        group.start(test::value_after(never, 1));
        co_await hob::with_task_group(inner);
    };
    auto main = [&]() -> hob::task<> {
        hob::event_loop::current().call_soon([&] { failing.open(); });
        bool thrown = false;
        try {
            co_await hob::with_task_group(outer);
        } catch (const hob::exception_group& group) {
            thrown = true;
            REQUIRE(group.exceptions().size() == 1);
            try {
                std::rethrow_exception(group.exceptions()[0]);
            } catch (const hob::exception_group& nested) {
                CHECK(test::messages(nested) == strings{"deep"});
            }
        }
        CHECK(thrown);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("an inner and an outer group that fail in the same turn keep both errors", "[tg-both]") {
    test::program program(test::any_loop());
    gate never;
    gate failing;
    const bool outer_first = GENERATE(true, false);
    auto inner = [&](hob::task_group& group) -> hob::task<> {
        group.start(test::failure_after(failing, "inner"));
        co_await never.wait();
    };
    auto outer = [&](hob::task_group& group) -> hob::task<> {
        auto nesting = [&]() -> hob::task<> { co_await hob::with_task_group(inner); };
        if (outer_first)
            group.start(test::failure_after(failing, "outer"));
        group.start(nesting());
        co_await test::settle(3);
        if (!outer_first)
            group.start(test::failure_after(failing, "outer"));
        co_await test::settle(3);
        failing.open();
        co_await never.wait();
    };
    auto main = [&]() -> hob::task<> {
        strings found;
        try {
            co_await hob::with_task_group(outer);
        } catch (const hob::exception_group& group) {
            for (const std::exception_ptr& each : group.exceptions()) {
                try {
                    std::rethrow_exception(each);
                } catch (const hob::exception_group& nested) {
                    for (const std::string& message : test::messages(nested))
                        found.push_back("nested " + message);
                } catch (const std::exception& plain) {
                    found.push_back(plain.what());
                }
            }
        }
        for (const hob::exception_context& report : program.reports)
            found.push_back("reported " + hob::exception_group::describe(report.exception));
        // The inner error surfaces in the outer group or, since the outer group was cancelling
        // the inner one by then, with the handler: never twice, never not at all.
        REQUIRE(found.size() == 2);
        CHECK(std::count(found.begin(), found.end(), "outer") == 1);
        CHECK(std::count(found.begin(), found.end(), "nested inner") +
                  std::count(found.begin(), found.end(), "reported inner") ==
              1);
    };
    program.run(main());
}

TEST_CASE("after the exception of a group was caught its caller is not cancelled", "[tg-noleak]") {
    test::program program(test::any_loop());
    gate open;
    auto failing_body = [](hob::task_group& group) -> hob::task<> {
        group.start(test::failure_now("boom"));
        co_await test::settle();
    };
    auto fine_body = [&](hob::task_group& group) -> hob::task<int> {
        group.start(test::settle());
        co_return co_await test::value_after(open, 3);
    };
    auto main = [&]() -> hob::task<> {
        for (int round = 0; round != 3; ++round) {
            CHECK_THROWS_AS(co_await hob::with_task_group(failing_body), hob::exception_group);
            co_await hob::yield();
            co_await hob::sleep_for(0s);
        }
        hob::event_loop::current().call_soon([&] { open.open(); });
        const int value = co_await hob::with_task_group(fine_body);
        CHECK(value == 3);
    };
    program.run(main());
}

TEST_CASE("starting a task after a failure throws and destroys the task", "[tg-late-create]") {
    test::program program(test::any_loop());
    int alive = 0;
    bool started = false;
    auto late = [&](test::counted) -> hob::task<> {
        started = true;
        co_return;
    };
    int refused = 0;
    auto body = [&](hob::task_group& group) -> hob::task<> {
        auto try_late = [&] {
            test::counted argument(alive);
            try {
                group.start(late(std::move(argument)));
            } catch (const hob::usage_error&) {
                ++refused;
            }
            test::counted second(alive);
            try {
                auto handle = group.create_task(late(std::move(second)));
            } catch (const hob::usage_error&) {
                ++refused;
            }
        };
        auto cleanup = [&]() -> hob::task<> {
            try_late();
            co_await hob::yield();
            try_late();
        };
        gate never;
        group.start(test::failure_now("boom"));
        co_await hob::finally(never.wait(), cleanup());
    };
    auto main = [&]() -> hob::task<> {
        auto failures = failures_of(body);
        const strings found = co_await std::move(failures);
        CHECK(found == strings{"boom"});
    };
    program.run(main());
    CHECK(refused == 4);
    CHECK_FALSE(started);
    CHECK(alive == 0);
}

TEST_CASE("children that start siblings while the group aborts are all stopped", "[tg-hydra]") {
    test::program program(test::any_loop());
    gate never;
    gate failing;
    int alive = 0;
    int refused = 0;
    int heads = 0;
    // Each head that is cut off tries to grow two more from its destructor.
    class neck {
      public:
        neck(hob::task_group& group, gate& wait, int& alive_heads, int& refusals, int& born)
            : group_(group), wait_(wait), alive_(alive_heads), refused_(refusals), born_(born) {}
        neck(const neck&) = delete;
        neck& operator=(const neck&) = delete;
        ~neck() {
            for (int head = 0; head != 2; ++head) {
                try {
                    group_.start(grow(group_, wait_, alive_, refused_, born_));
                } catch (const hob::usage_error&) {
                    ++refused_;
                }
            }
        }
        static hob::task<> grow(hob::task_group& group, gate& wait, int& alive_heads, int& refusals,
                                int& born) {
            const test::counted self(alive_heads);
            ++born;
            const neck regrow(group, wait, alive_heads, refusals, born);
            co_await wait.wait();
        }

      private:
        hob::task_group& group_;
        gate& wait_;
        int& alive_;
        int& refused_;
        int& born_;
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        for (int head = 0; head != 3; ++head)
            group.start(neck::grow(group, never, alive, refused, heads));
        group.start(test::failure_after(failing, "sword"));
        co_await test::settle();
        CHECK(alive == 3);
        failing.open();
        co_await never.wait();
    };
    auto main = [&]() -> hob::task<> {
        auto failures = failures_of(body);
        const strings found = co_await std::move(failures);
        CHECK(found == strings{"sword"});
        CHECK(alive == 0);
    };
    program.run(main());
    CHECK(heads == 3);
    CHECK(refused == 6);
    CHECK(program.reports.empty());
}

TEST_CASE("errors of children while the body cleans up are in the group's exception",
          "[tg-body-cleanup]") {
    test::program program(test::any_loop());
    gate never;
    gate during_cleanup;
    auto stubborn = [&]() -> hob::task<> {
        co_await hob::shield(during_cleanup.wait());
        throw std::runtime_error("child");
    };
    auto cleanup = [&]() -> hob::task<> {
        during_cleanup.open();
        co_await test::settle();
        throw std::runtime_error("cleanup");
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        group.start(stubborn());
        co_await test::settle();
        auto failing = []() -> hob::task<> {
            co_await hob::yield();
            throw std::runtime_error("body");
        };
        co_await hob::finally(failing(), cleanup());
    };
    auto main = [&]() -> hob::task<> {
        auto failures = failures_of(body);
        const strings found = co_await std::move(failures);
        CHECK(found == strings{"child", "body"});
    };
    program.run(main());
    // The cleanup's exception stands behind the body's own.
    REQUIRE(program.reports.size() == 1);
    CHECK(hob::exception_group::describe(program.reports[0].exception) == "cleanup");
}

TEST_CASE("a failure is the group's also if the child's handle is awaited", "[tg-sibling]") {
    test::program program(test::any_loop());
    bool caught = false;
    auto body = [&](hob::task_group& group) -> hob::task<> {
        auto child = group.create_task(test::failure_now("boom"));
        try {
            co_await hob::shield(child);
        } catch (const std::runtime_error&) {
            caught = true;
        }
        co_return;
    };
    auto main = [&]() -> hob::task<> {
        auto failures = failures_of(body);
        const strings found = co_await std::move(failures);
        CHECK(found == strings{"boom"});
    };
    program.run(main());
    CHECK(caught);
    CHECK(program.reports.empty());
}

TEST_CASE("a failure that goes through those who await the child is one of the group's",
          "[tg-aggregate]") {
    test::program program(test::any_loop());
    auto join = [](hob::task_handle<int> child) -> hob::task<> { co_await child; };
    auto join_in_body = [&](hob::task_group& group) -> hob::task<> {
        co_await group.create_task(test::failure_now("boom"));
    };
    auto join_in_children = [&](hob::task_group& group) -> hob::task<> {
        gate open;
        const auto child = group.create_task(test::failure_after(open, "boom"));
        group.start(join(child));
        group.start(join(child));
        co_await test::settle();
        open.open();
        co_await child;
    };
    auto main = [&]() -> hob::task<> {
        auto first = failures_of(join_in_body);
        const strings of_body = co_await std::move(first);
        CHECK(of_body == strings{"boom"});
        auto second = failures_of(join_in_children);
        const strings of_children = co_await std::move(second);
        CHECK(of_children == strings{"boom"});
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a fatal exception leaves run at once and passes every group by", "[tg-fatal]") {
    int alive = 0;
    bool caught = false;
    {
        test::program program(test::any_loop());
        gate never;
        gate failing;
        auto waiting = [&]() -> hob::task<> {
            const test::counted self(alive);
            co_await never.wait();
        };
        auto dying = [&]() -> hob::task<> {
            co_await failing.wait();
            throw hob::fatal_error("end of the world");
        };
        const bool in_body = GENERATE(true, false);
        auto body = [&](hob::task_group& group) -> hob::task<> {
            group.start(waiting());
            if (!in_body)
                group.start(dying());
            co_await test::settle();
            failing.open();
            if (in_body)
                co_await dying();
            co_await never.wait();
        };
        auto main = [&]() -> hob::task<> {
            try {
                co_await hob::with_task_group(body);
            } catch (...) {
                caught = true;
                throw;
            }
        };
        CHECK_THROWS_AS(program.run(main()), hob::fatal_error);
        CHECK_FALSE(caught);
        // The loop can be closed cleanly, and used before that.
        CHECK(program.run(test::value_now(1)) == 1);
        program.runner().close();
        CHECK(alive == 0);
    }
}

TEST_CASE("a group that is destroyed with live children stops the process", "[tg-dtor]") {
    const test::child_result child = test::in_child([] {
        std::coroutine_handle<> frame;
        gate never;
        auto body = [&](hob::task_group& group) -> hob::task<> {
            group.start(test::value_after(never, 1));
            co_return;
        };
        auto owner = [&]() -> hob::task<> {
            frame = hob::detail::scheduler::here().running()->coroutine();
            co_await hob::with_task_group(body);
        };
        auto main = [&]() -> hob::task<> {
            hob::create_task(owner());
            co_await test::settle();
            frame.destroy();
        };
        hob::run(main());
        return 0;
    });
    CHECK(child.signal == SIGABRT);
    CHECK_THAT(child.errors,
               test::contains("a task group was destroyed while its tasks were alive"));
}
