// SPDX-License-Identifier: MIT
// Channels: what is sent arrives, and each side learns when the other one is gone.
#include "../catch.hpp"
#include "support/program.hpp"

#include <hob/sync/channel.hpp>

#include <memory>
#include <optional>
#include <vector>

namespace {

hob::task<> send_numbers(hob::channel_sender<int> sender, int from, int to) {
    for (int item = from; item != to; ++item)
        co_await sender.send(item);
}
hob::task<std::vector<int>> receive_all(hob::channel_receiver<int> receiver) {
    std::vector<int> items;
    while (const auto item = co_await receiver.receive())
        items.push_back(*item);
    co_return items;
}

} // namespace

TEST_CASE("a receiver gets what was sent, and the end once the senders are gone",
          "[q-fifo][q-cap]") {
    for (const std::size_t capacity : {std::size_t(0), std::size_t(1), std::size_t(64)}) {
        test::program program;
        auto main = [&]() -> hob::task<> {
            auto [sender, receiver] = hob::channel<int>(capacity);
            auto receiving = hob::create_task(receive_all(std::move(receiver)));
            hob::create_task(send_numbers(sender, 0, 100));
            co_await test::settle(500);
            CHECK_FALSE(receiving.done());
            sender.close();
            const std::vector<int>& items = co_await receiving;
            CHECK(items.size() == 100);
            CHECK(items.back() == 99);
        };
        program.run(main());
    }
}

TEST_CASE("items that were sent before the last sender went are received", "[q-fifo]") {
    test::program program;
    auto main = []() -> hob::task<> {
        auto [sender, receiver] = hob::channel<int>(hob::unbounded);
        co_await send_numbers(std::move(sender), 0, 3);
        CHECK_FALSE(sender);
        CHECK_FALSE(receiver.is_finished());
        CHECK(receiver.size() == 3);
        const std::vector<int> items = co_await receive_all(receiver);
        CHECK(items == std::vector<int>{0, 1, 2});
        CHECK(receiver.is_finished());
        CHECK_FALSE(receiver.try_receive());
    };
    program.run(main());
}

TEST_CASE("sending fails once the receivers are gone, also for those who wait", "[q-shutdown]") {
    test::program program;
    auto main = []() -> hob::task<> {
        auto [sender, receiver] = hob::channel<std::shared_ptr<int>>(1);
        auto second = receiver;
        const auto item = std::make_shared<int>(1);
        co_await sender.send(item);
        bool failed = false;
        auto send = [&](hob::channel_sender<std::shared_ptr<int>> end) -> hob::task<> {
            try {
                co_await end.send(item);
            } catch (const hob::channel_closed_error&) {
                failed = true;
            }
        };
        auto waiting = hob::create_task(send(sender));
        co_await test::settle();
        receiver.close();
        co_await test::settle();
        CHECK_FALSE(failed);
        CHECK_FALSE(sender.is_closed());
        second.close();
        // What was in the channel is destroyed.
        CHECK(item.use_count() == 2);
        co_await waiting;
        CHECK(failed);
        CHECK(item.use_count() == 1);
        CHECK(sender.is_closed());
        CHECK_THROWS_AS(co_await sender.send(item), hob::channel_closed_error);
        CHECK_THROWS_AS(sender.try_send(item), hob::channel_closed_error);
    };
    program.run(main());
}

TEST_CASE("a cancelled send or receive has had no effect", "[q-get-cancel][q-put-cancel]") {
    test::program program;
    auto main = []() -> hob::task<> {
        auto [sender, receiver] = hob::channel<int>(1);
        auto receiving = hob::create_task(receive_all(receiver));
        co_await test::settle();
        receiving.cancel();
        co_await test::settle();
        CHECK(receiving.cancelled());
        auto sending = hob::create_task(send_numbers(sender, 0, 5));
        co_await test::settle();
        sending.cancel();
        co_await test::settle();
        CHECK(sending.cancelled());
        CHECK(receiver.try_receive() == 0);
        CHECK_FALSE(receiver.try_receive());
    };
    program.run(main());
}

TEST_CASE("an end is usable until it is closed or moved from") {
    test::program program;
    auto main = []() -> hob::task<> {
        hob::channel_sender<int> none;
        CHECK_FALSE(none);
        CHECK_THROWS_AS(none.send(1), hob::usage_error);
        none.close();
        auto [sender, receiver] = hob::channel<int>(1);
        none = sender;
        CHECK(none.try_send(1));
        CHECK_FALSE(sender.try_send(2));
        none = hob::channel_sender<int>();
        auto& self = receiver;
        receiver = self;
        CHECK(receiver.try_receive() == 1);
        receiver.close();
        receiver.close();
        CHECK_THROWS_AS(receiver.receive(), hob::usage_error);
        co_return;
    };
    program.run(main());
}

TEST_CASE("a channel may carry its own ends") {
    class carrier {
      public:
        std::shared_ptr<hob::channel_sender<carrier>> sender;
    };
    test::program program;
    const std::weak_ptr<hob::channel_sender<carrier>> watch = [] {
        auto [sender, receiver] = hob::channel<carrier>(4);
        auto inside = std::make_shared<hob::channel_sender<carrier>>(sender);
        const std::weak_ptr<hob::channel_sender<carrier>> carried = inside;
        CHECK(sender.try_send(carrier{std::move(inside)}));
        sender.close();
        CHECK_FALSE(carried.expired());
        return carried;
    }();
    CHECK(watch.expired());
}

TEST_CASE("an item that goes with its channel may close the end that drops it") {
    class closer {
      public:
        explicit closer(hob::channel_receiver<std::unique_ptr<closer>>& end) : end_(end) {}
        ~closer() { end_.close(); }
        closer(const closer&) = delete;
        closer& operator=(const closer&) = delete;

      private:
        hob::channel_receiver<std::unique_ptr<closer>>& end_;
    };
    auto [sender, receiver] = hob::channel<std::unique_ptr<closer>>(4);
    CHECK(sender.try_send(std::make_unique<closer>(receiver)));
    const bool is_sender_first = GENERATE(false, true);
    if (is_sender_first)
        sender.close();
    receiver.close();
    CHECK_FALSE(receiver);
    if (!is_sender_first)
        CHECK(sender.is_closed());
}
