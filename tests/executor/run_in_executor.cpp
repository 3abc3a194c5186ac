// SPDX-License-Identifier: MIT
// Jobs run off the loop's thread, in order, on a bounded number of threads.
#include "executor/pool_support.hpp"
#include "support/child_process.hpp"

#include <hob/as_result.hpp>

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <latch>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace {

hob::task<> gives_what_the_function_gives() {
    hob::thread_pool pool;
    const std::thread::id here = std::this_thread::get_id();
    const auto there =
        co_await hob::run_in_executor(pool, [] { return std::this_thread::get_id(); });
    CHECK(there != here);
    CHECK(std::this_thread::get_id() == here);

    // Move-only arguments and results, references, member functions, void.
    auto owned = std::make_unique<int>(41);
    int* const address = owned.get();
    const auto increase = [](std::unique_ptr<int> number) {
        ++*number;
        return number;
    };
    auto returned = co_await hob::run_in_executor(pool, increase, std::move(owned));
    CHECK(returned.get() == address);
    CHECK(*returned == 42);

    int shared = 1;
    const auto pass_on = [](int& number) -> int& { return ++number; };
    int& reference = co_await hob::run_in_executor(pool, pass_on, std::ref(shared));
    CHECK(&reference == &shared);
    CHECK(shared == 2);

    const std::string text = "twelve chars";
    const std::size_t size = co_await hob::run_in_executor(pool, &std::string::size, text);
    CHECK(size == 12);
    co_await hob::run_in_executor(pool, [&shared] { shared = 3; });
    CHECK(shared == 3);
    const int four = co_await hob::to_thread([] { return 4; });
    CHECK(four == 4);
    const auto pass = [](int number) { return number; };
    const int five = co_await hob::to_thread(hob::abandon_on_cancel, pass, 5);
    CHECK(five == 5);
}

hob::task<> append(hob::thread_pool& pool, std::vector<int>& order, int number) {
    co_await hob::run_in_executor(pool, [&order, number] { order.push_back(number); });
}

hob::task<> starts_in_order() {
    hob::thread_pool pool(test::with_threads(1));
    std::vector<int> order;
    std::vector<hob::task_handle<>> jobs;
    for (int number = 0; number != 1000; ++number)
        jobs.push_back(hob::create_task(append(pool, order, number)));
    for (const auto& each : jobs)
        co_await each;
    CHECK(pool.size() == 1);
    CHECK(order.size() == 1000);
    CHECK(std::is_sorted(order.begin(), order.end()));
}

class concurrency_meter {
  public:
    void enter() {
        const int now = ++inside_;
        int most = most_;
        while (most < now && !most_.compare_exchange_weak(most, now)) {
        }
    }
    void leave() { --inside_; }
    [[nodiscard]] int most() const { return most_; }

  private:
    std::atomic<int> inside_ = 0;
    std::atomic<int> most_ = 0;
};

hob::task<> be_measured(hob::thread_pool& pool, concurrency_meter& meter, std::latch& together) {
    const auto job = [&] {
        meter.enter();
        if (!together.try_wait())
            together.arrive_and_wait();
        meter.leave();
    };
    co_await hob::run_in_executor(pool, job);
}

hob::task<> never_exceeds_its_threads() {
    hob::thread_pool pool(test::with_threads(3));
    CHECK(pool.size() == 0);
    concurrency_meter meter;
    std::latch together(3); // opens only if three jobs run at once
    std::vector<hob::task_handle<>> jobs;
    for (int number = 0; number != 100; ++number)
        jobs.push_back(hob::create_task(be_measured(pool, meter, together)));
    for (const auto& each : jobs)
        co_await each;
    CHECK(meter.most() == 3);
    CHECK(pool.size() == 3);
}

/// Tells where the last of its copies dies.
class traced_error : public std::runtime_error {
  public:
    explicit traced_error(std::thread::id& grave)
        : std::runtime_error("from a thread"),
          witness_(&grave, [](std::thread::id* where) { *where = std::this_thread::get_id(); }) {}

  private:
    std::shared_ptr<std::thread::id> witness_;
};

hob::task<> exceptions_come_back() {
    hob::thread_pool pool;
    for (int round = 0; round != 1000; ++round) {
        std::thread::id grave;
        try {
            const auto job = [&grave] { throw traced_error(grave); };
            co_await hob::run_in_executor(pool, job);
            FAIL("nothing was thrown");
        } catch (const traced_error& error) {
            if (std::string(error.what()) != "from a thread")
                FAIL(error.what());
        }
        if (grave != std::this_thread::get_id())
            FAIL("the exception died on another thread");
    }
    const auto fail = [] { throw std::system_error(EIO, std::system_category()); };
    const auto result = co_await hob::as_result(hob::run_in_executor(pool, fail));
    CHECK(result.error().value() == EIO);
}

hob::task<> signals_are_blocked() {
    hob::thread_pool pool;
    const auto look = [] {
        sigset_t blocked;
        ::pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
        return blocked;
    };
    sigset_t before = look();
    const sigset_t blocked = co_await hob::run_in_executor(pool, look);
    for (int signal = 1; signal != SIGRTMAX; ++signal) {
        // glibc keeps two of them for itself.
        if (signal == SIGKILL || signal == SIGSTOP || (signal >= 32 && signal < SIGRTMIN))
            continue;
        INFO("signal " << signal);
        CHECK(::sigismember(&blocked, signal) == 1);
    }
    sigset_t after = look();
    CHECK(::sigismember(&after, SIGUSR1) == ::sigismember(&before, SIGUSR1));

    const auto name = [] {
        char text[16] = {};
        ::pthread_getname_np(::pthread_self(), text, sizeof text);
        return std::string(text);
    };
    const std::string found = co_await hob::run_in_executor(pool, name);
    // By whichever of its threads.
    CHECK_THAT(found, Catch::Matchers::StartsWith("hob-pool-"));
}

/// While it lives, no thread can be made: a stack of the default size has no room anywhere.
class no_room_for_threads {
  public:
    no_room_for_threads() {
        ::pthread_getattr_default_np(&previous_);
        pthread_attr_t huge;
        ::pthread_attr_init(&huge);
        ::pthread_attr_setstacksize(&huge, std::size_t{1} << 47);
        ::pthread_setattr_default_np(&huge);
        ::pthread_attr_destroy(&huge);
    }
    ~no_room_for_threads() {
        ::pthread_setattr_default_np(&previous_);
        ::pthread_attr_destroy(&previous_);
    }

  private:
    pthread_attr_t previous_;
};

hob::task<> threads_cannot_be_made() {
    hob::thread_pool pool(test::with_threads(2));
    {
        const no_room_for_threads guard;
        const auto result = co_await hob::as_result(hob::run_in_executor(pool, [] {}));
        CHECK(result.error().value() == EAGAIN);
        CHECK(pool.size() == 0);
    }
    const int one = co_await hob::run_in_executor(pool, [] { return 1; });
    CHECK(one == 1);
    CHECK(pool.size() == 1);
    {
        // The thread is busy, and there cannot be another one: the job waits for it.
        const no_room_for_threads guard;
        test::thread_gate gate;
        std::vector<int> order;
        const auto block = [&] { gate.wait(); };
        const auto wait_for_gate = [&]() -> hob::task<> {
            co_await hob::run_in_executor(pool, block);
        };
        const auto blocked = hob::create_task(wait_for_gate());
        co_await test::settle();
        gate.wait_for_visitors(1);
        const auto second = hob::create_task(append(pool, order, 2));
        co_await test::settle();
        CHECK_FALSE(second.done());
        gate.open();
        co_await blocked;
        co_await second;
        CHECK(order == std::vector<int>{2});
        CHECK(pool.size() == 1);
    }
}

hob::task<> answer(int& number) {
    number = co_await hob::to_thread([] { return 7; });
}

} // namespace

TEST_CASE("a pool gives what the function gives", "[ex-basic]") {
    test::program(test::each_ring()).run(gives_what_the_function_gives());
}
TEST_CASE("jobs start in the order of their coming", "[ex-basic]") {
    test::program().run(starts_in_order());
}
TEST_CASE("a pool never has more threads than it may, and uses them all", "[ex-basic]") {
    test::program().run(never_exceeds_its_threads());
}
TEST_CASE("an exception of a job arrives, and dies, on the loop's thread", "[exc-thread]") {
    test::program(test::each_ring()).run(exceptions_come_back());
}
TEST_CASE("threads of a pool have a name and block all signals", "[ex-sig]") {
    test::program().run(signals_are_blocked());
}
TEST_CASE("a pool without its threads fails one job or makes it wait", "[ex-nothread]") {
    test::program().run(threads_cannot_be_made());
}

TEST_CASE("a pool is no reason to forget a deadlock", "[ex-basic]") {
    // Round by round, since the thread may still hold the loop's inbox when the job has ended.
    for (int round = 0; round != 200; ++round) {
        test::program program;
        const auto main = []() -> hob::task<> {
            co_await hob::to_thread([] {});
            test::gate never;
            co_await never.wait();
        };
        CHECK_THROWS_AS(program.run(main()), hob::deadlock_error);
    }
}

TEST_CASE("a child destroys a pool whose threads only the parent has", "[ex-basic][fork-child]") {
    // TSan lets no child of a process with threads go on.
    if (test::sanitized)
        return;
    auto* const pool = new hob::thread_pool;
    const auto main = [&]() -> hob::task<> {
        const auto nothing = [] {};
        co_await hob::run_in_executor(*pool, nothing);
    };
    test::program().run(main());
    const auto child = test::in_child([&] {
        // Whether the parent's thread is asleep by now or not.
        delete pool;
        return 7;
    });
    INFO(child.errors);
    CHECK(child.code == 7);
    delete pool;
}

TEST_CASE("the child of a forked child has a default pool, too", "[ex-basic][fork-child]") {
    // TSan lets no child of a process with threads make new ones.
    if (test::sanitized)
        return;
    const auto use_pool = [] {
        int number = 0;
        test::program().run(answer(number));
        return number;
    };
    REQUIRE(use_pool() == 7);
    const auto child = test::in_child([&] {
        if (use_pool() != 7)
            return 1;
        const auto grandchild = test::in_child(use_pool);
        std::fputs(grandchild.errors.c_str(), stderr);
        return grandchild.code;
    });
    INFO(child.errors);
    CHECK(child.code == 7);
}

TEST_CASE("the end of the process waits for the jobs of the default pool", "[ex-shutdown]") {
    if (test::sanitized)
        return;
    static std::atomic<bool> has_begun = false;
    static std::atomic<bool> is_ending = false;
    static std::atomic<bool> is_gone = false;
    const auto child = test::in_child([] {
        struct made_earlier {
            ~made_earlier() { is_gone = true; }
        };
        [[maybe_unused]] static const made_earlier used_by_job{};
        const auto main = []() -> hob::task<> {
            auto job = hob::create_task(hob::to_thread(hob::abandon_on_cancel, [] {
                has_begun = true;
                while (!is_ending)
                    std::this_thread::yield();
                for (int pause = 0; pause != 10'000; ++pause)
                    std::this_thread::yield();
                std::fputs(is_gone ? "too late" : "done", stderr);
            }));
            while (!has_begun)
                co_await hob::yield();
            job.cancel();
        };
        test::program().run(main());
        if (std::atexit([] { is_ending = true; }) == 0)
            std::exit(7);
        return 1;
    });
    CHECK(child.errors == "done");
    CHECK(child.code == 7);
}

TEST_CASE("a job of the default pool may end the process", "[ex-shutdown]") {
    if (test::sanitized)
        return;
    const auto child = test::in_child([] {
        const auto main = []() -> hob::task<> { co_await hob::to_thread([] { std::exit(7); }); };
        test::program().run(main());
        return 1;
    });
    INFO(child.errors);
    CHECK(child.code == 7);
}

TEST_CASE("a pool belongs to one process", "[ex-basic]") {
    // TSan lets no child of a process with threads make new ones.
    if (test::sanitized)
        return;
    int number = 0;
    hob::thread_pool pool;
    test::program().run(answer(number));
    REQUIRE(number == 7);
    const auto child = test::in_child([&] {
        // The child's default pool is its own, but `pool` has no threads here.
        int again = 0;
        test::program().run(answer(again));
        const auto use = [&]() -> hob::task<> { co_await hob::run_in_executor(pool, [] {}); };
        try {
            test::program().run(use());
        } catch (const hob::usage_error&) {
            return again;
        }
        return 1;
    });
    INFO(child.errors);
    CHECK(child.code == 7);
}
