// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/program.hpp"

#include <hob/core/frame_pool.hpp>

#include <atomic>
#include <barrier>
#include <cstdint>
#include <cstring>
#include <exception>
#include <random>
#include <set>
#include <thread>
#include <vector>

using hob::detail::frame_pool;

namespace {

class block {
  public:
    explicit block(std::size_t bytes) : size(bytes), memory(frame_pool::allocate(bytes)) {}
    void release() const noexcept { frame_pool::deallocate(memory, size); }
    std::size_t size;
    void* memory;
};

// Without the sanitizers that the pool steps aside for.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool recycles = false;
#elif defined(__has_feature)
constexpr bool recycles = !__has_feature(address_sanitizer);
#else
constexpr bool recycles = true;
#endif

} // namespace

TEST_CASE("pooled memory is aligned to 16 bytes and does not overlap") {
    std::mt19937 random(test::random_seed());
    std::vector<block> blocks;
    for (int step = 0; step != 20'000; ++step) {
        if (random() % 3 != 0 || blocks.empty()) {
            const std::size_t size = random() % (frame_pool::largest_pooled + 500);
            const block made(size);
            REQUIRE(reinterpret_cast<std::uintptr_t>(made.memory) % 16 == 0);
            std::memset(made.memory, static_cast<int>(size & 0xff), size);
            blocks.push_back(made);
        } else {
            std::swap(blocks[random() % blocks.size()], blocks.back());
            const block victim = blocks.back();
            blocks.pop_back();
            const auto* const bytes = static_cast<const unsigned char*>(victim.memory);
            bool intact = true;
            for (std::size_t index = 0; index != victim.size; ++index)
                intact = intact && bytes[index] == (victim.size & 0xff);
            REQUIRE(intact);
            victim.release();
        }
    }
    for (const block& each : blocks)
        each.release();
}

TEST_CASE("a freed block is the next one of its size class") {
    if (recycles) {
        const block first(100);
        first.release();
        const block second(112); // 97 to 112 bytes are one class
        CHECK(second.memory == first.memory);
        const block other(113);
        CHECK(other.memory != first.memory);
        second.release();
        other.release();
    }
}

TEST_CASE("memory of the edge sizes can be had and given back") {
    for (const std::size_t size :
         {std::size_t(0), std::size_t(1), std::size_t(16), std::size_t(17),
          frame_pool::largest_pooled - 1, frame_pool::largest_pooled,
          frame_pool::largest_pooled + 1, frame_pool::chunk_size, std::size_t(1) << 20}) {
        const block one(size);
        const block two(size);
        CHECK(one.memory != two.memory);
        std::memset(one.memory, 1, size);
        std::memset(two.memory, 2, size);
        one.release();
        two.release();
    }
}

TEST_CASE("an ending thread leaves its memory to the others") {
    if (recycles) {
        constexpr std::size_t size = 1999;
        std::set<void*> freed;
        std::thread([&] {
            std::vector<block> blocks;
            for (int index = 0; index != 10; ++index)
                blocks.emplace_back(size);
            for (const block& each : blocks) {
                freed.insert(each.memory);
                each.release();
            }
        }).join();
        std::size_t found = 0;
        std::thread([&] {
            std::vector<block> blocks;
            for (int index = 0; index != 10; ++index) {
                blocks.emplace_back(size);
                found += freed.count(blocks.back().memory);
            }
            for (const block& each : blocks)
                each.release();
        }).join();
        CHECK(found == 10);
    }
}

TEST_CASE("a thread that only frees leaves its memory to the others too") {
    if (recycles) {
        constexpr std::size_t size = 1967;
        std::vector<block> blocks;
        std::set<void*> freed;
        for (int index = 0; index != 10; ++index) {
            blocks.emplace_back(size);
            freed.insert(blocks.back().memory);
        }
        std::thread([&] {
            for (const block& each : blocks)
                each.release();
        }).join();
        std::size_t found = 0;
        std::thread([&] {
            std::vector<block> again;
            for (int index = 0; index != 10; ++index) {
                again.emplace_back(size);
                found += freed.count(again.back().memory);
            }
            for (const block& each : again)
                each.release();
        }).join();
        CHECK(found == 10);
    }
}

TEST_CASE("memory moves between threads without growing") {
    if (recycles) {
        // Each round allocates here and frees in a new thread.
        long before = 0;
        constexpr int rounds = 300;
        for (int round = 0; round != rounds; ++round) {
            std::vector<block> blocks;
            for (int index = 0; index != 200; ++index)
                blocks.emplace_back(1500);
            std::thread([&] {
                for (const block& each : blocks)
                    each.release();
            }).join();
            if (round == rounds / 10)
                before = test::resident_kib();
        }
        // 300 rounds take 88 MiB if every thread loses what was freed on it.
        if (!test::sanitized)
            CHECK(test::resident_kib() - before < 8 * 1024);
    }
}

TEST_CASE("what one thread allocates and another one frees comes back") {
    if (recycles) {
        constexpr std::size_t size = 1935;
        constexpr int rounds = 100;
        std::set<void*> seen;
        std::vector<block> blocks;
        std::barrier turn(2);
        std::thread allocating([&] {
            for (int round = 0; round != rounds; ++round) {
                for (int index = 0; index != 100; ++index) {
                    blocks.emplace_back(size);
                    seen.insert(blocks.back().memory);
                }
                turn.arrive_and_wait();
                turn.arrive_and_wait();
            }
        });
        for (int round = 0; round != rounds; ++round) {
            turn.arrive_and_wait();
            for (const block& each : blocks)
                each.release();
            blocks.clear();
            frame_pool::give_wanted();
            turn.arrive_and_wait();
        }
        allocating.join();
        CHECK(seen.size() <= 500);
    }
}

TEST_CASE("a thread that has nothing to give does not hide that another one lacks memory") {
    if (recycles) {
        constexpr std::size_t size = 1951;
        constexpr std::size_t count = 100;
        std::vector<block> blocks;
        std::set<void*> freed;
        for (std::size_t index = 0; index != count; ++index) {
            blocks.emplace_back(size);
            freed.insert(blocks.back().memory);
        }
        std::barrier turn(2);
        std::size_t found = 0;
        std::thread lacking([&] {
            for (std::size_t index = 0; index != count; ++index)
                blocks.emplace_back(size);
            turn.arrive_and_wait();
            turn.arrive_and_wait();
            blocks.emplace_back(size);
            found = freed.count(blocks.back().memory);
        });
        turn.arrive_and_wait();
        std::thread([] {
            const block other(100);
            frame_pool::give_wanted();
            other.release();
        }).join();
        for (std::size_t index = 0; index != count; ++index)
            blocks[index].release();
        blocks.erase(blocks.begin(), blocks.begin() + count);
        frame_pool::give_wanted();
        turn.arrive_and_wait();
        lacking.join();
        CHECK(found == 1);
        for (const block& each : blocks)
            each.release();
    }
}

TEST_CASE("calls from another thread do not make memory grow") {
    if (test::sanitized)
        return;
    constexpr int calls = 400'000; // of 96 bytes: 37 MiB
    test::program program;
    test::gate end;
    long before = 0;
    std::atomic<int> ran = 0;
    std::jthread thread([&, loop = program.loop().get_handle()] {
        for (int call = 0; call != calls; ++call) {
            if (call == calls / 10)
                before = test::resident_kib();
            if (!loop.call_soon_threadsafe([&] { ran.fetch_add(1); }))
                std::terminate();
            while (call - ran.load() > 1000)
                std::this_thread::yield();
        }
        if (!loop.call_soon_threadsafe([&] { end.open(); }))
            std::terminate();
    });
    const auto main = [&]() -> hob::task<> { co_await end.wait(); };
    program.run(main());
    CHECK(test::resident_kib() - before < 8 * 1024);
}

TEST_CASE("a thread leaves the rest of its chunk to the next one") {
    if (recycles) {
        constexpr std::size_t size = 1903;
        std::vector<block> blocks;
        for (int thread = 0; thread != 200; ++thread)
            std::thread([&] { blocks.emplace_back(size); }).join();
        std::set<std::uintptr_t> neighbours;
        for (const block& each : blocks)
            neighbours.insert(reinterpret_cast<std::uintptr_t>(each.memory));
        std::size_t adjacent = 0;
        for (const std::uintptr_t each : neighbours)
            adjacent += neighbours.count(each + 1904);
        // Up to 33 share a chunk; alone in one, none has a neighbour.
        CHECK(adjacent >= 100);
        for (const block& each : blocks)
            each.release();
    }
}
