// SPDX-License-Identifier: MIT
// What belongs to the thread of a loop, on another thread and between two runs of the loop.
#include "../catch.hpp"
#include "support/program.hpp"

#include <hob/executor/run_in_executor.hpp>
#include <hob/sync/event.hpp>
#include <hob/sync/future.hpp>
#include <hob/task_group.hpp>
#include <hob/timeout.hpp>

#include <functional>
#include <memory>
#include <string>
#include <thread>

using namespace std::chrono_literals;
using test::counted;

namespace {

template <class Function> bool is_refused_here(Function&& function) {
    try {
        function();
    } catch (const hob::wrong_thread_error&) {
        return true;
    } catch (...) {
    }
    return false;
}

/// On a thread without a loop, and on one that runs a loop of its own.
template <class Function> bool is_refused_elsewhere(Function&& function) {
    int refused = 0;
    std::thread([&] { refused += is_refused_here(function); }).join();
    std::thread([&] {
        auto main = [&]() -> hob::task<> {
            refused += is_refused_here(function);
            co_return;
        };
        hob::run(main());
    }).join();
    return refused == 2;
}

/// Runs a group whose body waits for `end`, and leaves the loop while it does.
class kept_group {
  public:
    explicit kept_group(test::program& program, hob::event& end) {
        auto body = [this, &end](hob::task_group& group) -> hob::task<> {
            group_ = &group;
            co_await end.wait();
        };
        auto owner = [body]() -> hob::task<> { co_await hob::with_task_group(body); };
        auto main = [&]() -> hob::task<> {
            // The closure lives in the frame of the task that awaits the group.
            owner_ = hob::create_task(call(owner));
            co_await test::settle();
        };
        program.run(main());
    }
    [[nodiscard]] hob::task_group& operator*() const noexcept { return *group_; }
    [[nodiscard]] hob::task_group* operator->() const noexcept { return group_; }
    [[nodiscard]] const hob::task_handle<>& owner() const noexcept { return owner_; }

  private:
    static hob::task<> call(std::function<hob::task<>()> owner) { co_await owner(); }

    hob::task_group* group_ = nullptr;
    hob::task_handle<> owner_;
};

hob::task<> wait_for(hob::task_handle<> handle) {
    co_await handle;
}

} // namespace

TEST_CASE("a task group is refused on another thread, and goes on", "[wrong-thread]") {
    test::program program;
    hob::event end;
    const kept_group group(program, end);
    int alive = 0;
    CHECK(is_refused_elsewhere([&] { group->start(test::keep_parameter(counted(alive), 1)); }));
    CHECK(is_refused_elsewhere([&] { group->start(hob::sleep_for(1ms)); }));
    CHECK(is_refused_elsewhere(
        [&] { (void)group->create_task(test::keep_parameter(counted(alive), 1)); }));
    CHECK(is_refused_elsewhere([&] { (void)group->create_task(hob::sleep_for(1ms)); }));
    CHECK(is_refused_elsewhere([&] { group->cancel(); }));
    CHECK(alive == 0);
    CHECK(group->size() == 0);
    CHECK_FALSE(group->is_cancelled());
    end.set();
    program.run(wait_for(group.owner()));
    CHECK_FALSE(group.owner().cancelled());
}

TEST_CASE("a task group is refused to a job of a thread pool", "[wrong-thread]") {
    test::program program;
    bool refused = false;
    auto body = [&](hob::task_group& group) -> hob::task<> {
        co_await hob::to_thread([&] {
            refused = is_refused_here([&] { group.start(hob::sleep_for(1ms)); }) &&
                      is_refused_here([&] { group.cancel(); });
        });
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    program.run(main());
    CHECK(refused);
}

TEST_CASE("a child cannot be awaited into the group of another loop", "[wrong-thread]") {
    test::program program;
    hob::event end;
    const kept_group group(program, end);
    auto child = [](hob::task_status<>& status) -> hob::task<> {
        status.started();
        co_return;
    };
    bool refused = false;
    auto start = [&]() -> hob::task<> {
        try {
            co_await group->start(child);
        } catch (const hob::usage_error&) {
            refused = true;
        }
    };
    std::thread([&] { hob::run(start()); }).join();
    CHECK(refused);
    refused = false;
    test::program second;
    second.run(start());
    CHECK(refused);
    CHECK(group->size() == 0);
    end.set();
    program.run(wait_for(group.owner()));
}

TEST_CASE("a task group is used between two runs of its loop", "[loop-rerun]") {
    test::program program;
    hob::event end;
    const kept_group group(program, end);
    bool ran = false;
    auto child = [&]() -> hob::task<> {
        ran = true;
        co_return;
    };
    group->start(child());
    const auto value = group->create_task(test::value_now(2));
    CHECK(group->size() == 2);
    CHECK_FALSE(ran);
    program.run(test::settle());
    CHECK(ran);
    CHECK(value.result() == 2);
    const auto stopped = group->create_task(hob::sleep_for(1h));
    program.run(test::settle());
    group->cancel();
    CHECK(group->is_cancelled());
    CHECK_FALSE(stopped.done());
    program.run(wait_for(group.owner()));
    CHECK(stopped.cancelled());
}

TEST_CASE("a task group is used while another loop of its thread runs", "[loop-rerun]") {
    test::program program;
    hob::event end;
    const kept_group group(program, end);
    hob::task_handle<int> value;
    auto use = [&]() -> hob::task<> {
        value = group->create_task(test::value_now(2));
        group->cancel();
        co_await test::settle();
        CHECK_FALSE(value.done());
    };
    test::program second;
    second.run(use());
    program.run(wait_for(group.owner()));
    CHECK(value.cancelled());
}

TEST_CASE("a task group of a loop that is being closed can be cancelled", "[loop-rerun]") {
    test::program program;
    auto main = []() -> hob::task<> {
        auto body = [](hob::task_group& group) -> hob::task<> {
            class canceller {
              public:
                explicit canceller(hob::task_group& target) noexcept : target_(target) {}
                ~canceller() { target_.cancel(); }

              private:
                hob::task_group& target_;
            };
            const canceller last(group);
            group.start(hob::sleep_for(1h));
            co_await hob::sleep_for(1h);
        };
        co_await hob::with_task_group(body);
    };
    auto start = [&]() -> hob::task<> {
        hob::create_task(main());
        co_await test::settle();
    };
    program.run(start());
    program.runner().close();
    CHECK(program.reports.empty());
}

TEST_CASE("a task says on its own thread that it has started, and nowhere else", "[wrong-thread]") {
    test::program program;
    bool refused = false;
    hob::task_status<int>* status = nullptr;
    auto child = [&](hob::task_status<int>& given) -> hob::task<> {
        co_await hob::to_thread([&] { refused = is_refused_here([&] { given.started(1); }); });
        status = &given;
        co_await hob::sleep_for(1h);
    };
    int value = 0;
    auto body = [&](hob::task_group& group) -> hob::task<> {
        value = co_await group.start<int>(child);
        group.cancel();
    };
    hob::task_handle<> group_task;
    auto owner = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    auto main = [&]() -> hob::task<> {
        group_task = hob::create_task(owner());
        while (status == nullptr)
            co_await hob::sleep_for(1ms);
    };
    program.run(main());
    CHECK(refused);
    CHECK(is_refused_elsewhere([&] { status->started(2); }));
    SECTION("between two runs") {
        status->started(3);
    }
    SECTION("while another loop of the thread runs") {
        auto say = [&]() -> hob::task<> {
            status->started(3);
            co_await test::settle();
        };
        test::program second;
        second.run(say());
    }
    CHECK(value == 0);
    program.run(wait_for(group_task));
    CHECK(value == 3);
}

TEST_CASE("a timeout is moved on its own thread, and nowhere else", "[wrong-thread][to-resched]") {
    test::program program;
    hob::timeout_scope* limit = nullptr;
    hob::event end;
    auto body = [&](hob::timeout_scope& scope) -> hob::task<> {
        limit = &scope;
        co_await end.wait();
    };
    hob::task_handle<> task;
    auto owner = [&]() -> hob::task<> { co_await hob::timeout(1h, body); };
    auto main = [&]() -> hob::task<> {
        task = hob::create_task(owner());
        co_await test::settle();
    };
    program.run(main());
    const auto first = limit->when();
    CHECK(is_refused_elsewhere([&] { limit->reschedule(first + 1h); }));
    CHECK(limit->when() == first);
    SECTION("between two runs") {
        limit->reschedule(hob::detail::time_point::max());
        CHECK(limit->when() == hob::detail::time_point::max());
        CHECK(program.loop().dump().find("a timeout (disabled)") != std::string::npos);
        limit->reschedule(program.loop().time());
        CHECK_THROWS_AS(program.run(wait_for(task)), hob::timeout_error);
    }
    SECTION("while another loop of the thread runs") {
        auto move = [&]() -> hob::task<> {
            limit->reschedule(program.loop().time() + 1ms);
            co_await hob::sleep_for(2ms);
            CHECK_FALSE(limit->expired());
        };
        test::program second;
        second.run(move());
        CHECK_THROWS_AS(program.run(wait_for(task)), hob::timeout_error);
    }
}

TEST_CASE("a done-callback of a task is added on its own thread, and nowhere else",
          "[wrong-thread][callbacks]") {
    test::program program;
    hob::event end;
    hob::task_handle<> task;
    auto wait = [&]() -> hob::task<> { co_await end.wait(); };
    auto main = [&]() -> hob::task<> {
        task = hob::create_task(wait());
        co_await test::settle();
    };
    program.run(main());
    int alive = 0;
    int ran = 0;
    auto add = [&] {
        task.add_done_callback([&, token = counted(alive)](const hob::task_handle<>&) { ++ran; });
    };
    CHECK(is_refused_elsewhere(add));
    CHECK(alive == 0);
    SECTION("between two runs") {
        add();
    }
    SECTION("while another loop of the thread runs") {
        auto add_here = [&]() -> hob::task<> {
            add();
            co_return;
        };
        test::program second;
        second.run(add_here());
    }
    CHECK(alive == 1);
    end.set();
    program.run(wait_for(task));
    program.run(test::settle());
    CHECK(ran == 1);
    CHECK(alive == 0);
}

TEST_CASE("a scheduled call is cancelled on its own thread, and nowhere else",
          "[wrong-thread][callbacks]") {
    test::program program;
    hob::event end;
    bool ran = false;
    auto run = [&](auto&&...) { ran = true; };
    const auto forever = [&]() -> hob::task<> { co_await end.wait(); };
    hob::call_handle soon;
    hob::call_handle later;
    hob::call_handle when_done;
    hob::call_handle done_before;
    hob::task_handle<> task;
    auto main = [&]() -> hob::task<> {
        done_before = hob::event_loop::current().call_soon([] {});
        later = hob::event_loop::current().call_later(1h, run);
        task = hob::create_task(forever());
        when_done = task.add_done_callback(run);
        co_await test::settle();
        soon = hob::event_loop::current().call_soon(run);
    };
    program.run(main());
    CHECK(is_refused_elsewhere([&] { soon.cancel(); }));
    CHECK(is_refused_elsewhere([&] { later.cancel(); }));
    CHECK(is_refused_elsewhere([&] { when_done.cancel(); }));
    std::thread([&] { CHECK_FALSE(done_before.cancel()); }).join();
    CHECK_FALSE(soon.cancelled());
    CHECK(soon.cancel());
    CHECK(later.cancel());
    CHECK(when_done.cancel());
    end.set();
    program.run(wait_for(task));
    program.run(test::settle());
    CHECK_FALSE(ran);
}

TEST_CASE("a future is settled on the thread of its loop, and nowhere else",
          "[wrong-thread][future]") {
    test::program program;
    std::unique_ptr<const hob::future<int>> value;
    int calls = 0;
    int expected_calls = 0;
    auto made = [&]() -> hob::task<> {
        value = std::make_unique<const hob::future<int>>();
        co_return;
    };
    auto called_back = [&]() -> hob::task<> {
        value = std::make_unique<const hob::future<int>>();
        value->add_done_callback([&](const hob::future<int>&) { ++calls; });
        co_return;
    };
    const hob::future<int> plain;
    auto wait = [&]() -> hob::task<> { co_await plain; };
    auto awaited_once = [&]() -> hob::task<> {
        value = std::make_unique<const hob::future<int>>(plain);
        auto waiting = hob::create_task(wait());
        co_await test::settle();
        waiting.cancel();
        co_await test::settle();
    };
    auto awaited = [&]() -> hob::task<> {
        value = std::make_unique<const hob::future<int>>(plain);
        hob::create_task(wait());
        co_await test::settle();
    };
    SECTION("one that was made in the loop") {
        program.run(made());
    }
    SECTION("one that has a callback") {
        program.run(called_back());
        expected_calls = 1;
    }
    SECTION("one that was awaited") {
        program.run(awaited_once());
    }
    SECTION("one that is awaited") {
        program.run(awaited());
    }
    const auto error = std::make_exception_ptr(1);
    CHECK(is_refused_elsewhere([&] { value->set_result(1); }));
    CHECK(is_refused_elsewhere([&] { value->set_exception(error); }));
    CHECK(is_refused_elsewhere([&] { value->cancel(); }));
    CHECK_FALSE(value->done());
    value->set_result(2);
    program.run(test::settle());
    CHECK(value->result() == 2);
    CHECK(calls == expected_calls);
}

TEST_CASE("a future that no loop has used yet may be set on any thread", "[wrong-thread][future]") {
    const hob::future<int> value;
    std::thread([&] { value.set_result(1); }).join();
    auto main = [&]() -> hob::task<int> { co_return co_await value; };
    CHECK(hob::run(main()) == 1);
    // It belongs to the loop that awaits it, not to the one in which it was made.
    std::unique_ptr<const hob::future<int>> given;
    auto make = [&]() -> hob::task<> {
        given = std::make_unique<const hob::future<int>>();
        co_return;
    };
    hob::run(make());
    int result = 0;
    std::thread([&] {
        auto wait = [&]() -> hob::task<> { result = co_await *given; };
        auto use = [&]() -> hob::task<> {
            auto waiting = hob::create_task(wait());
            co_await test::settle();
            given->set_result(2);
            co_await waiting;
        };
        hob::run(use());
    }).join();
    CHECK(result == 2);
}
