// SPDX-License-Identifier: MIT
// Operations that complete while they are being cancelled, or refuse.
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

using test::at_exit;
using test::gate;
using strings = std::vector<std::string>;

namespace {

/// Refuses to be cancelled.
class stubborn_operation final : public hob::detail::operation {
  public:
    explicit stubborn_operation(stubborn_operation*& slot, int& cancels) noexcept
        : slot_(slot), cancels_(cancels) {}
    static constexpr bool await_ready() noexcept { return false; }
    template <hob::detail::hob_promise Promise>
    bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
        if (begin(awaiting.promise()))
            slot_ = this;
        return true;
    }
    static int await_resume() noexcept { return 9; }
    void finish() noexcept {
        slot_ = nullptr;
        complete();
    }

  private:
    void cancel() noexcept override { ++cancels_; }
    [[nodiscard]] std::string describe() const override { return "something stubborn"; }
    stubborn_operation*& slot_;
    int& cancels_;
};

} // namespace

TEST_CASE("an operation that completed first gives its result, and the next one stops",
          "[completion-wins]") {
    test::program program(test::any_loop());
    strings log;
    hob::task_handle<> victim;
    gate open;
    auto body = [&]() -> hob::task<> {
        const int value = co_await test::value_after(open, 4);
        log.push_back("got " + std::to_string(value));
        co_await hob::yield();
        log.push_back("never");
    };
    auto main = [&]() -> hob::task<> {
        SECTION("cancelled after the completion, in the same turn") {
            victim = hob::create_task(body());
            co_await test::settle();
            open.open();
            CHECK(victim.cancel());
        }
        SECTION("cancelled before the completion, in the same turn") {
            victim = hob::create_task(body());
            co_await test::settle();
            CHECK(victim.cancel());
            open.open();
        }
        CHECK_THROWS_AS(co_await victim, hob::cancelled_error);
        CHECK(log == strings{"got 4"});
    };
    program.run(main());
}

TEST_CASE("a task that is ready runs its step before a cancellation stops it",
          "[completion-wins][cancel-ready]") {
    test::program program(test::any_loop());
    int steps = 0;
    auto body = [&]() -> hob::task<> {
        for (;;) {
            co_await hob::yield();
            ++steps;
        }
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(body());
        co_await hob::yield();
        co_await hob::yield();
        const int before = steps;
        handle.cancel(); // the body stands in the ready queue
        co_await test::settle();
        CHECK(handle.cancelled());
        CHECK(steps == before + 1);
    };
    program.run(main());
}

TEST_CASE("an operation may refuse a cancellation", "[cancel-reject]") {
    test::program program(test::any_loop());
    stubborn_operation* waiting = nullptr;
    int cancels = 0;
    strings log;
    auto body = [&]() -> hob::task<> {
        const at_exit note(log, "unwound");
        const int value =
            co_await hob::detail::deferred<stubborn_operation, stubborn_operation*&, int&>(waiting,
                                                                                           cancels);
        log.push_back("got " + std::to_string(value));
        co_await hob::yield();
        log.push_back("never");
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(body());
        co_await test::settle();
        REQUIRE(waiting != nullptr);
        CHECK(handle.cancel());
        co_await test::settle();
        CHECK(handle.cancel());
        co_await test::settle();
        CHECK(cancels == 1);
        CHECK_FALSE(handle.done());
        CHECK(log.empty());
        waiting->finish();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
    };
    program.run(main());
    CHECK(log == strings{"got 9", "unwound"});
}
