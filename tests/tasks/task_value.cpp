// SPDX-License-Identifier: MIT
// What a task may give, and how it is delivered.
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/shield.hpp>
#include <hob/timeout.hpp>

#include <memory>

using namespace std::chrono_literals;

namespace {

class not_default {
  public:
    explicit not_default(int number) : value(number) {}
    not_default(const not_default&) = delete;
    not_default(not_default&&) = default;
    not_default& operator=(not_default&&) = delete;
    int value;
};

class copy_counter {
  public:
    explicit copy_counter(int& copy_count, int& move_count)
        : copies(&copy_count), moves(&move_count) {}
    copy_counter(const copy_counter& other) : copies(other.copies), moves(other.moves) {
        ++*copies;
    }
    copy_counter(copy_counter&& other) noexcept : copies(other.copies), moves(other.moves) {
        ++*moves;
    }
    copy_counter& operator=(const copy_counter&) = delete;
    int* copies;
    int* moves;
};

class pair_of_numbers {
  public:
    pair_of_numbers(int one, int two) : first(one), second(two) {}
    int first;
    int second;
};

class base {
  public:
    virtual ~base() = default;
    [[nodiscard]] virtual int number() const { return 1; }
};
class derived final : public base {
  public:
    [[nodiscard]] int number() const override { return 2; }
};

hob::task<not_default> make_not_default(int value, bool suspend) {
    if (suspend)
        co_await hob::yield();
    co_return not_default(value);
}

} // namespace

TEST_CASE("a task gives move-only values and values without a default", "[value]") {
    test::program program(test::any_loop());
    auto make = [](int value) -> hob::task<std::unique_ptr<int>> {
        co_return std::make_unique<int>(value);
    };
    auto main = [&]() -> hob::task<> {
        CHECK(*co_await make(3) == 3);
        for (const bool suspend : {false, true}) {
            CHECK((co_await make_not_default(4, suspend)).value == 4);
            auto handle = hob::create_task(make_not_default(5, suspend));
            CHECK((co_await handle).value == 5);
            CHECK((co_await handle).value == 5);
            CHECK((co_await std::move(handle)).value == 5);
            CHECK((co_await hob::shield(make_not_default(6, suspend))).value == 6);
            CHECK((co_await hob::timeout(1h, make_not_default(7, suspend))).value == 7);
            CHECK((co_await hob::try_timeout(1h, make_not_default(8, suspend)))->value == 8);
        }
    };
    program.run(main());
}

TEST_CASE("a value is never copied, and moved a few times at most", "[value]") {
    test::program program(test::any_loop());
    int copies = 0;
    int moves = 0;
    auto make = [&]() -> hob::task<copy_counter> { co_return copy_counter(copies, moves); };
    auto main = [&]() -> hob::task<> {
        [[maybe_unused]] const copy_counter direct = co_await make();
        CHECK(copies == 0);
        CHECK(moves <= 2);
        moves = 0;
        auto handle = hob::create_task(make());
        const copy_counter& joined = co_await handle;
        CHECK(joined.copies == &copies);
        CHECK(copies == 0);
        CHECK(moves <= 2);
        [[maybe_unused]] const copy_counter taken = co_await std::move(handle);
        CHECK(copies == 0);
        CHECK(moves <= 3);
    };
    program.run(main());
    CHECK(program.run(make()).copies == &copies);
    CHECK(copies == 0);
}

TEST_CASE("a task gives references to the very object", "[value]") {
    test::program program(test::any_loop());
    int target = 1;
    auto refer = [&]() -> hob::task<int&> {
        co_await hob::yield();
        co_return target;
    };
    auto refer_const = [&]() -> hob::task<const int&> { co_return target; };
    derived object;
    auto refer_base = [&]() -> hob::task<base&> { co_return object; };
    auto refer_moved = [&]() -> hob::task<int&&> { co_return std::move(target); };
    auto main = [&]() -> hob::task<> {
        CHECK(&co_await refer() == &target);
        CHECK(&co_await refer_const() == &target);
        CHECK((co_await refer_base()).number() == 2);
        int&& moved = co_await refer_moved();
        CHECK(&moved == &target);
        auto handle = hob::create_task(refer());
        CHECK(&co_await handle == &target);
        CHECK(&co_await std::move(handle) == &target);
        CHECK(&co_await hob::timeout(1h, refer()) == &target);
    };
    program.run(main());
    CHECK(&program.run(refer()) == &target);
}

TEST_CASE("a value may be made from braces, by conversion, or be const", "[value]") {
    test::program program(test::any_loop());
    auto braces = []() -> hob::task<pair_of_numbers> { co_return {1, 2}; };
    auto text = []() -> hob::task<std::string> { co_return "text"; };
    auto constant = []() -> hob::task<const int> { co_return 3; };
    auto shared = []() -> hob::task<std::shared_ptr<base>> {
        co_return std::make_shared<derived>();
    };
    auto main = [&]() -> hob::task<> {
        CHECK((co_await braces()).second == 2);
        CHECK(co_await text() == "text");
        CHECK(co_await constant() == 3);
        CHECK((co_await shared())->number() == 2);
    };
    program.run(main());
}

TEST_CASE("run gives the value of its task and can be used again", "[value]") {
    test::program program(test::any_loop());
    CHECK(program.run(test::value_now(1)) == 1);
    CHECK(program.run(make_not_default(2, true)).value == 2);
    CHECK_THROWS_WITH(program.run(test::failure_now("x")), "x");
    CHECK(program.run(test::value_now(3)) == 3);
    CHECK(program.reports.empty());
}

TEST_CASE("a value that nobody takes is destroyed once", "[value]") {
    test::program program(test::any_loop());
    int alive = 0;
    auto make = [&]() -> hob::task<test::counted> { co_return test::counted(alive); };
    auto main = [&]() -> hob::task<> {
        co_await make();
        CHECK(alive == 0);
        {
            auto handle = hob::create_task(make());
            co_await test::settle();
            CHECK(alive == 1);
        }
        CHECK(alive == 0);
        hob::create_task(make());
        co_await test::settle();
        CHECK(alive == 0);
    };
    program.run(main());
    CHECK(alive == 0);
}

TEST_CASE("a task has a name", "[task-name]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        auto first = hob::create_task(test::settle());
        auto second = hob::create_task(test::settle());
        CHECK_THAT(first.name(), Catch::Matchers::StartsWith("task-"));
        CHECK(first.name() != second.name());
        first.set_name("first").set_name("renamed");
        CHECK(first.name() == "renamed");
        auto copy = first;
        CHECK(copy.name() == "renamed");
        CHECK(copy == first);
        CHECK_FALSE(copy == second);
        co_await second;
    };
    program.run(main());
}
