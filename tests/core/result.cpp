// SPDX-License-Identifier: MIT
#include "../catch.hpp"

#include <hob/core/result.hpp>

#include <cerrno>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>

using hob::detail::outcome;
using hob::detail::outcome_state;

namespace {
std::error_code broken_pipe() {
    return {EPIPE, std::system_category()};
}
class tracker {
  public:
    explicit tracker(int& alive) noexcept : alive_(alive) { ++alive_; }
    tracker(tracker&& other) noexcept : alive_(other.alive_) { ++alive_; }
    ~tracker() { --alive_; }

  private:
    int& alive_;
};
struct bad_move {
    bad_move() = default;
    bad_move(bad_move&&) { throw std::runtime_error("move"); }
};
} // namespace

TEST_CASE("a result holds a value or an error") {
    hob::result<int> value(3);
    CHECK(value.has_value());
    CHECK(value);
    CHECK(value.value() == 3);
    CHECK(*value == 3);
    CHECK_FALSE(value.error());
    hob::result<int> error(broken_pipe());
    CHECK_FALSE(error);
    CHECK(error.error() == std::errc::broken_pipe);
    CHECK_THROWS_AS(error.value(), std::system_error);
    CHECK(std::move(error).value_or(7) == 7);
    CHECK(hob::result<int>(4).value_or(7) == 4);
}

TEST_CASE("a result holds what can only be moved") {
    hob::result<std::unique_ptr<int>> value(std::make_unique<int>(5));
    CHECK(**value == 5);
    const std::unique_ptr<int> taken = std::move(value).value();
    CHECK(*taken == 5);
    hob::result<std::string> text(std::string("abc"));
    CHECK(text->size() == 3);
}

TEST_CASE("a result without a value tells success from an error") {
    CHECK(hob::result<void>());
    CHECK_NOTHROW(hob::result<void>().value());
    const hob::result<void> error(broken_pipe());
    CHECK_FALSE(error);
    try {
        error.value();
        FAIL("nothing was thrown");
    } catch (const std::system_error& thrown) {
        CHECK(thrown.code() == std::errc::broken_pipe);
    }
}

TEST_CASE("an outcome destroys exactly what it holds", "[value]") {
    int alive = 0;
    {
        outcome<tracker> first;
        CHECK(first.state() == outcome_state::empty);
        first.set_value(tracker(alive));
        CHECK(alive == 1);
        outcome<tracker> second;
        second.take(first);
        CHECK(alive == 1);
        CHECK(first.state() == outcome_state::empty);
        CHECK(second.state() == outcome_state::value);
        {
            const tracker got = second.get();
            CHECK(alive == 2);
        }
        second.reset();
        CHECK(alive == 0);
        second.set_value(tracker(alive));
    }
    CHECK(alive == 0);
}

TEST_CASE("an outcome holds references", "[value]") {
    int target = 1;
    outcome<int&> left;
    left.set_value(target);
    outcome<int&> right;
    right.take(left);
    CHECK(&right.get() == &target);
    CHECK(&right.peek() == &target);
}

TEST_CASE("an outcome throws its exception as often as it is looked at", "[exc-type]") {
    outcome<int> failed;
    failed.set_exception(std::make_exception_ptr(std::logic_error("x")));
    CHECK_THROWS_AS(failed.peek(), std::logic_error);
    CHECK_THROWS_AS(failed.peek(), std::logic_error);
    outcome<int> moved;
    moved.take(failed);
    CHECK(failed.state() == outcome_state::empty);
    CHECK_THROWS_AS(moved.get(), std::logic_error);

    outcome<void> none;
    CHECK(none.state() == outcome_state::value);
    none.set_exception(std::make_exception_ptr(std::logic_error("y")));
    CHECK_THROWS_AS(none.peek(), std::logic_error);
    outcome<void> taken;
    taken.take(none);
    CHECK(none.state() == outcome_state::value);
    CHECK_THROWS_AS(taken.get(), std::logic_error);
}

TEST_CASE("a value that cannot be moved becomes the exception", "[exc-retval]") {
    outcome<bad_move> from;
    CHECK_THROWS(from.set_value(bad_move()));
    CHECK(from.state() == outcome_state::empty);
    outcome<bad_move> source;
    // Constructed in place, so that the first move is that of `take`.
    class maker {
      public:
        operator bad_move() const { return {}; }
    };
    source.set_value(maker());
    outcome<bad_move> target;
    target.take(source);
    CHECK(target.state() == outcome_state::exception);
    CHECK_THROWS_WITH(target.get(), "move");
}
