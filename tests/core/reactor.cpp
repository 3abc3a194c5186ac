// SPDX-License-Identifier: MIT
// Many operations on small rings.
#include "../catch.hpp"
#include "support/child_process.hpp"
#include "support/program.hpp"

#include <hob/core/timer_queue.hpp>
#include <hob/gather.hpp>
#include <hob/task_group.hpp>
#include <hob/timeout.hpp>

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

using namespace std::chrono_literals;
using test::contains;

namespace {

hob::runner_options small_ring(hob::ring_mode mode, unsigned submissions, unsigned completions) {
    hob::runner_options options = test::program::with(mode);
    options.ring.submission_entries = submissions;
    options.ring.completion_entries = completions;
    return options;
}

auto both_modes() {
    return GENERATE(hob::ring_mode::defer_taskrun, hob::ring_mode::plain);
}

} // namespace

TEST_CASE("ten thousand operations complete through a submission queue of one entry", "[sq-full]") {
    test::program program(small_ring(both_modes(), 1, 0));
    int done = 0;
    auto operation = [&]() -> hob::task<> {
        const int result = co_await test::nop();
        CHECK(result == 0);
        ++done;
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        for (int index = 0; index != 10'000; ++index)
            group.start(operation());
        co_return;
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    program.run(main());
    CHECK(done == 10'000);
}

TEST_CASE("what is queued behind a full submission queue reaches the kernel though the loop never "
          "sleeps",
          "[sq-full]") {
    test::program program(small_ring(both_modes(), 1, 0));
    int done = 0;
    auto operation = [&]() -> hob::task<> {
        co_await test::nop();
        ++done;
    };
    auto main = [&]() -> hob::task<> {
        std::vector<hob::task_handle<>> operations;
        for (int index = 0; index != 3; ++index)
            operations.push_back(hob::create_task(operation()));
        for (int turn = 0; turn != 1'000'000 && done != 3; ++turn)
            co_await hob::yield();
        CHECK(done == 3);
        for (const hob::task_handle<>& each : operations)
            co_await each;
    };
    program.run(main());
}

TEST_CASE("cancellations go through a submission queue of one entry", "[sq-full][cancel-sq-full]") {
    test::program program(small_ring(both_modes(), 1, 4));
    const int descriptor = ::eventfd(0, EFD_CLOEXEC);
    auto polling = [&]() -> hob::task<> { co_await test::poll_readable(descriptor); };
    auto main = [&]() -> hob::task<> {
        std::vector<hob::task_handle<>> handles;
        for (int index = 0; index != 1000; ++index)
            handles.push_back(hob::create_task(polling()));
        co_await test::settle();
        for (auto& each : handles)
            each.cancel();
        for (auto& each : handles)
            CHECK_THROWS_AS(co_await each, hob::cancelled_error);
        CHECK(hob::event_loop::current().operations_in_flight() == 0);
    };
    program.run(main());
    ::close(descriptor);
}

TEST_CASE("a thousand completions at once overflow a queue of eight and all arrive",
          "[cq-overflow]") {
    test::program program(small_ring(both_modes(), 8, 8));
    const int descriptor = ::eventfd(0, EFD_CLOEXEC);
    int done = 0;
    auto polling = [&]() -> hob::task<> {
        const int ready = co_await test::poll_readable(descriptor);
        CHECK((ready & 1) != 0);
        ++done;
    };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        for (int round = 0; round != 5; ++round) {
            for (int index = 0; index != 1000; ++index)
                group.start(polling());
            co_await test::settle();
            CHECK(done == round * 1000);
            std::uint64_t one = 1;
            CHECK(::write(descriptor, &one, sizeof one) == sizeof one);
            while (group.size() != 0)
                co_await hob::yield();
            CHECK(::read(descriptor, &one, sizeof one) == sizeof one);
        }
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    program.run(main());
    CHECK(done == 5000);
    ::close(descriptor);
}

TEST_CASE("an operation that is cancelled before its submission never takes effect",
          "[cancel-unflushed]") {
    test::program program(both_modes());
    const int descriptor = ::eventfd(1, EFD_CLOEXEC);
    bool completed = false;
    auto polling = [&]() -> hob::task<> {
        co_await test::poll_readable(descriptor);
        completed = true;
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(polling());
        // The task submits, and this callback cancels it in the same turn.
        hob::event_loop::current().call_soon([&] { handle.cancel(); });
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
        CHECK(hob::event_loop::current().operations_in_flight() == 0);
    };
    program.run(main());
    CHECK_FALSE(completed);
    ::close(descriptor);
}

TEST_CASE("completions and cancellations race and every waiter ends once", "[cancel-order]") {
    test::program program(both_modes());
    int stopped = 0;
    int completed = 0;
    constexpr int count = 5000;
    auto racing = [&](int descriptor) -> hob::task<> {
        if (((co_await test::poll_readable(descriptor)) & 1) != 0)
            ++completed;
    };
    auto main = [&]() -> hob::task<> {
        const int descriptor = ::eventfd(0, EFD_CLOEXEC);
        for (int round = 0; round != count; ++round) {
            auto handle = hob::create_task(racing(descriptor));
            co_await test::settle(round % 3 + 1);
            std::uint64_t value = 1;
            CHECK(::write(descriptor, &value, sizeof value) == sizeof value);
            if (round % 2 == 0)
                co_await hob::yield();
            handle.cancel();
            try {
                co_await handle;
            } catch (const hob::cancelled_error&) {
                ++stopped;
            }
            CHECK(::read(descriptor, &value, sizeof value) == sizeof value);
        }
        ::close(descriptor);
        CHECK(hob::event_loop::current().operations_in_flight() == 0);
    };
    program.run(main());
    CHECK(stopped + completed == count);
}

TEST_CASE("ten thousand polls that are cancelled in one turn all end", "[poll-cancel]") {
    test::program program(both_modes());
    const int descriptor = ::eventfd(0, EFD_CLOEXEC);
    auto polling = [&]() -> hob::task<> { co_await test::poll_readable(descriptor); };
    auto body = [&](hob::task_group& group) -> hob::task<> {
        for (int index = 0; index != 10'000; ++index)
            group.start(polling());
        co_await test::settle();
        CHECK(hob::event_loop::current().operations_in_flight() == 10'000);
        group.cancel();
    };
    auto main = [&]() -> hob::task<> {
        co_await hob::with_task_group(body);
        CHECK(hob::event_loop::current().operations_in_flight() == 0);
    };
    program.run(main());
    ::close(descriptor);
}

TEST_CASE("a million operations that are complete at their submission do not recurse",
          "[stack-io]") {
    test::program program;
    const int count = test::sanitized ? 100'000 : 1'000'000;
    auto main = [&]() -> hob::task<> {
        int sum = 0;
        for (int index = 0; index != count; ++index)
            sum += co_await test::nop();
        CHECK(sum == 0);
    };
    program.run(main());
}

TEST_CASE("a completion for an operation that is not under way stops the process", "[stray-cqe]") {
    const test::child_result child = test::in_child([] {
        auto main = []() -> hob::task<> {
            auto& ring = hob::detail::reactor::here().kernel();
            test::nop_operation idle;
            io_uring_sqe* const entry = ring.next_sqe();
            io_uring_prep_nop(entry);
            entry->user_data =
                reinterpret_cast<std::uintptr_t>(static_cast<hob::detail::ring_operation*>(&idle));
            co_await test::nop();
            co_await test::nop();
        };
        hob::run(main());
        return 0;
    });
    CHECK(child.signal == SIGABRT);
    CHECK_THAT(child.errors, contains("hob: internal error: a completion arrived for an operation "
                                      "that is not in flight"));
}

TEST_CASE("operations and what waits for them cannot be copied or moved", "[pinned]") {
    using poll = test::poll_operation;
    STATIC_REQUIRE_FALSE(std::is_move_constructible_v<poll>);
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<poll>);
    STATIC_REQUIRE_FALSE(std::is_move_constructible_v<hob::detail::sleep_operation>);
    STATIC_REQUIRE_FALSE(std::is_move_constructible_v<hob::detail::gather_operation<int, int>>);
    STATIC_REQUIRE_FALSE(std::is_move_constructible_v<hob::detail::timeout_operation<int>>);
    STATIC_REQUIRE_FALSE(std::is_move_constructible_v<hob::task_group>);
    STATIC_REQUIRE_FALSE(std::is_move_constructible_v<hob::event_loop>);
    STATIC_REQUIRE_FALSE(std::is_move_constructible_v<hob::detail::scope>);
}
