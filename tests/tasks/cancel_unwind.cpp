// SPDX-License-Identifier: MIT
// What is destroyed when a coroutine is stopped, in which order, and how often.
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/gather.hpp>
#include <hob/task_group.hpp>
#include <hob/timeout.hpp>

#include <functional>
#include <memory>

using namespace std::chrono_literals;
using test::at_exit;
using test::counted;
using test::gate;
using strings = std::vector<std::string>;

namespace {

/// Runs something when it is destroyed.
class at_destruction {
  public:
    explicit at_destruction(std::function<void()> action) : action_(std::move(action)) {}
    at_destruction(const at_destruction&) = delete;
    at_destruction& operator=(const at_destruction&) = delete;
    ~at_destruction() { action_(); }

  private:
    std::function<void()> action_;
};

/// An owning value that can be copied, so that a second destruction is a double free.
class owner {
  public:
    explicit owner(int& alive) : memory_(std::make_shared<counted>(alive)) {}
    [[nodiscard]] int value() const { return memory_ != nullptr ? 1 : 0; }

  private:
    std::shared_ptr<counted> memory_;
};

hob::task<int> wait_with(owner kept, gate& when) {
    co_await when.wait();
    co_return kept.value();
}
hob::task<int> wait_by_reference(const owner& kept, gate& when) {
    co_await when.wait();
    co_return kept.value();
}
int add(int one, int two, const owner&) {
    return one + two;
}

/// Starts `body()`, cancels it when it waits, and checks that it was stopped.
hob::task<> stop(hob::task<> body) {
    auto handle = hob::create_task(std::move(body));
    co_await test::settle();
    CHECK_FALSE(handle.done());
    CHECK(handle.cancel());
    co_await test::settle(20);
    CHECK(handle.cancelled());
}

} // namespace

TEST_CASE("a stopped coroutine is unwound innermost first, in reverse order of construction",
          "[cancel-unwind]") {
    gate never;
    test::program program(test::any_loop());
    strings log;
    bool caught = false;
    auto inner = [&](std::unique_ptr<at_exit>) -> hob::task<> {
        const at_exit first(log, "inner 1");
        try {
            const at_exit second(log, "inner 2");
            for (;;) {
                const at_exit third(log, "inner 3");
                co_await never.wait();
            }
        } catch (...) {
            caught = true;
        }
        log.push_back("never");
    };
    auto outer = [&]() -> hob::task<> {
        const at_exit first(log, "outer 1");
        try {
            const at_exit second(log, "outer 2");
            auto task = inner(std::make_unique<at_exit>(log, "parameter"));
            co_await std::move(task);
            log.push_back("never");
        } catch (...) {
            caught = true;
        }
    };
    program.run(stop(outer()));
    CHECK_FALSE(caught);
    CHECK(log == strings{"inner 3", "inner 2", "inner 1", "parameter", "outer 2", "outer 1"});
    CHECK(program.reports.empty());
}

TEST_CASE("no exception is in flight while a coroutine is unwound", "[cancel-unwind]") {
    gate never;
    test::program program(test::any_loop());
    int exceptions = -1;
    bool handled = true;
    auto body = [&]() -> hob::task<> {
        const at_destruction look([&] {
            exceptions = std::uncaught_exceptions();
            handled = std::current_exception() != nullptr;
        });
        co_await never.wait();
    };
    program.run(stop(body()));
    CHECK(exceptions == 0);
    CHECK_FALSE(handled);
}

TEST_CASE("owning temporaries of the awaiting expression are destroyed once", "[cancel-unwind]") {
    gate never;
    test::program program(test::any_loop());
    int alive = 0;
    auto by_value = [&]() -> hob::task<> { co_await wait_with(owner(alive), never); };
    auto by_reference = [&]() -> hob::task<> { co_await wait_by_reference(owner(alive), never); };
    auto in_condition = [&]() -> hob::task<> {
        if (co_await wait_with(owner(alive), never) == 1 && owner(alive).value() == 1)
            co_return;
    };
    auto in_argument = [&]() -> hob::task<> {
        [[maybe_unused]] const int sum =
            add(1, co_await wait_with(owner(alive), never), owner(alive));
    };
    auto in_loop = [&]() -> hob::task<> {
        while (co_await wait_with(owner(alive), never) == 1)
            co_await hob::yield();
    };
    auto in_return = [&]() -> hob::task<int> { co_return co_await wait_with(owner(alive), never); };
    auto around = [&]() -> hob::task<> { co_await in_return(); };
    auto text = [&]() -> hob::task<> {
        const std::string result =
            std::string(100, 'x') + std::to_string(co_await wait_with(owner(alive), never));
        CHECK(result.empty());
    };
    program.run(stop(by_value()));
    CHECK(alive == 0);
    program.run(stop(by_reference()));
    CHECK(alive == 0);
    program.run(stop(in_condition()));
    CHECK(alive == 0);
    program.run(stop(in_argument()));
    CHECK(alive == 0);
    program.run(stop(in_loop()));
    CHECK(alive == 0);
    program.run(stop(around()));
    CHECK(alive == 0);
    program.run(stop(text()));
    CHECK(alive == 0);
}

TEST_CASE("two awaits in one expression, and a stop in the second", "[cancel-unwind]") {
    gate never;
    gate open;
    test::program program(test::any_loop());
    open.open();
    int alive = 0;
    auto make = [&](gate& when) -> hob::task<owner> {
        const owner local(alive);
        co_await when.wait();
        co_return owner(alive);
    };
    auto sum = [](const owner& one, const owner& two) { return one.value() + two.value(); };
    auto sync_first = [&]() -> hob::task<> {
        [[maybe_unused]] const int value = sum(co_await make(open), co_await make(never));
    };
    auto suspend_first = [&]() -> hob::task<> {
        auto late = [&]() -> hob::task<owner> {
            co_await hob::yield();
            co_return owner(alive);
        };
        [[maybe_unused]] const int value =
            (co_await late()).value() + (co_await make(never)).value();
    };
    auto nested = [&]() -> hob::task<> { co_await wait_with(co_await make(open), never); };
    program.run(stop(sync_first()));
    CHECK(alive == 0);
    program.run(stop(suspend_first()));
    CHECK(alive == 0);
    program.run(stop(nested()));
    CHECK(alive == 0);
}

TEST_CASE("a task that was made but not awaited yet goes with its frame", "[cancel-unwind]") {
    gate never;
    test::program program(test::any_loop());
    int alive = 0;
    auto body = [&]() -> hob::task<> {
        auto later = wait_with(owner(alive), never);
        auto in_vector = std::vector<hob::task<int>>();
        in_vector.push_back(wait_with(owner(alive), never));
        co_await never.wait();
        co_await std::move(later);
    };
    program.run(stop(body()));
    CHECK(alive == 0);
}

TEST_CASE("a result that was delivered but not taken goes with the stop", "[cancel-unwind]") {
    gate never;
    gate open;
    test::program program(test::any_loop());
    open.open();
    int alive = 0;
    auto body = [&]() -> hob::task<> {
        co_await hob::gather(wait_with(owner(alive), open), wait_with(owner(alive), never));
    };
    program.run(stop(body()));
    CHECK(alive == 0);
}

TEST_CASE("a destructor may cancel, post and spawn while its coroutine is unwound",
          "[cancel-dtor-cancel]") {
    gate never;
    test::program program(test::any_loop());
    int alive = 0;
    hob::task_handle<> self;
    hob::task_handle<int> other;
    hob::task_handle<> spawned;
    int posted = 0;
    auto body = [&](counted) -> hob::task<> {
        const at_destruction last([&] { self.cancel(); });
        const at_destruction action([&] {
            CHECK(self.cancel());
            CHECK_FALSE(self.done());
            other.cancel();
            program.loop().call_soon([&] { ++posted; });
            CHECK(program.loop().call_soon_threadsafe([&] { ++posted; }));
            spawned = hob::create_task(test::settle());
            // A task that is never awaited dies here, too.
            const auto unused = test::settle();
        });
        co_await never.wait();
    };
    auto main = [&]() -> hob::task<> {
        other = hob::create_task(test::value_after(never, 1));
        self = hob::create_task(body(counted(alive)));
        co_await test::settle();
        self.cancel();
        CHECK_THROWS_AS(co_await self, hob::cancelled_error);
        CHECK_THROWS_AS(co_await other, hob::cancelled_error);
        co_await spawned;
        CHECK(posted == 2);
        CHECK(alive == 0);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a destructor may spawn into the group that is being cancelled", "[cancel-dtor-cancel]") {
    gate never;
    test::program program(test::any_loop());
    int alive = 0;
    int ran = 0;
    int passed = 0;
    auto late = [&](counted) -> hob::task<> {
        ++ran;
        co_await hob::yield();
        ++passed;
    };
    auto child = [&](hob::task_group& group) -> hob::task<> {
        const at_destruction action([&] { group.start(late(counted(alive))); });
        co_await never.wait();
    };
    auto group_body = [&](hob::task_group& group) -> hob::task<> {
        const at_destruction action([&] { group.start(late(counted(alive))); });
        group.start(child(group));
        co_await never.wait();
    };
    auto body = [&]() -> hob::task<> { co_await hob::with_task_group(group_body); };
    program.run(stop(body()));
    CHECK(ran == 2);
    CHECK(passed == 0);
    CHECK(alive == 0);
}

TEST_CASE("destructors that cancel each other's tasks end all of them", "[cancel-dtor-cancel]") {
    gate never;
    test::program program(test::any_loop());
    std::vector<hob::task_handle<>> tasks(10);
    auto body = [&](std::size_t next) -> hob::task<> {
        const at_destruction action([&tasks, next] { tasks[next].cancel(); });
        co_await never.wait();
    };
    auto main = [&]() -> hob::task<> {
        for (std::size_t index = 0; index != tasks.size(); ++index)
            tasks[index] = hob::create_task(body((index + 1) % tasks.size()));
        co_await test::settle();
        tasks[3].cancel();
        co_await test::settle(30);
        for (const auto& each : tasks)
            CHECK(each.cancelled());
    };
    program.run(main());
}

TEST_CASE("a destructor may look at all tasks while its coroutine is unwound",
          "[cancel-dtor-cancel]") {
    gate never;
    test::program program(test::any_loop());
    std::string inner_dump;
    std::string outer_dump;
    auto inner = [&]() -> hob::task<> {
        const at_destruction look([&] { inner_dump = program.loop().dump(); });
        co_await never.wait();
    };
    auto outer = [&]() -> hob::task<> {
        const at_destruction look([&] { outer_dump = program.loop().dump(); });
        co_await hob::timeout(1h, inner());
    };
    program.run(stop(outer()));
    CHECK_THAT(inner_dump, test::contains("being stopped"));
    CHECK_THAT(outer_dump, test::contains("being stopped"));
}

TEST_CASE("a destructor may drop the last handle of a failed task", "[cancel-dtor-cancel]") {
    gate never;
    test::program program(test::any_loop());
    auto body = [&]() -> hob::task<> {
        auto failed = hob::create_task(test::failure_now("dropped"));
        co_await never.wait();
    };
    program.run(stop(body()));
    REQUIRE(program.reports.size() == 1);
    CHECK(hob::exception_group::describe(program.reports[0].exception) == "dropped");
}
