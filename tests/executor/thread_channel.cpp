// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/program.hpp"

#include <hob/current_task.hpp>
#include <hob/executor/run_on_threads.hpp>
#include <hob/executor/thread_channel.hpp>
#include <hob/gather.hpp>
#include <hob/run.hpp>
#include <hob/timeout.hpp>
#include <hob/wait.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

TEST_CASE("a thread_channel hands items over in order between loops", "[thread-channel]") {
    const std::size_t capacity = GENERATE(0U, 1U, 64U);
    constexpr int count = 20'000;
    hob::thread_channel<std::unique_ptr<int>> channel(capacity);
    std::vector<int> received;
    auto main = [&](std::size_t index) -> hob::task<> {
        if (index == 0) {
            for (int number = 0; number != count; ++number)
                co_await channel.send(std::make_unique<int>(number));
            channel.close();
        } else {
            while (auto item = co_await channel.receive())
                received.push_back(**item);
        }
    };
    hob::run_on_threads(2, std::ref(main));
    REQUIRE(received.size() == count);
    bool in_order = true;
    for (int number = 0; number != count; ++number)
        in_order = in_order && received[static_cast<std::size_t>(number)] == number;
    CHECK(in_order);
}

TEST_CASE("within one loop a thread_channel waits for room, items and the end",
          "[thread-channel]") {
    hob::thread_channel<int> channel(1);
    test::program program;
    auto main = [&]() -> hob::task<> {
        co_await channel.send(1);
        auto sending = [&]() -> hob::task<> { co_await channel.send(2); };
        const auto sender = hob::create_task(sending());
        co_await test::settle();
        CHECK_FALSE(sender.done());
        const auto one = co_await channel.receive();
        CHECK(one == 1);
        co_await sender;
        const auto blocked = hob::create_task(sending());
        co_await test::settle();
        channel.close();
        channel.close();
        CHECK_THROWS_AS(co_await blocked, hob::channel_closed_error);
        CHECK_THROWS_AS(co_await channel.send(3), hob::channel_closed_error);
        const auto two = co_await channel.receive();
        CHECK(two == 2);
        const auto end = co_await channel.receive();
        CHECK_FALSE(end.has_value());
    };
    program.run(main());
}

TEST_CASE("cancelling a wait for a thread_channel loses nothing", "[thread-channel]") {
    hob::thread_channel<int> channel(0);
    test::program program;
    auto main = [&]() -> hob::task<> {
        auto receiving = [&]() -> hob::task<int> {
            co_return (co_await channel.receive()).value();
        };
        auto sending = [&](int item) -> hob::task<> { co_await channel.send(item); };
        const auto first = hob::create_task(receiving());
        const auto second = hob::create_task(receiving());
        co_await test::settle();
        first.cancel();
        co_await test::settle();
        CHECK(first.cancelled());
        co_await channel.send(1);
        const int one = co_await second;
        CHECK(one == 1);
        const auto stopped = hob::create_task(sending(2));
        const auto sender = hob::create_task(sending(3));
        co_await test::settle();
        stopped.cancel();
        co_await test::settle();
        const auto three = co_await channel.receive();
        CHECK(three == 3);
        co_await sender;
        CHECK_THROWS_AS(co_await hob::timeout(1ms, channel.receive()), hob::timeout_error);
    };
    program.run(main());
}

TEST_CASE("cancellations that race with other threads lose no item", "[thread-channel]") {
    constexpr int count = 5'000;
    hob::thread_channel<int> channel(2);
    long received = 0;
    auto main = [&](std::size_t index) -> hob::task<> {
        if (index == 0) {
            for (int number = 1; number <= count; ++number)
                co_await channel.send(number);
            channel.close();
            co_return;
        }
        for (bool open = true; open;) {
            auto receiving = [&]() -> hob::task<> {
                const auto item = co_await channel.receive();
                open = item.has_value();
                received += item.value_or(0);
            };
            const auto receiver = hob::create_task(receiving());
            co_await hob::yield();
            receiver.cancel();
            while (!receiver.done())
                co_await hob::yield();
        }
    };
    hob::run_on_threads(2, std::ref(main));
    CHECK(received == static_cast<long>(count) * (count + 1) / 2);
}

TEST_CASE("a thread without a loop sends to tasks, and blocks while the channel is full",
          "[thread-channel]") {
    const std::size_t capacity = GENERATE(0U, 1U, 64U);
    constexpr int count = 20'000;
    hob::thread_channel<std::unique_ptr<int>> channel(capacity);
    std::thread sender([&] {
        for (int number = 0; number != count; ++number)
            channel.send_blocking(std::make_unique<int>(number));
        channel.close();
    });
    int expected = 0;
    auto main = [&]() -> hob::task<> {
        while (auto item = co_await channel.receive())
            expected += **item == expected ? 1 : 0;
    };
    hob::run(main());
    sender.join();
    CHECK(expected == count);
}

TEST_CASE("a thread without a loop receives from tasks, and blocks while there is nothing",
          "[thread-channel]") {
    const std::size_t capacity = GENERATE(0U, 1U, 64U);
    constexpr int count = 20'000;
    hob::thread_channel<std::unique_ptr<int>> channel(capacity);
    int expected = 0;
    std::thread receiver([&] {
        while (auto item = channel.receive_blocking())
            expected += **item == expected ? 1 : 0;
    });
    auto main = [&]() -> hob::task<> {
        for (int number = 0; number != count; ++number)
            co_await channel.send(std::make_unique<int>(number));
        channel.close();
    };
    hob::run(main());
    receiver.join();
    CHECK(expected == count);
}

TEST_CASE("threads alone can use a thread_channel, and closing it wakes them", "[thread-channel]") {
    hob::thread_channel<int> channel(1);
    std::atomic<int> refused = 0;
    channel.send_blocking(1);
    std::thread sender([&] {
        try {
            channel.send_blocking(2);
            channel.send_blocking(3);
            channel.send_blocking(4);
        } catch (const hob::channel_closed_error&) {
            ++refused;
        }
    });
    CHECK(channel.receive_blocking() == 1);
    CHECK(channel.receive_blocking() == 2);
    channel.close();
    sender.join();
    CHECK(refused == 1);
    CHECK_THROWS_AS(channel.send_blocking(5), hob::channel_closed_error);
    while (channel.try_receive()) {
    }
    CHECK(channel.receive_blocking() == std::nullopt);
}

TEST_CASE("a thread_channel can be tried without waiting", "[thread-channel]") {
    hob::thread_channel<std::unique_ptr<int>> channel(1);
    CHECK(channel.try_receive() == std::nullopt);
    CHECK(channel.try_send(std::make_unique<int>(1)));
    auto kept = std::make_unique<int>(2);
    CHECK_FALSE(channel.try_send(std::move(kept)));
    REQUIRE(kept != nullptr);
    const auto received = channel.try_receive();
    REQUIRE(received.has_value());
    CHECK(**received == 1);
    channel.close();
    CHECK_THROWS_AS(channel.try_send(std::move(kept)), hob::channel_closed_error);
}

TEST_CASE("blocking on a thread_channel where a loop runs is refused", "[thread-channel]") {
    hob::thread_channel<int> channel(1);
    auto main = [&]() -> hob::task<> {
        CHECK_THROWS_AS(channel.send_blocking(1), hob::usage_error);
        CHECK_THROWS_AS(channel.receive_blocking(), hob::usage_error);
        co_return;
    };
    hob::run(main());
}

TEST_CASE("what a thread_channel can do at once is done in a cancelled scope, too",
          "[thread-channel][cancel-ready][to-zero]") {
    hob::thread_channel<int> channel(2);
    std::vector<int> received;
    bool went_on = false;
    auto receive = [&]() -> hob::task<> {
        hob::current_task().cancel();
        received.push_back((co_await channel.receive()).value());
        co_await channel.send(3);
        received.push_back((co_await channel.receive()).value());
        received.push_back((co_await channel.receive()).value());
        // Empty.
        static_cast<void>(co_await channel.receive());
        went_on = true;
    };
    auto main = [&]() -> hob::task<> {
        CHECK(channel.try_send(1));
        CHECK(channel.try_send(2));
        const auto task = hob::create_task(receive());
        const std::vector<hob::task_handle<>> alone{task};
        co_await hob::wait(alone);
        CHECK(task.cancelled());
        CHECK(channel.try_send(4));
        const auto in_no_time = co_await hob::try_timeout(0ms, channel.receive());
        REQUIRE(in_no_time.has_value());
        CHECK(*in_no_time == 4);
        CHECK_FALSE((co_await hob::try_timeout(0ms, channel.receive())).has_value());
    };
    test::program().run(main());
    CHECK(received == std::vector<int>{1, 2, 3});
    CHECK_FALSE(went_on);
}

TEST_CASE("the items of a thread_channel need no assignment", "[thread-channel]") {
    class fixed {
      public:
        explicit fixed(int number) : value(number) {}
        const int value;
    };
    hob::thread_channel<fixed> channel(1);
    CHECK(channel.try_send(fixed(1)));
    CHECK(channel.try_receive().value().value == 1);
    int received = 0;
    auto main = [&]() -> hob::task<> {
        auto send = [&]() -> hob::task<> {
            for (const int number : {2, 3, 4}) {
                fixed next(number);
                co_await channel.send(next);
            }
        };
        const auto sending = hob::create_task(send());
        while (received < 9)
            received += (co_await channel.receive()).value().value;
    };
    test::program().run(main());
    CHECK(received == 9);
}
