// SPDX-License-Identifier: MIT
#include "../catch.hpp"

#include <hob/core/timer_queue.hpp>

#include <cstdint>
#include <deque>
#include <map>
#include <random>
#include <utility>
#include <vector>

using hob::detail::saturating_add;
using hob::detail::saturating_nanoseconds;
using hob::detail::time_point;
using hob::detail::timer_node;
using hob::detail::timer_queue;
using namespace std::chrono_literals;
using std::chrono::nanoseconds;

namespace {

class timer : public timer_node {
  public:
    explicit timer(int number = 0) noexcept : id(number) {}
    int id;
};

constexpr time_point at(std::int64_t count) {
    return time_point(nanoseconds(count));
}
int pop(timer_queue& queue) {
    return static_cast<timer&>(queue.pop()).id;
}

} // namespace

TEST_CASE("timers come in the order of their deadlines", "[timer-order]") {
    timer_queue queue;
    std::deque<timer> timers;
    for (const int deadline : {5, 3, 9, 1, 7, -4, 0}) {
        timers.emplace_back(deadline).set_deadline(at(deadline));
        queue.insert(timers.back());
        CHECK(timers.back().is_armed());
    }
    std::vector<int> order;
    while (!queue.empty()) {
        CHECK(queue.next_deadline() <= at(9));
        order.push_back(pop(queue));
    }
    CHECK(order == std::vector<int>{-4, 0, 1, 3, 5, 7, 9});
    CHECK_FALSE(timers.front().is_armed());
}

TEST_CASE("timers with the same deadline come in the order of their creation", "[timer-order]") {
    timer_queue queue;
    std::deque<timer> timers;
    constexpr int count = 10'000;
    for (int number = 0; number != count; ++number) {
        timers.emplace_back(number).set_deadline(at(number % 10));
        queue.insert(timers.back());
    }
    // Removing and inserting again puts a timer behind its equals.
    queue.remove(timers[0]);
    queue.insert(timers[0]);
    std::vector<int> order;
    while (!queue.empty())
        order.push_back(pop(queue));
    std::vector<int> expected;
    for (int deadline = 0; deadline != 10; ++deadline) {
        for (int number = deadline; number < count; number += 10)
            if (number != 0)
                expected.push_back(number);
        if (deadline == 0)
            expected.push_back(0);
    }
    CHECK(order == expected);
}

TEST_CASE("a timer queue agrees with std::multimap", "[timer-order]") {
    const unsigned seed = test::random_seed() + GENERATE(range(0U, 8U));
    INFO("seed " << seed);
    std::mt19937 random(seed);
    timer_queue queue;
    std::deque<timer> timers;
    // The key is (deadline, creation), the value the timer.
    std::map<std::pair<time_point, int>, timer*> reference;
    std::map<timer*, std::pair<time_point, int>> keys;
    std::vector<timer*> armed;
    std::vector<timer*> idle;
    int creation = 0;
    const std::uint32_t spread = 1U << (random() % 24);
    for (int step = 0; step != 40'000; ++step) {
        // Phases of growth and of decay.
        const bool grow = random() % 8 < ((step / 5000) % 2 == 0 ? 6U : 2U);
        if (grow) {
            if (idle.empty())
                idle.push_back(&timers.emplace_back());
            timer* const fresh = idle.back();
            idle.pop_back();
            time_point deadline = at(static_cast<std::int64_t>(random() % spread));
            if (random() % 100 == 0)
                deadline = random() % 2 == 0 ? time_point::max() : time_point::min();
            fresh->set_deadline(deadline);
            queue.insert(*fresh);
            const std::pair key(deadline, creation++);
            reference.emplace(key, fresh);
            keys[fresh] = key;
            armed.push_back(fresh);
        } else if (!reference.empty()) {
            timer* gone = nullptr;
            if (random() % 2 == 0) {
                REQUIRE(queue.next_deadline() == reference.begin()->first.first);
                gone = static_cast<timer*>(&queue.pop());
                REQUIRE(gone == reference.begin()->second);
            } else {
                do {
                    std::swap(armed[random() % armed.size()], armed.back());
                    gone = armed.back();
                    if (!gone->is_armed())
                        armed.pop_back();
                } while (!gone->is_armed());
                queue.remove(*gone);
            }
            REQUIRE_FALSE(gone->is_armed());
            reference.erase(keys[gone]);
            // What is left of it in `armed` is passed over later.
            idle.push_back(gone);
        }
        REQUIRE(queue.size() == reference.size());
    }
    while (!reference.empty()) {
        REQUIRE(&queue.pop() == reference.begin()->second);
        reference.erase(reference.begin());
    }
    CHECK(queue.empty());
}

TEST_CASE("a timer queue gives memory back after a burst", "[timer-prune]") {
    timer_queue queue;
    std::deque<timer> timers;
    for (int number = 0; number != 100'000; ++number) {
        timers.emplace_back(number).set_deadline(at(number));
        queue.insert(timers.back());
    }
    CHECK(queue.capacity() >= 100'000);
    for (int number = 0; number != 99'000; ++number)
        queue.remove(timers[static_cast<std::size_t>(number)]);
    CHECK(queue.size() == 1000);
    CHECK(queue.capacity() <= 8192);
    for (int number = 99'000; number != 100'000; ++number)
        REQUIRE(pop(queue) == number);
}

TEST_CASE("a million timers that are scheduled and cancelled leave nothing behind",
          "[timer-prune]") {
    timer_queue queue;
    std::deque<timer> live;
    for (int number = 0; number != 100; ++number) {
        live.emplace_back(number).set_deadline(at(1'000'000 + number));
        queue.insert(live.back());
    }
    const std::size_t before = queue.capacity();
    timer fleeting;
    for (int round = 0; round != 1'000'000; ++round) {
        fleeting.set_deadline(at(round * 7 % 2'000'000));
        queue.insert(fleeting);
        queue.remove(fleeting);
    }
    CHECK(queue.size() == 100);
    CHECK(queue.capacity() == before);
}

TEST_CASE("deadlines saturate instead of wrapping", "[timer-overflow]") {
    const time_point now = at(1'000'000'000'000);
    CHECK(saturating_add(now, nanoseconds::max()) == time_point::max());
    CHECK(saturating_add(now, nanoseconds::min()) < now);
    CHECK(saturating_add(at(-5), nanoseconds::min()) == time_point::min());
    CHECK(saturating_add(now, 5ns) == now + 5ns);
    CHECK(saturating_add(now, -5ns) == now - 5ns);
    CHECK(saturating_add(time_point::max(), 1ns) == time_point::max());
}

TEST_CASE("durations of any unit become nanoseconds, never fewer", "[timer-overflow]") {
    using picoseconds = std::chrono::duration<std::int64_t, std::pico>;
    CHECK(saturating_nanoseconds(std::chrono::hours::max()) == nanoseconds::max());
    CHECK(saturating_nanoseconds(std::chrono::hours::min()) == nanoseconds::min());
    CHECK(saturating_nanoseconds(std::chrono::seconds(9'223'372'036)) ==
          nanoseconds(9'223'372'036'000'000'000));
    CHECK(saturating_nanoseconds(std::chrono::seconds(9'223'372'037)) == nanoseconds::max());
    CHECK(saturating_nanoseconds(picoseconds(1)) == 1ns);
    CHECK(saturating_nanoseconds(picoseconds(1001)) == 2ns);
    CHECK(saturating_nanoseconds(picoseconds(-1)) == 0ns);
    CHECK(saturating_nanoseconds(std::chrono::duration<double>(1e-10)) == 1ns);
    CHECK(saturating_nanoseconds(std::chrono::duration<double>(1e300)) == nanoseconds::max());
    CHECK(saturating_nanoseconds(std::chrono::duration<double>(-1e300)) == nanoseconds::min());
    const double infinity = std::numeric_limits<double>::infinity();
    CHECK(saturating_nanoseconds(std::chrono::duration<double>(infinity)) == nanoseconds::max());
    CHECK(saturating_nanoseconds(std::chrono::duration<double>(-infinity)) == nanoseconds::min());
    CHECK(saturating_nanoseconds(std::chrono::duration<float>(2.5F)) == 2500ms);
    CHECK(saturating_nanoseconds(std::chrono::duration<unsigned char>(255)) == 255s);
    CHECK(saturating_nanoseconds(std::chrono::duration<std::uint64_t, std::nano>(UINT64_MAX)) ==
          nanoseconds::max());
}

TEST_CASE("timers cannot be copied or moved", "[pinned]") {
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<timer>);
    STATIC_REQUIRE_FALSE(std::is_move_constructible_v<timer>);
}
