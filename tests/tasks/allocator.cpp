// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/gather.hpp>
#include <hob/sleep.hpp>
#include <hob/task.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <memory_resource>
#include <new>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

/// What an allocator was asked for.
class account {
  public:
    std::vector<std::size_t> allocated;
    std::vector<std::size_t> released;
    bool is_exhausted = false;
};

template <class T> class counting_allocator {
  public:
    using value_type = T;

    explicit counting_allocator(account& entries) noexcept : entries_(&entries) {}
    template <class U>
    counting_allocator(const counting_allocator<U>& other) noexcept : entries_(&other.entries()) {}

    [[nodiscard]] T* allocate(std::size_t count) {
        if (entries_->is_exhausted)
            throw std::bad_alloc();
        entries_->allocated.push_back(count * sizeof(T));
        return std::allocator<T>().allocate(count);
    }
    void deallocate(T* memory, std::size_t count) noexcept {
        entries_->released.push_back(count * sizeof(T));
        std::allocator<T>().deallocate(memory, count);
    }
    [[nodiscard]] account& entries() const noexcept { return *entries_; }
    friend bool operator==(const counting_allocator&, const counting_allocator&) = default;

  private:
    account* entries_;
};

using allocator = counting_allocator<std::byte>;

hob::task<std::string> join(std::allocator_arg_t, allocator, std::string left, std::string right) {
    co_await hob::yield();
    co_return left + right;
}

hob::task<> sleep_long(std::allocator_arg_t, const allocator&) {
    co_await hob::sleep_for(1h);
}

class adder {
  public:
    explicit adder(int base) : base_(base) {}
    hob::task<int> add(std::allocator_arg_t, allocator, int number) { co_return base_ + number; }

  private:
    int base_;
};

hob::task<int> on_resource(std::allocator_arg_t, std::pmr::polymorphic_allocator<>, int number) {
    std::array<char, 300> large{};
    large.back() = static_cast<char>(number);
    co_await hob::yield();
    co_return large.back();
}

} // namespace

TEST_CASE("a coroutine's frame comes from the allocator it is called with", "[alloc-custom]") {
    account entries;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const std::string joined =
            co_await join(std::allocator_arg, allocator(entries), "left", "right");
        CHECK(joined == "leftright");
        CHECK(entries.allocated.size() == 1);
        CHECK(entries.released == entries.allocated);

        adder two(2);
        CHECK(co_await two.add(std::allocator_arg, allocator(entries), 3) == 5);
        auto closure = [](std::allocator_arg_t, allocator, int number) -> hob::task<int> {
            co_return number;
        };
        CHECK(co_await closure(std::allocator_arg, allocator(entries), 4) == 4);
        CHECK(entries.allocated.size() == 3);
        CHECK(entries.released == entries.allocated);
    };
    program.run(main());
}

TEST_CASE("frames of stopped and of never awaited coroutines go back to their allocator",
          "[alloc-custom]") {
    account entries;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const auto sleeper = hob::create_task(sleep_long(std::allocator_arg, allocator(entries)));
        co_await test::settle();
        CHECK(entries.released.empty());
        sleeper.cancel();
        co_await test::settle();
        CHECK(entries.released == entries.allocated);
        {
            const auto never = sleep_long(std::allocator_arg, allocator(entries));
        }
        CHECK(entries.allocated.size() == 2);
        CHECK(entries.released == entries.allocated);
    };
    program.run(main());
}

TEST_CASE("what an allocator throws leaves the call of the coroutine", "[alloc-custom]") {
    account entries;
    entries.is_exhausted = true;
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        CHECK_THROWS_AS(sleep_long(std::allocator_arg, allocator(entries)), std::bad_alloc);
        CHECK(entries.allocated.empty());
        co_return;
    };
    program.run(main());
}

TEST_CASE("frames can live in a memory resource", "[alloc-custom]") {
    std::array<std::byte, 4096> memory;
    std::pmr::monotonic_buffer_resource resource(memory.data(), memory.size(),
                                                 std::pmr::null_memory_resource());
    const std::pmr::polymorphic_allocator<> on_stack(&resource);
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        const auto [one, two] = co_await hob::gather(on_resource(std::allocator_arg, on_stack, 1),
                                                     on_resource(std::allocator_arg, on_stack, 2));
        CHECK(one == 1);
        CHECK(two == 2);
    };
    program.run(main());
}
