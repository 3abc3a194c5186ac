// SPDX-License-Identifier: MIT
#include "../catch.hpp"

#include <hob/core/inbox.hpp>
#include <hob/core/ring_message.hpp>
#include <hob/core/unique_fd.hpp>

#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <array>
#include <atomic>
#include <deque>
#include <thread>
#include <vector>

using hob::detail::inbox;
using hob::detail::ready_callback;
using hob::detail::ready_queue;
using hob::detail::unique_fd;

namespace {

class message final : public ready_callback {
  public:
    message(int from, int number) noexcept : sender(from), sequence(number) {}
    void run() noexcept override {}
    int sender;
    int sequence;
};

/// A ring that nobody looks after.
class raw_ring {
  public:
    raw_ring() { REQUIRE(io_uring_queue_init(8, &ring_, 0) == 0); }
    ~raw_ring() { io_uring_queue_exit(&ring_); }
    raw_ring(const raw_ring&) = delete;
    raw_ring& operator=(const raw_ring&) = delete;

    [[nodiscard]] int descriptor() const noexcept { return ring_.ring_fd; }
    /// How many have come since the last look.
    [[nodiscard]] unsigned completions() noexcept {
        const unsigned count = io_uring_cq_ready(&ring_);
        io_uring_cq_advance(&ring_, count);
        return count;
    }

  private:
    io_uring ring_{};
};

bool is_woken(const inbox& box) {
    pollfd entry{box.eventfd(), POLLIN, 0};
    return ::poll(&entry, 1, 0) == 1;
}

std::vector<int> numbers_in(ready_queue& queue) {
    std::vector<int> numbers;
    while (!queue.empty())
        numbers.push_back(
            static_cast<message&>(static_cast<ready_callback&>(queue.pop())).sequence);
    return numbers;
}

std::vector<int> drained(inbox& box) {
    ready_queue queue;
    CHECK_FALSE(box.drain(queue, 1000));
    return numbers_in(queue);
}

} // namespace

TEST_CASE("an inbox gives what was posted in the order of posting", "[fifo]") {
    inbox box;
    CHECK(box.empty());
    std::deque<message> messages;
    for (int number = 0; number != 5; ++number)
        REQUIRE(box.post(messages.emplace_back(0, number)));
    CHECK_FALSE(box.empty());
    CHECK(drained(box) == std::vector<int>{0, 1, 2, 3, 4});
    CHECK(box.empty());
    CHECK(drained(box).empty());
    REQUIRE(box.post(messages[3]));
    CHECK(drained(box) == std::vector<int>{3});
}

TEST_CASE("an inbox gives no more than is asked for, and forgets nothing", "[turn-bound][fifo]") {
    inbox box;
    ready_queue queue;
    std::deque<message> messages;
    const auto post = [&](int number) { return box.post(messages.emplace_back(0, number)); };
    for (int number = 0; number != 5; ++number)
        REQUIRE(post(number));
    CHECK(box.drain(queue, 2));
    CHECK(numbers_in(queue) == std::vector<int>{0, 1});
    REQUIRE(post(5));
    CHECK(box.drain(queue, 2));
    CHECK(numbers_in(queue) == std::vector<int>{2, 3});
    SECTION("what came later comes later") {
        CHECK_FALSE(box.drain(queue, 2));
        CHECK(numbers_in(queue) == std::vector<int>{4});
        CHECK_FALSE(box.empty());
        CHECK_FALSE(box.prepare_sleep());
        CHECK(drained(box) == std::vector<int>{5});
        CHECK(box.empty());
    }
    SECTION("closing it gives everything") {
        box.close(queue);
        CHECK(numbers_in(queue) == std::vector<int>{4, 5});
    }
}

TEST_CASE("an inbox wakes its loop only if that sleeps") {
    inbox box;
    message first(0, 1);
    message second(0, 2);
    REQUIRE(box.post(first));
    CHECK_FALSE(is_woken(box));
    // With work here, the loop must not sleep.
    CHECK_FALSE(box.prepare_sleep());
    CHECK(drained(box) == std::vector<int>{1});
    CHECK(box.prepare_sleep());
    REQUIRE(box.post(second));
    CHECK(is_woken(box));
}

TEST_CASE("a wake without a message wakes a sleeping loop") {
    inbox box;
    box.wake();
    CHECK_FALSE(is_woken(box));
    CHECK(box.prepare_sleep());
    box.awake();
    box.wake();
    CHECK_FALSE(is_woken(box));
    CHECK(box.prepare_sleep());
    box.wake();
    CHECK(is_woken(box));
}

TEST_CASE("a closed inbox gives what it had and refuses what comes") {
    inbox box;
    message early(0, 1);
    message late(0, 2);
    REQUIRE(box.post(early));
    ready_queue queue;
    box.close(queue);
    CHECK(&queue.pop() == &early);
    CHECK(queue.empty());
    CHECK_FALSE(box.post(late));
    CHECK_FALSE(is_woken(box));
    box.close(queue);
    CHECK(queue.empty());
}

TEST_CASE("an inbox loses nothing of many senders and keeps the order of each") {
    inbox box;
    constexpr int senders = 4;
    constexpr int count = 20'000;
    std::array<std::deque<message>, senders> messages;
    std::vector<std::thread> threads;
    for (int sender = 0; sender != senders; ++sender) {
        auto& own = messages[static_cast<std::size_t>(sender)];
        for (int number = 0; number != count; ++number)
            own.emplace_back(sender, number);
        threads.emplace_back([&box, &own] {
            for (message& each : own)
                if (!box.post(each))
                    return;
        });
    }
    std::array<int, senders> next{};
    int received = 0;
    bool ordered = true;
    bool lost_wake = false;
    while (received != senders * count && !lost_wake) {
        if (box.prepare_sleep()) {
            pollfd entry{box.eventfd(), POLLIN, 0};
            lost_wake = ::poll(&entry, 1, 20'000) != 1;
            box.awake();
            std::uint64_t value = 0;
            [[maybe_unused]] const auto size = ::read(box.eventfd(), &value, sizeof value);
        }
        ready_queue queue;
        while (box.drain(queue, 100)) {
        }
        while (!queue.empty()) {
            auto& found = static_cast<message&>(static_cast<ready_callback&>(queue.pop()));
            int& expected = next[static_cast<std::size_t>(found.sender)];
            ordered = ordered && found.sequence == expected;
            ++expected;
            ++received;
        }
    }
    for (std::thread& each : threads)
        each.join();
    CHECK_FALSE(lost_wake);
    CHECK(ordered);
    CHECK(received == senders * count);
}

TEST_CASE("a sleeping ring is woken by a message, where it takes any", "[ts-wake]") {
    if (!hob::detail::can_send_to_rings()) {
        WARN("skipped: this kernel has no IORING_REGISTER_SEND_MSG_RING (Linux 6.13)");
        return;
    }
    raw_ring ring;
    inbox box(ring.descriptor());
    message first(0, 1);
    message second(0, 2);
    message third(0, 3);
    REQUIRE(box.post(first));
    CHECK(ring.completions() == 0);
    CHECK(drained(box) == std::vector<int>{1});
    REQUIRE(box.prepare_sleep());
    REQUIRE(box.post(second));
    CHECK(ring.completions() == 1);
    CHECK_FALSE(is_woken(box));
    CHECK(drained(box) == std::vector<int>{2});
    // Once it is forgotten, somebody else's ring may have its descriptor.
    box.forget_ring(false);
    REQUIRE(box.prepare_sleep());
    REQUIRE(box.post(third));
    CHECK(ring.completions() == 0);
    CHECK(is_woken(box));
    CHECK(drained(box) == std::vector<int>{3});
}

TEST_CASE("a message that does not arrive is made good by the eventfd", "[ts-wake]") {
    const unique_fd no_ring(::eventfd(0, EFD_CLOEXEC));
    inbox box(no_ring.get());
    message only(0, 1);
    REQUIRE(box.prepare_sleep());
    REQUIRE(box.post(only));
    CHECK(is_woken(box));
}

TEST_CASE("the eventfd of an inbox is closed on exec", "[fork-exec]") {
    inbox box;
    CHECK((::fcntl(box.eventfd(), F_GETFD) & FD_CLOEXEC) != 0);
}
