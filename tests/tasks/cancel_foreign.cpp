// SPDX-License-Identifier: MIT
// Awaitables that know nothing of hob.
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/gather.hpp>
#include <hob/timeout.hpp>

#include <memory>
#include <thread>

using namespace std::chrono_literals;
using test::at_exit;
using test::gate;
using strings = std::vector<std::string>;

namespace {

/// Leaves its handle for somebody to resume.
class foreign {
  public:
    explicit foreign(std::coroutine_handle<>& slot) : slot_(slot) {}
    static bool await_ready() noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) noexcept { slot_ = waiter; }
    static int await_resume() noexcept { return 5; }

  private:
    std::coroutine_handle<>& slot_;
};

/// Is resumed by a thread, which may be faster than `await_suspend`.
class on_thread {
  public:
    explicit on_thread(std::thread& slot) : slot_(slot) {}
    static bool await_ready() noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) {
        slot_ = std::thread([waiter] { waiter.resume(); });
    }
    std::thread::id await_resume() noexcept {
        slot_.join();
        return std::this_thread::get_id();
    }

  private:
    std::thread& slot_;
};

/// Every other way to answer `await_suspend`.
enum class answer { ready, not_suspended, resumed_inside, itself, noop_after_resume, throws };
class peculiar {
  public:
    explicit peculiar(answer how) : how_(how) {}
    [[nodiscard]] bool await_ready() const noexcept { return how_ == answer::ready; }
    [[nodiscard]] std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiter) const {
        if (how_ == answer::throws)
            throw std::runtime_error("from await_suspend");
        if (how_ == answer::itself)
            return waiter;
        waiter.resume();
        return std::noop_coroutine();
    }
    [[nodiscard]] int await_resume() const noexcept { return static_cast<int>(how_); }

  private:
    answer how_;
};
class boolean {
  public:
    explicit boolean(answer how) : how_(how) {}
    static bool await_ready() noexcept { return false; }
    [[nodiscard]] bool await_suspend(std::coroutine_handle<> waiter) const {
        if (how_ == answer::not_suspended)
            return false;
        if (how_ == answer::throws)
            throw std::runtime_error("from await_suspend");
        waiter.resume();
        return true;
    }
    static int await_resume() { return 6; }

  private:
    answer how_;
};
class throws_at_resume {
  public:
    static bool await_ready() noexcept { return true; }
    static void await_suspend(std::coroutine_handle<>) noexcept {}
    static int await_resume() { throw std::runtime_error("from await_resume"); }
};

class with_member {
  public:
    explicit with_member(std::coroutine_handle<>& slot) : slot_(slot) {}
    foreign operator co_await() const noexcept { return foreign(slot_); }

  private:
    std::coroutine_handle<>& slot_;
};

} // namespace

TEST_CASE("a foreign awaitable is awaited", "[cancel-foreign]") {
    test::program program(test::any_loop());
    std::coroutine_handle<> slot;
    auto main = [&]() -> hob::task<> {
        program.loop().call_soon([&] { slot.resume(); });
        const int plain = co_await foreign(slot);
        CHECK(plain == 5);
        program.loop().call_soon([&] { slot.resume(); });
        const int member = co_await with_member(slot);
        CHECK(member == 5);
        for (const answer how : {answer::ready, answer::itself, answer::noop_after_resume}) {
            const int value = co_await peculiar(how);
            CHECK(value == static_cast<int>(how));
        }
        for (const answer how : {answer::not_suspended, answer::resumed_inside}) {
            const int value = co_await boolean(how);
            CHECK(value == 6);
        }
        CHECK_THROWS_WITH(co_await peculiar(answer::throws), "from await_suspend");
        CHECK_THROWS_WITH(co_await boolean(answer::throws), "from await_suspend");
        CHECK_THROWS_WITH(co_await throws_at_resume(), "from await_resume");
        co_await test::settle();
    };
    program.run(main());
}

TEST_CASE("a foreign awaitable resumed by another thread goes on on the loop's thread",
          "[cancel-foreign]") {
    test::program program(test::any_loop());
    auto main = [&]() -> hob::task<> {
        for (int round = 0; round != 50; ++round) {
            std::thread worker;
            const auto seen = co_await on_thread(worker);
            CHECK(seen == std::this_thread::get_id());
        }
    };
    program.run(main());
}

TEST_CASE("a foreign awaitable is not cancelled while it is suspended", "[cancel-foreign]") {
    test::program program(test::any_loop());
    std::coroutine_handle<> slot;
    strings log;
    auto body = [&]() -> hob::task<> {
        const at_exit note(log, "unwound");
        const int value = co_await foreign(slot);
        log.push_back("got " + std::to_string(value));
        co_await test::value_now(1);
        co_await hob::yield();
        log.push_back("never");
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(body());
        co_await test::settle();
        CHECK(handle.cancel());
        co_await test::settle();
        CHECK_FALSE(handle.done());
        CHECK(log.empty());
        slot.resume();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
    };
    program.run(main());
    CHECK(log == strings{"got 5", "unwound"});
}

TEST_CASE("a foreign awaitable is not begun in a cancelled task", "[cancel-foreign]") {
    test::program program(test::any_loop());
    std::coroutine_handle<> slot;
    hob::task_handle<> self;
    int value = 0;
    auto body = [&]() -> hob::task<> {
        self.cancel();
        value = co_await peculiar(answer::ready);
        co_await foreign(slot);
        value = -1;
    };
    auto main = [&]() -> hob::task<> {
        self = hob::create_task(body());
        CHECK_THROWS_AS(co_await self, hob::cancelled_error);
    };
    program.run(main());
    CHECK_FALSE(slot);
    CHECK(value == 0);
}

TEST_CASE("a limit on a foreign awaitable waits for it", "[cancel-foreign]") {
    test::program program(test::any_loop());
    std::coroutine_handle<> slot;
    auto body = [&]() -> hob::task<int> { co_return co_await foreign(slot); };
    auto main = [&]() -> hob::task<> {
        program.loop().call_later(3ms, [&] { slot.resume(); });
        CHECK(co_await hob::timeout(1ms, body()) == 5);
        program.loop().call_later(2ms, [&] { slot.resume(); });
        const auto [first, second] = co_await hob::gather(foreign(slot), test::value_now(2));
        CHECK(first == 5);
        CHECK(second == 2);
    };
    program.run(main());
}

TEST_CASE("the closing of a loop waits for foreign awaitables of other threads",
          "[cancel-foreign]") {
    strings log;
    std::thread worker;
    auto body = [&]() -> hob::task<> {
        const at_exit note(log, "unwound");
        co_await on_thread(worker);
        log.push_back("resumed");
        co_await hob::yield();
        log.push_back("never");
    };
    {
        test::program program;
        auto main = [&]() -> hob::task<> {
            hob::create_task(body());
            co_await hob::yield();
        };
        program.run(main());
    }
    CHECK(log == strings{"resumed", "unwound"});
}
