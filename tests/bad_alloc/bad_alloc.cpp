// SPDX-License-Identifier: MIT
// Fails the n-th allocation, for every n, and looks at what is left. Frames are not pooled here,
// so that each one is an allocation.
#define HOB_DETAIL_PLAIN_FRAMES 1

#include "../catch.hpp"
#include "support/program.hpp"

#include <hob/as_completed.hpp>
#include <hob/async_generator.hpp>
#include <hob/context_variable.hpp>
#include <hob/finally.hpp>
#include <hob/for_each_limited.hpp>
#include <hob/gather.hpp>
#include <hob/gather_outcomes.hpp>
#include <hob/race.hpp>
#include <hob/shield.hpp>
#include <hob/staggered_race.hpp>
#include <hob/stop_token.hpp>
#include <hob/sync/future.hpp>
#include <hob/task_group.hpp>
#include <hob/timeout.hpp>
#include <hob/wait.hpp>

#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <new>

namespace {

constexpr long disarmed = -1;
long until_failure = disarmed;
long live = 0;

void* allocate(std::size_t size) {
    if (until_failure == 0) {
        until_failure = disarmed;
        throw std::bad_alloc();
    }
    if (until_failure > 0)
        --until_failure;
    void* const memory = std::malloc(size == 0 ? 1 : size);
    if (memory == nullptr)
        throw std::bad_alloc();
    ++live;
    return memory;
}
void deallocate(void* memory) noexcept {
    if (memory != nullptr)
        --live;
    std::free(memory);
}

} // namespace

// GCC sees malloc's memory pass to delete where it inlines only one of the two.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif
void* operator new(std::size_t size) {
    return allocate(size);
}
void* operator new[](std::size_t size) {
    return allocate(size);
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    try {
        return allocate(size);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}
void operator delete(void* memory) noexcept {
    deallocate(memory);
}
void operator delete[](void* memory) noexcept {
    deallocate(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    deallocate(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
    deallocate(memory);
}

namespace {

using namespace std::chrono_literals;
using test::counted;
using test::gate;

/// What a scenario works with. It must not allocate on its own account where that cannot fail.
class stage {
  public:
    gate never;
    int alive = 0;
    int caught = 0;
};
using scenario = hob::task<> (*)(stage&);

hob::task<> wait(counted, gate& when) {
    co_await when.wait();
}
hob::task<int> number_after_turns(counted, int turns) {
    for (int turn = 0; turn != turns; ++turn)
        co_await hob::yield();
    co_return turns;
}
hob::task<int> chain(stage& s, int depth) {
    const counted local(s.alive);
    if (depth == 0)
        co_return co_await number_after_turns(counted(s.alive), 2);
    co_return 1 + co_await chain(s, depth - 1);
}

/// Runs `play` with a failure at the n-th allocation, until there is no n-th allocation.
void fail_each_allocation(scenario play) {
    constexpr long many = 10'000;
    for (long number = 0;; ++number) {
        INFO("the allocation that failed: " << number);
        REQUIRE(number < many);
        const long live_before = live;
        bool failed = false;
        {
            stage s;
            int told = 0;
            std::size_t operations = 0;
            {
                test::program program;
                program.loop().set_exception_handler(
                    [&](const hob::exception_context&) { ++told; });
                auto armed = [&]() -> hob::task<> {
                    until_failure = number;
                    co_await play(s);
                };
                try {
                    program.run(armed());
                } catch (const std::exception&) {
                    ++told;
                }
                failed = until_failure == disarmed;
                until_failure = disarmed;
                // Whatever failed, the loop goes on.
                auto after = program.run(test::value_now(1));
                CHECK(after == 1);
                program.run(test::settle());
                operations = program.loop().operations_in_flight();
            }
            CHECK(s.alive == 0);
            CHECK(operations == 0);
            if (failed)
                CHECK(told + s.caught != 0);
            else
                CHECK(told == 0);
        }
        CHECK(live == live_before);
        if (!failed)
            break;
    }
    CHECK(until_failure == disarmed);
}

hob::task<> play_chain(stage& s) {
    const int sum = co_await chain(s, 5);
    if (sum != 7)
        ++s.caught;
}
hob::task<> play_catch(stage& s) {
    // The nearest awaiter gets it, and can go on.
    for (int round = 0; round != 3; ++round) {
        try {
            co_await chain(s, 3);
        } catch (const std::bad_alloc&) {
            ++s.caught;
        }
    }
}
hob::task<> play_tasks(stage& s) {
    auto waiting = hob::create_task(wait(counted(s.alive), s.never));
    waiting.set_name("a name that is too long to be kept without an allocation");
    auto number = hob::create_task(number_after_turns(counted(s.alive), 3));
    co_await number;
    waiting.cancel();
    try {
        co_await waiting;
    } catch (const hob::cancelled_error&) {
    }
}
hob::task<> play_gather(stage& s) {
    co_await hob::gather(number_after_turns(counted(s.alive), 1), hob::yield(),
                         number_after_turns(counted(s.alive), 0), chain(s, 1));
    std::vector<hob::task<int>> tasks;
    for (int index = 0; index != 20; ++index)
        tasks.push_back(number_after_turns(counted(s.alive), index % 4));
    co_await hob::gather(std::move(tasks));
}
hob::task<> play_race(stage& s) {
    co_await hob::race(wait(counted(s.alive), s.never), number_after_turns(counted(s.alive), 3));
    std::vector<hob::task<int>> tasks;
    for (int index = 5; index != 15; ++index)
        tasks.push_back(number_after_turns(counted(s.alive), index));
    co_await hob::race(std::move(tasks));
}
hob::task<> play_limits(stage& s) {
    co_await hob::timeout(1h, number_after_turns(counted(s.alive), 1));
    [[maybe_unused]] const auto expired =
        co_await hob::try_timeout(0s, wait(counted(s.alive), s.never));
    try {
        co_await hob::timeout(1us, wait(counted(s.alive), s.never));
    } catch (const hob::timeout_error&) {
    }
    co_await hob::shield(chain(s, 1));
}
hob::task<> play_finally(stage& s) {
    co_await hob::finally(chain(s, 1), wait(counted(s.alive), s.never));
}
hob::task<> play_cleanup(stage& s) {
    int cleaned = 0;
    auto cleanup = [&]() -> hob::task<> {
        co_await chain(s, 1);
        ++cleaned;
    };
    co_await hob::finally(chain(s, 1), cleanup);
    [[maybe_unused]] const auto expired =
        co_await hob::try_timeout(0s, hob::finally(wait(counted(s.alive), s.never), cleanup));
    if (cleaned != 2 && s.caught == 0)
        ++s.caught;
}
hob::task<> play_group(stage& s) {
    auto body = [&](hob::task_group& group) -> hob::task<> {
        group.start(wait(counted(s.alive), s.never));
        auto handle = group.create_task(number_after_turns(counted(s.alive), 2));
        group.start(number_after_turns(counted(s.alive), 1));
        co_await handle;
        group.cancel();
        co_await s.never.wait();
    };
    co_await hob::with_task_group(body);
}
hob::task<> play_failing_group(stage& s) {
    auto body = [&](hob::task_group& group) -> hob::task<> {
        for (int child = 0; child != 4; ++child)
            group.start(test::failure_now("x"));
        group.start(wait(counted(s.alive), s.never));
        co_await s.never.wait();
    };
    try {
        co_await hob::with_task_group(body);
    } catch (const hob::exception_group&) {
        // One of them may be the bad_alloc; or it is the report that could not be made.
        ++s.caught;
    }
}
hob::task<> play_callbacks(stage& s) {
    hob::event_loop& loop = hob::event_loop::current();
    const counted token(s.alive);
    loop.call_soon([token] {});
    loop.call_later(1us, [token] {});
    loop.call_later(1h, [token] {}).cancel();
    [[maybe_unused]] const bool posted = loop.call_soon_threadsafe([token] {});
    co_await test::settle(3);
    co_await hob::sleep_for(2us);
}
hob::task<> play_detached(stage& s) {
    for (int index = 0; index != 5; ++index)
        hob::create_task(chain(s, 2));
    hob::create_task(wait(counted(s.alive), s.never));
    co_await test::settle();
    // The rest is left to the closing of the loop.
}

class foreign {
  public:
    explicit foreign(std::coroutine_handle<>& slot) : slot_(slot) {}
    static bool await_ready() noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) noexcept { slot_ = waiter; }
    static void await_resume() noexcept {}

  private:
    std::coroutine_handle<>& slot_;
};
hob::task<> play_foreign(stage& s) {
    const counted local(s.alive);
    std::coroutine_handle<> slot;
    auto resume = [&]() -> hob::task<> {
        while (!slot)
            co_await hob::yield();
        slot.resume();
    };
    auto resuming = hob::create_task(resume());
    try {
        co_await foreign(slot);
    } catch (const std::bad_alloc&) {
        ++s.caught;
        resuming.cancel();
    }
}

hob::task<> play_wait(stage& s) {
    std::vector<hob::task_handle<int>> handles;
    for (int turns = 3; turns != 0; --turns)
        handles.push_back(hob::create_task(number_after_turns(counted(s.alive), turns)));
    const auto first = co_await hob::wait(handles, hob::return_when::first_completed, 1h);
    if (first.done.empty())
        ++s.caught;
    auto pages = hob::as_completed(handles);
    while (auto done = co_await pages.next())
        co_await *done;
    const auto all = co_await hob::wait(std::move(handles));
    if (all.done.size() != 3)
        ++s.caught;
}
hob::task<> play_outcomes(stage& s) {
    const auto [number, failure] = co_await hob::gather_outcomes(
        number_after_turns(counted(s.alive), 1), test::failure_now("x"));
    // Making the failure may be what failed.
    bool is_failure = false;
    try {
        static_cast<void>(failure.value());
    } catch (const std::runtime_error&) {
        is_failure = true;
    } catch (const std::bad_alloc&) {
    }
    if (!number.has_value() || !is_failure)
        ++s.caught;
    std::vector<hob::task<int>> attempts;
    for (int turns = 0; turns != 3; ++turns)
        attempts.push_back(number_after_turns(counted(s.alive), turns));
    co_await hob::staggered_race(1us, std::move(attempts));
}
hob::task<> play_limited(stage& s) {
    const std::vector<int> turns{1, 2, 3, 0};
    int ended = 0;
    auto each = [&](int count) -> hob::task<> {
        co_await number_after_turns(counted(s.alive), count);
        ++ended;
    };
    try {
        co_await hob::for_each_limited(2, turns, each);
    } catch (const hob::exception_group&) {
        ++s.caught;
    }
    if (ended != 4)
        ++s.caught;
}
hob::async_generator<int> count_up(stage& s, int end) {
    const counted local(s.alive);
    for (int number = 0; number != end; ++number) {
        co_await hob::yield();
        co_yield number;
    }
}
/// Leaves its first yield while nobody asks, and then gives a value, and fails at the second one.
hob::async_generator<int> break_off(stage& s) {
    const counted local(s.alive);
    auto& out = co_await hob::this_generator;
    auto breaks = [](counted) -> hob::task<> {
        co_await hob::yield();
        throw std::runtime_error("broken");
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        group.start(breaks(counted(s.alive)));
        co_await out.yield(1);
    };
    bool is_broken = false;
    try {
        co_await hob::with_task_group(body);
    } catch (const hob::exception_group&) {
        is_broken = true;
    }
    if (is_broken)
        co_yield 2;
    co_await hob::with_task_group(body);
}
hob::task<> play_generator(stage& s) {
    auto numbers = count_up(s, 3);
    while (co_await numbers.next()) {
    }
    auto abandoned = count_up(s, 3);
    co_await abandoned.next();
}
hob::task<> play_broken_generator(stage& s) {
    auto broken = break_off(s);
    bool has_failed = false;
    try {
        while (co_await broken.next())
            co_await test::settle(5);
    } catch (const hob::exception_group&) {
        has_failed = true;
    }
    // What failed may be among what the groups tell. Where a kept exception came from may be
    // missing, too, which shows in a report only.
    if (!has_failed || until_failure == disarmed)
        ++s.caught;
}
hob::task<> play_future(stage& s) {
    const hob::future<int> promised;
    const counted token(s.alive);
    promised.add_done_callback([token](const auto&) {});
    auto set = [&]() -> hob::task<> {
        co_await hob::yield();
        promised.set_result(1);
    };
    const auto setter = hob::create_task(set());
    co_await promised;
    setter.add_done_callback([token](const auto&) {});
    co_await test::settle(2);
}
hob::task<> play_context(stage& s) {
    hob::context_variable<int> number("number", 0);
    number.set(1);
    auto look = [&]() -> hob::task<> {
        {
            const auto restored = number.set_until_destroyed(2);
            co_await number_after_turns(counted(s.alive), 1);
        }
        // It could not be restored.
        if (number.get() != 1)
            ++s.caught;
    };
    const auto looker = hob::create_task(look());
    co_await looker;
    std::stop_source source;
    co_await hob::with_stop_token(source.get_token(), look());
}

std::ptrdiff_t open_descriptors() {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                         std::filesystem::directory_iterator());
}

} // namespace

TEST_CASE("bad_alloc at any allocation of a chain of awaits", "[bad-alloc]") {
    fail_each_allocation(play_chain);
    fail_each_allocation(play_catch);
}
TEST_CASE("bad_alloc at any allocation of tasks that are joined and cancelled", "[bad-alloc]") {
    fail_each_allocation(play_tasks);
    fail_each_allocation(play_detached);
}
TEST_CASE("bad_alloc at any allocation of gather and race", "[bad-alloc]") {
    fail_each_allocation(play_gather);
    fail_each_allocation(play_race);
}
TEST_CASE("bad_alloc at any allocation of limits, shields and cleanups", "[bad-alloc]") {
    fail_each_allocation(play_limits);
    fail_each_allocation(play_cleanup);
}
TEST_CASE("bad_alloc at any allocation of a group", "[bad-alloc]") {
    fail_each_allocation(play_group);
    fail_each_allocation(play_failing_group);
}
TEST_CASE("bad_alloc at any allocation of callbacks and foreign awaitables", "[bad-alloc]") {
    fail_each_allocation(play_callbacks);
    fail_each_allocation(play_foreign);
}
TEST_CASE("bad_alloc at any allocation of what waits for several tasks", "[bad-alloc]") {
    SECTION("wait and as_completed") {
        fail_each_allocation(play_wait);
    }
    SECTION("outcomes and attempts") {
        fail_each_allocation(play_outcomes);
    }
    SECTION("a limit of tasks") {
        fail_each_allocation(play_limited);
    }
}
TEST_CASE("bad_alloc at any allocation of generators, futures and contexts", "[bad-alloc]") {
    fail_each_allocation(play_generator);
    fail_each_allocation(play_broken_generator);
    fail_each_allocation(play_future);
    fail_each_allocation(play_context);
}
TEST_CASE("a cleanup is not begun when its finally could not be", "[bad-alloc]") {
    // Not a scenario of its own: the cleanup would wait for ever if it ran.
    const long live_before = live;
    {
        stage s;
        test::program program;
        auto armed = [&]() -> hob::task<> {
            until_failure = 1;
            co_await play_finally(s);
        };
        CHECK_THROWS_AS(program.run(armed()), std::bad_alloc);
        until_failure = disarmed;
        CHECK(s.alive == 0);
    }
    CHECK(live == live_before);
}
TEST_CASE("bad_alloc at any allocation of a runner", "[bad-alloc]") {
    {
        const hob::runner warm;
    }
    const auto descriptors = open_descriptors();
    for (long number = 0;; ++number) {
        INFO("the allocation that failed: " << number);
        REQUIRE(number < 1000);
        const long live_before = live;
        bool made = false;
        until_failure = number;
        try {
            hob::runner runner;
            until_failure = disarmed;
            made = true;
        } catch (const std::bad_alloc&) {
        }
        until_failure = disarmed;
        CHECK(live == live_before);
        if (made)
            break;
    }
    CHECK(open_descriptors() == descriptors);
}
TEST_CASE("an attempt that lacks the memory to wait for its turn keeps no later one waiting",
          "[bad-alloc]") {
    auto fail_later = [](int turns) -> hob::task<int> {
        co_await test::settle(turns);
        throw std::runtime_error("x");
        co_return 0;
    };
    auto race = [&]() -> hob::task<int> {
        std::vector<hob::task<int>> attempts;
        attempts.push_back(fail_later(3));
        attempts.push_back(fail_later(1));
        attempts.push_back(test::value_now(3));
        auto racing = hob::staggered_race(1h, std::move(attempts));
        const auto winner = co_await std::move(racing);
        co_return winner.value;
    };
    bool failed = true;
    for (long number = 0; failed; ++number) {
        INFO("the allocation that failed: " << number);
        REQUIRE(number < 1000);
        test::program program;
        auto armed = [&]() -> hob::task<int> {
            until_failure = number;
            co_return co_await race();
        };
        bool is_stuck = false;
        try {
            const int value = program.run(armed());
            CHECK(value == 3);
        } catch (const hob::deadlock_error&) {
            is_stuck = true;
        } catch (const std::exception&) {
        }
        failed = until_failure == disarmed;
        until_failure = disarmed;
        CHECK_FALSE(is_stuck);
    }
}
TEST_CASE("as_completed that lacks memory leaves no task of its own running", "[bad-alloc]") {
    bool failed = true;
    for (long number = 0; failed; ++number) {
        INFO("the allocation that failed: " << number);
        REQUIRE(number < 1000);
        stage s;
        test::program program;
        auto main = [&]() -> hob::task<> {
            std::vector<hob::task<>> tasks;
            tasks.push_back(wait(counted(s.alive), s.never));
            tasks.push_back(wait(counted(s.alive), s.never));
            until_failure = number;
            try {
                auto ended = hob::as_completed(std::move(tasks));
            } catch (const std::bad_alloc&) {
            }
            failed = until_failure == disarmed;
            until_failure = disarmed;
            tasks.clear();
            co_await test::settle();
            CHECK(s.alive == 0);
        };
        program.run(main());
    }
}
