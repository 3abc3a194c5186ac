// SPDX-License-Identifier: MIT
// How an exception travels: to the awaiter, or to the loop's exception handler, once.
#include "../catch.hpp"
#include "support/child_process.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/gather.hpp>
#include <hob/shield.hpp>
#include <hob/timeout.hpp>

#include <memory>

using namespace std::chrono_literals;
using test::gate;

namespace {

class special_error : public std::runtime_error {
  public:
    explicit special_error(int number) : std::runtime_error("special"), value(number) {}
    int value;
};

/// Throws on its n-th move.
class fragile {
  public:
    explicit fragile(int moves_left) : moves_left_(moves_left) {}
    fragile(fragile&& other) : moves_left_(other.moves_left_ - 1) {
        if (moves_left_ < 0)
            throw special_error(7);
    }
    fragile& operator=(fragile&&) = delete;

  private:
    int moves_left_;
};
hob::task<fragile> make_fragile(int moves, bool suspend) {
    if (suspend)
        co_await hob::yield();
    co_return fragile(moves);
}

/// Throws when it is made.
class unmakeable {
  public:
    explicit(false) unmakeable(int) { throw special_error(8); }
};

hob::task<> fail_special(bool suspend) {
    if (suspend)
        co_await hob::yield();
    throw special_error(3);
}
hob::task<> pass_on(bool suspend, int depth) {
    if (depth == 0)
        co_await fail_special(suspend);
    else
        co_await pass_on(suspend, depth - 1);
}

} // namespace

TEST_CASE("an exception arrives with its dynamic type", "[exc-type][exc-early]") {
    test::program program(test::any_loop());
    auto throw_number = [](bool suspend) -> hob::task<int> {
        if (suspend)
            co_await hob::yield();
        throw 42;
    };
    auto main = [&]() -> hob::task<> {
        for (const bool suspend : {false, true}) {
            int value = 0;
            try {
                co_await pass_on(suspend, 5);
            } catch (const special_error& error) {
                value = error.value;
            }
            CHECK(value == 3);
            try {
                co_await hob::create_task(pass_on(suspend, 5));
            } catch (const special_error& error) {
                value += error.value;
            }
            CHECK(value == 6);
            try {
                co_await throw_number(suspend);
            } catch (int number) {
                value += number;
            }
            CHECK(value == 48);
            CHECK_THROWS_AS(co_await hob::gather(pass_on(suspend, 1), hob::yield()), special_error);
            CHECK_THROWS_AS(co_await hob::timeout(1h, pass_on(suspend, 1)), special_error);
        }
    };
    program.run(main());
    CHECK_THROWS_AS(program.run(pass_on(false, 3)), special_error);
    CHECK_THROWS_AS(program.run(pass_on(true, 3)), special_error);
    CHECK(program.reports.empty());
}

TEST_CASE("the very exception object travels", "[exc-type]") {
    test::program program(test::any_loop());
    const auto original = std::make_exception_ptr(special_error(1));
    auto fail = [&]() -> hob::task<> {
        co_await hob::yield();
        std::rethrow_exception(original);
    };
    auto main = [&]() -> hob::task<> {
        std::exception_ptr caught;
        try {
            co_await fail();
        } catch (...) {
            caught = std::current_exception();
        }
        CHECK(caught == original);
        auto handle = hob::create_task(fail());
        for (int round = 0; round != 2; ++round) {
            caught = nullptr;
            try {
                co_await handle;
            } catch (...) {
                caught = std::current_exception();
            }
            CHECK(caught == original);
        }
    };
    program.run(main());
}

TEST_CASE("nested exceptions and handlers that throw keep their order", "[exc-type]") {
    test::program program(test::any_loop());
    auto translate = []() -> hob::task<> {
        try {
            co_await fail_special(true);
        } catch (...) {
            std::throw_with_nested(std::runtime_error("outer"));
        }
    };
    auto main = [&]() -> hob::task<> {
        bool seen = false;
        try {
            co_await translate();
        } catch (const std::runtime_error& error) {
            CHECK(error.what() == std::string("outer"));
            try {
                std::rethrow_if_nested(error);
            } catch (const special_error&) {
                seen = true;
            }
        }
        CHECK(seen);
        CHECK(std::uncaught_exceptions() == 0);
        CHECK_FALSE(std::current_exception());
    };
    program.run(main());
}

TEST_CASE("an exception leaves locals destroyed in reverse order", "[exc-type]") {
    test::program program(test::any_loop());
    std::vector<std::string> log;
    auto inner = [&]() -> hob::task<> {
        const test::at_exit first(log, "inner first");
        co_await hob::yield();
        const test::at_exit second(log, "inner second");
        throw special_error(1);
    };
    auto outer = [&]() -> hob::task<> {
        const test::at_exit first(log, "outer");
        co_await inner();
    };
    CHECK_THROWS_AS(program.run(outer()), special_error);
    CHECK(log == std::vector<std::string>{"inner second", "inner first", "outer"});
}

TEST_CASE("an exception from the move of a result reaches the awaiter", "[exc-retval]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        for (const bool suspend : {false, true}) {
            // Whichever move it is: into the outcome, out of it, or between two of them.
            for (int moves = 0; moves != 6; ++moves) {
                INFO("moves " << moves);
                bool failed = false;
                try {
                    [[maybe_unused]] auto value = co_await make_fragile(moves, suspend);
                } catch (const special_error&) {
                    failed = true;
                }
                CHECK(failed == (moves < 2));
                // Not more often than this.
                bool shielded_failed = false;
                try {
                    [[maybe_unused]] auto value =
                        co_await hob::shield(make_fragile(moves, suspend));
                } catch (const special_error&) {
                    shielded_failed = true;
                }
                if (failed)
                    CHECK(shielded_failed);
                bool joined_failed = false;
                try {
                    [[maybe_unused]] auto value =
                        co_await hob::create_task(make_fragile(moves, suspend));
                } catch (const special_error&) {
                    joined_failed = true;
                }
                if (failed)
                    CHECK(joined_failed);
                if (moves == 5) {
                    CHECK_FALSE(shielded_failed);
                    CHECK_FALSE(joined_failed);
                }
            }
        }
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("an exception from the construction of a result reaches the awaiter", "[exc-retval]") {
    test::program program(test::any_loop());
    auto make = [](bool suspend) -> hob::task<unmakeable> {
        if (suspend)
            co_await hob::yield();
        co_return 1;
    };
    CHECK_THROWS_AS(program.run(make(false)), special_error);
    CHECK_THROWS_AS(program.run(make(true)), special_error);
}

TEST_CASE("an exception of a detached task is reported once with its name", "[detached-exc]") {
    test::program program(test::any_loop());
    bool went_on = false;
    auto main = [&]() -> hob::task<> {
        hob::create_task(fail_special(true)).set_name("the failing one");
        hob::create_task(fail_special(false)).set_name("the other one");
        co_await test::settle();
        went_on = true;
    };
    program.run(main());
    CHECK(went_on);
    REQUIRE(program.reports.size() == 2);
    CHECK(program.reports[0].task == "the other one");
    CHECK(program.reports[1].task == "the failing one");
    for (const auto& each : program.reports) {
        CHECK(hob::exception_group::describe(each.exception) == "special");
        CHECK_THAT(each.stack, test::contains("fail_special"));
        CHECK_FALSE(each.message.empty());
    }
}

TEST_CASE("an exception that a kept handle never retrieves is reported when it is dropped",
          "[detached-exc]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(fail_special(true));
        co_await test::settle();
        CHECK(handle.done());
        CHECK(program.reports.empty());
        auto copy = handle;
        handle = hob::task_handle<>();
        CHECK(program.reports.empty());
        copy = hob::task_handle<>();
        CHECK(program.reports.size() == 1);
    };
    program.run(main());
    CHECK(program.reports.size() == 1);
}

TEST_CASE("an exception is also reported if its handle is dropped between two runs",
          "[detached-exc]") {
    test::program program(test::any_loop());
    {
        hob::task_handle<> kept;
        auto main = [&]() -> hob::task<> {
            kept = hob::create_task(fail_special(true));
            kept.set_name("kept");
            co_await test::settle();
        };
        program.run(main());
        CHECK(program.reports.empty());
    }
    REQUIRE(program.reports.size() == 1);
    CHECK(program.reports[0].task == "kept");
}

TEST_CASE("retrieving an exception suppresses its report", "[retrieved]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        {
            auto handle = hob::create_task(fail_special(true));
            auto other = handle;
            CHECK_THROWS_AS(co_await handle, special_error);
        }
        CHECK_THROWS_AS(co_await hob::create_task(fail_special(false)), special_error);
        {
            auto handle = hob::create_task(fail_special(false));
            CHECK_THROWS_AS(co_await hob::gather(handle, hob::yield()), special_error);
        }
        co_await test::settle();
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a waiter that was stopped first has not retrieved the exception", "[retrieved]") {
    gate open;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        {
            auto failing = hob::create_task(test::failure_after(open, "unseen"));
            auto wait = [](hob::task_handle<int> handle) -> hob::task<> { co_await handle; };
            auto waiter = hob::create_task(wait(failing));
            co_await test::settle();
            waiter.cancel();
            co_await test::settle();
            CHECK(waiter.cancelled());
            open.open();
        }
        co_await test::settle();
    };
    program.run(main());
    REQUIRE(program.reports.size() == 1);
    CHECK(hob::exception_group::describe(program.reports[0].exception) == "unseen");
}

TEST_CASE("a cancelled task is never reported", "[cancel-not-reported]") {
    gate never;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        hob::create_task(test::value_after(never, 1)).cancel();
        {
            auto waiting = hob::create_task(test::value_after(never, 1));
            co_await test::settle();
            waiting.cancel();
        }
        co_await test::settle();
        hob::create_task(test::value_after(never, 1)); // by the closing of the loop
    };
    program.run(main());
    program.runner().close();
    CHECK(program.reports.empty());
}

TEST_CASE("an exception at depth 50000 reaches the root", "[exc-depth]") {
    test::program program(test::any_loop());
    CHECK_THROWS_AS(program.run(pass_on(false, 50'000)), special_error);
    CHECK_THROWS_AS(program.run(pass_on(true, 50'000)), special_error);
}
