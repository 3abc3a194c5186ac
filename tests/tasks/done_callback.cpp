// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/gather.hpp>
#include <hob/sync/future.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using test::gate;

TEST_CASE("a future is settled once, and refuses a second outcome", "[once-done]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const hob::future<int> value;
        CHECK_FALSE(value.done());
        value.set_result(1);
        CHECK(value.done());
        CHECK_THROWS_AS(value.set_result(2), hob::usage_error);
        CHECK_THROWS_AS(value.set_exception(std::make_exception_ptr(3)), hob::usage_error);
        CHECK_FALSE(value.cancel());
        const int result = co_await value;
        CHECK(result == 1);

        const hob::future<> cancelled;
        CHECK(cancelled.cancel());
        CHECK(cancelled.cancelled());
        CHECK_FALSE(cancelled.cancel());
        CHECK_THROWS_AS(cancelled.set_result(), hob::usage_error);
        CHECK_THROWS_AS(co_await cancelled, hob::cancelled_error);

        const hob::future<std::unique_ptr<int>> failed;
        failed.set_exception(std::make_exception_ptr(std::runtime_error("failed")));
        CHECK_THROWS_WITH(co_await failed, "failed");
        CHECK_THROWS_WITH(co_await failed, "failed");
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("any number of tasks await one future, and wake in order", "[multi-await]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const hob::future<std::string> value;
        std::string log;
        auto wait = [&](char name) -> hob::task<> {
            const std::string& seen = co_await value;
            log += name + seen;
        };
        const auto first = hob::create_task(wait('a'));
        const auto second = hob::create_task(wait('b'));
        const auto third = hob::create_task(wait('c'));
        co_await test::settle();
        second.cancel();
        value.set_result("!");
        CHECK(log.empty());
        co_await hob::gather(first, third);
        CHECK(log.substr(0, 2) == "a!");
        CHECK(log.ends_with("c!"));
        CHECK(value.done());
    };
    program.run(main());
}

TEST_CASE("done-callbacks run through the ready queue in the order of registration",
          "[callbacks]") {
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        std::string log;
        const hob::future<int> value;
        value.add_done_callback([&](const hob::future<int>& done) {
            CHECK(done == value);
            CHECK(done.done());
            log += "1";
        });
        auto second = value.add_done_callback([&](const hob::future<int>&) { log += "2"; });
        value.add_done_callback([&](const hob::future<int>&) { log += "3"; });
        CHECK(second.cancel());
        value.set_result(7);
        CHECK(log.empty());
        value.add_done_callback([&](const hob::future<int>&) { log += "4"; });
        CHECK(log.empty());
        co_await test::settle();
        CHECK(log == "134");

        log.clear();
        const auto task = hob::create_task(test::value_after(open, 1));
        task.add_done_callback([&](const hob::task_handle<int>& done) {
            CHECK(done == task);
            log += "a";
        });
        task.add_done_callback([&](const hob::task_handle<int>&) { log += "b"; });
        open.open();
        co_await task;
        task.add_done_callback([&](const hob::task_handle<int>&) { log += "c"; });
        co_await test::settle();
        CHECK(log == "abc");
    };
    program.run(main());
}

TEST_CASE("callbacks may add, cancel and drop callbacks", "[callbacks-mutate]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        std::string log;
        std::optional<hob::future<>> value;
        value.emplace();
        std::vector<hob::call_handle> handles;
        handles.push_back(value->add_done_callback([&](hob::future<> self) {
            log += "a";
            CHECK(handles[1].cancel());
            CHECK_FALSE(handles[0].cancel());
            handles.push_back(self.add_done_callback([&](const hob::future<>&) { log += "d"; }));
            handles.clear();
        }));
        handles.push_back(value->add_done_callback([&](const hob::future<>&) { log += "b"; }));
        value->add_done_callback([&](const hob::future<>&) { log += "c"; });
        value->set_result();
        co_await test::settle();
        CHECK(log == "acd");
    };
    program.run(main());
}

TEST_CASE("the last reference may go from inside a callback", "[destroy-in-cb]") {
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        int ran = 0;
        auto value = std::make_unique<hob::future<int>>();
        value->add_done_callback([&](const hob::future<int>&) {
            value.reset();
            ++ran;
        });
        value->set_result(1);
        auto task =
            std::make_unique<hob::task_handle<int>>(hob::create_task(test::value_after(open, 1)));
        task->add_done_callback([&](const hob::task_handle<int>&) {
            task.reset();
            ++ran;
        });
        open.open();
        while (ran != 2)
            co_await hob::yield();
        // A callback that the loop's closing overtakes, and one of a future that nobody settles.
        hob::future<> never;
        never.add_done_callback([kept = std::make_shared<int>(1)](const hob::future<>&) {});
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a callback that throws is reported, and the others run", "[callback-exc]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const hob::future<> value;
        bool ran = false;
        value.add_done_callback([](const hob::future<>&) { throw std::runtime_error("callback"); });
        value.add_done_callback([&](const hob::future<>&) { ran = true; });
        value.set_result();
        co_await test::settle();
        CHECK(ran);
    };
    program.run(main());
    REQUIRE(program.reports.size() == 1);
    CHECK(hob::exception_group::describe(program.reports[0].exception) == "callback");
}

TEST_CASE("an exception in a future that nobody retrieves is reported once", "[detached-exc]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        {
            const hob::future<int> lost;
            const auto copy = lost;
            copy.set_exception(std::make_exception_ptr(std::runtime_error("lost")));
        }
        co_return;
    };
    program.run(main());
    REQUIRE(program.reports.size() == 1);
    CHECK(hob::exception_group::describe(program.reports[0].exception) == "lost");
}

TEST_CASE("a future belongs to the first loop that awaits it", "[prim-loop]") {
    const hob::future<> value;
    auto wait = [&]() -> hob::task<> { co_await value; };
    test::program first;
    auto main = [&]() -> hob::task<> {
        hob::create_task(wait());
        co_await test::settle();
    };
    first.run(main());
    {
        test::program second;
        CHECK_THROWS_AS(second.run(wait()), hob::usage_error);
    }
    value.set_result();
    first.run(wait());
}

TEST_CASE("a callback that is cancelled is destroyed at once", "[callbacks-mutate]") {
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        int alive = 0;
        std::string log;
        const auto task = hob::create_task(test::value_after(open, 1));
        const hob::future<int> value;
        std::vector<hob::call_handle> handles;
        for (const char name : {'1', '2', '3'}) {
            auto callback = [&log, name, token = test::counted(alive)](const auto&) {
                log += name;
            };
            handles.push_back(task.add_done_callback(callback));
            handles.push_back(value.add_done_callback(callback));
        }
        CHECK(alive == 6);
        // One in the middle, then the first.
        for (const std::size_t index : {2U, 3U, 0U, 1U}) {
            CHECK(handles[index].cancel());
            CHECK(handles[index].cancelled());
            CHECK_FALSE(handles[index].cancel());
        }
        CHECK(alive == 2);
        value.set_result(1);
        open.open();
        co_await task;
        co_await test::settle();
        CHECK(log == "33");
        CHECK(alive == 0);
        // What is queued, too.
        auto late = task.add_done_callback([token = test::counted(alive)](const auto&) {});
        auto later = value.add_done_callback([token = test::counted(alive)](const auto&) {});
        auto soon = test::loop().call_soon([token = test::counted(alive)] {});
        CHECK(alive == 3);
        CHECK(late.cancel());
        CHECK(later.cancel());
        CHECK(soon.cancel());
        CHECK(alive == 0);
        co_await test::settle();
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("adding and cancelling callbacks again and again takes no memory", "[callbacks-mutate]") {
    gate open;
    test::program program;
    auto main = [&]() -> hob::task<> {
        const auto task = hob::create_task(test::value_after(open, 1));
        const hob::future<int> value;
        const auto alive = std::make_shared<int>();
        auto callback = [alive](const auto&) {};
        const long before = test::resident_kib();
        for (int count = 0; count != 100'000; ++count) {
            task.add_done_callback(callback).cancel();
            value.add_done_callback(callback).cancel();
        }
        CHECK(alive.use_count() == 2);
        if (!test::sanitized)
            CHECK(test::resident_kib() - before < 4096);
        open.open();
        co_await task;
    };
    program.run(main());
}

TEST_CASE("what a cancelled callback has captured may cancel others and drop what it waited for",
          "[callbacks-mutate][destroy-in-cb]") {
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        int alive = 0;
        int actions = 0;
        std::optional<hob::task_handle<int>> task = hob::create_task(test::value_after(open, 1));
        std::optional<hob::future<int>> value;
        value.emplace();
        std::vector<hob::call_handle> handles;
        auto add = [&](std::size_t other) {
            auto act = [&, other] {
                ++actions;
                // Their own are cancelled already, those of others are not.
                for (const std::size_t index : {other, other + 1, other + 2})
                    if (index < handles.size())
                        handles[index].cancel();
            };
            auto callback = [token = test::counted(alive),
                             last = test::on_destruction(act)](const auto&) {};
            handles.push_back(task->add_done_callback(std::move(callback)));
            auto same = [token = test::counted(alive),
                         last = test::on_destruction(act)](const auto&) {};
            handles.push_back(value->add_done_callback(std::move(same)));
        };
        SECTION("each cancels the next ones") {
            for (std::size_t index = 0; index != 10; ++index)
                add(2 * index);
            CHECK(alive == 20);
            CHECK(handles[0].cancel());
            CHECK(alive == 0);
            CHECK(actions == 20);
        }
        SECTION("once they are queued") {
            for (std::size_t index = 0; index != 10; ++index)
                add(2 * index);
            value->set_result(1);
            CHECK(alive == 20);
            CHECK(handles[19].cancel());
            CHECK(handles[1].cancel());
            CHECK(alive == 0);
        }
        SECTION("one drops the last reference to what it waited for, and to itself") {
            handles.push_back(value->add_done_callback(
                [token = test::counted(alive), last = test::on_destruction([&] {
                                                   value.reset();
                                                   task.reset();
                                                   handles.clear();
                                               })](const auto&) {}));
            CHECK(handles[0].cancel());
            CHECK(handles.empty());
            CHECK_FALSE(value);
            CHECK(alive == 0);
        }
        SECTION("a future is dropped whose callbacks cancel each other") {
            for (std::size_t index = 0; index != 10; ++index)
                add(2 * index);
            value.reset();
            CHECK(alive == 0);
        }
        open.open();
        co_await test::settle();
        CHECK(alive == 0);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a future that outlives the loop of its callbacks does not call them", "[callbacks]") {
    int alive = 0;
    bool called = false;
    std::optional<hob::future<int>> value;
    hob::call_handle cancelled;
    hob::call_handle kept;
    {
        test::program program(test::any_loop());
        auto main = [&]() -> hob::task<> {
            value.emplace();
            auto callback = [&, token = test::counted(alive)](const auto&) { called = true; };
            kept = value->add_done_callback(callback);
            cancelled = value->add_done_callback(callback);
            co_return;
        };
        program.run(main());
    }
    CHECK(alive == 2);
    CHECK(cancelled.cancel());
    CHECK(alive == 1);
    SECTION("it is set outside of any loop") {
        value->set_result(1);
    }
    SECTION("it is set in another loop") {
        auto set = [&]() -> hob::task<> {
            value->set_result(1);
            co_await test::settle();
        };
        test::program second;
        second.run(set());
    }
    CHECK(kept.cancelled());
    CHECK(value->result() == 1);
    value.reset();
    CHECK(alive == 0);
    CHECK_FALSE(called);
}

TEST_CASE("what a call has captured may close the loop and drop the handle that cancels it",
          "[call-cancel]") {
    auto loop = std::make_unique<hob::event_loop>();
    std::unique_ptr<hob::call_handle> handle;
    hob::future<> future;
    loop->call_soon([&] {
        test::on_destruction last([&] {
            loop->close();
            handle.reset();
        });
        handle = std::make_unique<hob::call_handle>(
            future.add_done_callback([kept = std::move(last)](const hob::future<>&) {}));
        future.set_result();
        loop->stop();
    });
    loop->run_forever();
    hob::call_handle& cancelled = *handle;
    CHECK(cancelled.cancel());
    CHECK(loop->is_closed());
}
