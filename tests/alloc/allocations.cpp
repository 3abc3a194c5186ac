// SPDX-License-Identifier: MIT
// With warm pools, neither an operation nor a task allocates.
#include "../catch.hpp"
#include "support/program.hpp"

#include <hob/as_result.hpp>
#include <hob/finally.hpp>
#include <hob/gather.hpp>
#include <hob/race.hpp>
#include <hob/shield.hpp>
#include <hob/task_group.hpp>
#include <hob/timeout.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <new>
#include <string>
#include <utility>

// Sanitizers replace the operators themselves, and hob's pool steps aside for them.
#if !defined(TEST_SANITIZED)

namespace {
std::atomic<long> allocations = 0;
std::atomic<long> deallocations = 0;

void* counted_allocation(std::size_t size, std::size_t alignment) {
    allocations.fetch_add(1, std::memory_order_relaxed);
    void* const memory =
        alignment <= alignof(std::max_align_t)
            ? std::malloc(size == 0 ? 1 : size)
            : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (memory == nullptr)
        throw std::bad_alloc();
    return memory;
}
/// Called after memory has been freed.
std::function<void()> after_free;

void counted_free(void* memory) noexcept {
    if (memory != nullptr)
        deallocations.fetch_add(1, std::memory_order_relaxed);
    std::free(memory);
    if (after_free)
        after_free();
}
} // namespace

void* operator new(std::size_t size) {
    return counted_allocation(size, 0);
}
void* operator new[](std::size_t size) {
    return counted_allocation(size, 0);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
    return counted_allocation(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
    return counted_allocation(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept {
    counted_free(memory);
}
void operator delete[](void* memory) noexcept {
    counted_free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    counted_free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
    counted_free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
    counted_free(memory);
}
void operator delete[](void* memory, std::align_val_t) noexcept {
    counted_free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
    counted_free(memory);
}
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
    counted_free(memory);
}

namespace {

using namespace std::chrono_literals;
using test::gate;

constexpr int rounds = 1000;

/// Runs `step()` until the pools are warm, then many times over, and gives the number of
/// allocations that these made.
template <class Step> long allocations_of(Step step) {
    long made = -1;
    test::program program;
    auto main = [&]() -> hob::task<> {
        for (int round = 0; round != 10; ++round)
            co_await step();
        const long before = allocations;
        const long freed_before = deallocations;
        for (int round = 0; round != rounds; ++round)
            co_await step();
        made = allocations - before + (deallocations - freed_before);
    };
    program.run(main());
    return made;
}

} // namespace

TEST_CASE("the counting operators count", "[alloc]") {
    auto step = []() -> hob::task<> {
        // A direct call, which no compiler leaves out.
        ::operator delete(::operator new(1));
        co_return;
    };
    CHECK(allocations_of(step) >= rounds);
}

TEST_CASE("awaiting a task does not allocate", "[alloc]") {
    int sum = 0;
    auto bare = [&]() -> hob::task<> { sum += co_await test::value_now(1); };
    CHECK(allocations_of(bare) == 0);
    CHECK(sum == rounds + 10);
}

TEST_CASE("starting and joining a task does not allocate", "[alloc]") {
    auto step = []() -> hob::task<> {
        auto handle = hob::create_task(test::value_now(1));
        [[maybe_unused]] const int value = co_await handle;
        co_await hob::create_task(test::settle(2));
    };
    CHECK(allocations_of(step) == 0);
}

TEST_CASE("cancelling a task does not allocate", "[alloc]") {
    gate never;
    auto step = [&]() -> hob::task<> {
        auto handle = hob::create_task(test::value_after(never, 1));
        co_await hob::yield();
        handle.cancel();
        while (!handle.done())
            co_await hob::yield();
    };
    CHECK(allocations_of(step) == 0);
}

TEST_CASE("yields and sleeps do not allocate", "[alloc]") {
    auto step = []() -> hob::task<> {
        co_await hob::yield();
        co_await hob::sleep_for(0s);
        co_await hob::sleep_for(1us);
        co_await hob::sleep_until(hob::event_loop::current().time());
    };
    CHECK(allocations_of(step) == 0);
}

TEST_CASE("an operation of the ring does not allocate", "[alloc]") {
    auto step = []() -> hob::task<> {
        co_await test::nop();
        co_await hob::gather(test::nop(), test::nop());
    };
    CHECK(allocations_of(step) == 0);
}

TEST_CASE("a gather or race of a pack does not allocate", "[alloc]") {
    gate open;
    open.open();
    auto step = [&]() -> hob::task<> {
        co_await hob::gather(test::value_now(1), hob::yield(), test::value_after(open, 2));
        co_await hob::gather(hob::sleep_for(1us), hob::yield());
        co_await hob::race(hob::sleep_for(1h), test::settle(2));
    };
    CHECK(allocations_of(step) == 0);
}

TEST_CASE("a gather of a range allocates for the range and its results only", "[alloc]") {
    auto step = []() -> hob::task<> {
        std::vector<hob::task<int>> tasks;
        tasks.reserve(100);
        for (int index = 0; index != 100; ++index)
            tasks.push_back(test::value_now(index));
        co_await hob::gather(std::move(tasks));
    };
    // The two vectors, and the blocks of a deque: not one for each task. Allocations and
    // deallocations both count.
    CHECK(allocations_of(step) < rounds * 2 * 50);
}

TEST_CASE("timeouts do not allocate, whether they expire or not", "[alloc]") {
    gate never;
    auto step = [&]() -> hob::task<> {
        [[maybe_unused]] const int value = co_await hob::timeout(1h, test::value_now(1));
        co_await hob::timeout(1h, hob::yield());
        [[maybe_unused]] const auto expired = co_await hob::try_timeout(1us, never.wait());
        [[maybe_unused]] const auto at_once = co_await hob::try_timeout(0s, never.wait());
    };
    CHECK(allocations_of(step) == 0);
}

TEST_CASE("shield, finally and as_result do not allocate", "[alloc]") {
    auto step = []() -> hob::task<> {
        co_await hob::shield(hob::yield());
        co_await hob::finally(hob::yield(), hob::yield());
        auto cleanup = []() { return hob::yield(); };
        co_await hob::finally(test::settle(1), cleanup);
        [[maybe_unused]] const auto outcome = co_await hob::as_result(test::value_now(1));
    };
    CHECK(allocations_of(step) == 0);
}

TEST_CASE("a task group and its children do not allocate", "[alloc]") {
    auto body = [](hob::task_group& group) -> hob::task<> {
        for (int child = 0; child != 10; ++child)
            group.start(test::settle(1));
        auto handle = group.create_task(test::value_now(3));
        [[maybe_unused]] const int value = co_await handle;
    };
    auto step = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    CHECK(allocations_of(step) == 0);
}

TEST_CASE("cancelling a task group does not allocate", "[alloc]") {
    gate never;
    auto body = [&](hob::task_group& group) -> hob::task<> {
        for (int child = 0; child != 10; ++child)
            group.start(test::value_after(never, 1));
        co_await hob::yield();
        group.cancel();
        co_await never.wait();
    };
    auto step = [&]() -> hob::task<> { co_await hob::with_task_group(body); };
    CHECK(allocations_of(step) == 0);
}

TEST_CASE("callbacks do not allocate", "[alloc]") {
    int runs = 0;
    auto step = [&]() -> hob::task<> {
        hob::event_loop& loop = hob::event_loop::current();
        auto handle = loop.call_soon([&] { ++runs; });
        loop.call_later(1h, [&] { ++runs; }).cancel();
        loop.call_later(0s, [&] { ++runs; });
        [[maybe_unused]] const bool posted = loop.call_soon_threadsafe([&] { ++runs; });
        co_await test::settle(3);
    };
    CHECK(allocations_of(step) == 0);
    CHECK(runs == 3 * (rounds + 10));
}

TEST_CASE("ten thousand live tasks allocate by the chunk", "[alloc]") {
    gate open;
    auto main = [&]() -> hob::task<> {
        const long before = allocations;
        std::vector<hob::task_handle<int>> handles;
        handles.reserve(10'000);
        for (int index = 0; index != 10'000; ++index)
            handles.push_back(hob::create_task(test::value_after(open, index)));
        co_await hob::yield();
        // Chunks of 64 KiB.
        CHECK(allocations - before < 200);
        open.open();
        for (auto& each : handles)
            co_await each;
    };
    test::program program;
    program.run(main());
}

TEST_CASE("a signal that comes when a stopped frame is gone finds its task", "[watchdog]") {
    test::program program;
    test::gate never;
    std::string found;
    // So large that its memory goes back to the kernel.
    auto large = [&]() -> hob::task<> {
        std::array<std::byte, std::size_t(1) << 24> buffer;
        buffer.front() = std::byte(1);
        co_await never.wait();
        buffer.back() = buffer.front();
    };
    auto main = [&]() -> hob::task<> {
        const auto task = hob::create_task(large());
        task.set_name("large");
        co_await test::settle();
        task.cancel();
        after_free = [&] {
            // What the signal handler of a stall_watchdog asks for.
            const auto look = std::exchange(after_free, nullptr);
            if (const auto* const running = hob::detail::running_task())
                found = running->name();
        };
        co_await test::settle();
    };
    program.run(main());
    after_free = nullptr;
    CHECK(found == "large");
}

#else

TEST_CASE("allocations are counted in builds without sanitizers", "[alloc]") {
    WARN("skipped: under a sanitizer the frame pool steps aside, so that every frame is allocated");
}

#endif
