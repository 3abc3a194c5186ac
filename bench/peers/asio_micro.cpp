// SPDX-License-Identifier: MIT
// What Asio's own operations cost: prints "name nanoseconds" lines.
#include <algorithm>
#include <asio.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/experimental/channel.hpp>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace asio::experimental::awaitable_operators;
using std::chrono::steady_clock;

asio::awaitable<int> one() {
    co_return 1;
}

asio::awaitable<void> yield_once() {
    co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
}

asio::awaitable<double> spawn_join(int count) {
    const auto executor = co_await asio::this_coro::executor;
    for (int round = 0; round != count; ++round)
        co_await asio::co_spawn(executor, one(), asio::use_awaitable);
    co_return 0;
}

asio::awaitable<double> yield(int count) {
    const auto executor = co_await asio::this_coro::executor;
    for (int round = 0; round != count; ++round)
        co_await asio::post(executor, asio::use_awaitable);
    co_return 0;
}

asio::awaitable<double> nested_await(int count) {
    int sum = 0;
    for (int round = 0; round != count; ++round)
        sum += co_await one();
    if (sum != count)
        std::abort();
    co_return 0;
}

asio::awaitable<double> cancel_sleeper(int count) {
    const auto executor = co_await asio::this_coro::executor;
    for (int round = 0; round != count; ++round) {
        asio::steady_timer timer(executor, std::chrono::hours(1));
        bool ended = false;
        timer.async_wait([&](const asio::error_code&) { ended = true; });
        co_await asio::post(executor, asio::use_awaitable);
        timer.cancel();
        while (!ended)
            co_await asio::post(executor, asio::use_awaitable);
    }
    co_return 0;
}

asio::awaitable<double> channel64(int count) {
    const auto executor = co_await asio::this_coro::executor;
    asio::experimental::channel<void(asio::error_code, int)> items(executor, 64);
    asio::co_spawn(
        executor,
        [&]() -> asio::awaitable<void> {
            for (int number = 0; number != count; ++number)
                co_await items.async_send(asio::error_code(), number, asio::use_awaitable);
        },
        asio::detached);
    for (int round = 0; round != count; ++round)
        co_await items.async_receive(asio::use_awaitable);
    co_return 0;
}

asio::awaitable<double> gather_10(int count) {
    for (int round = 0; round != count; ++round)
        co_await (yield_once() && yield_once() && yield_once() && yield_once() && yield_once() &&
                  yield_once() && yield_once() && yield_once() && yield_once() && yield_once());
    co_return 0;
}

template <class Once> asio::awaitable<double> median_of(int count, Once once) {
    std::vector<double> times;
    for (int round = 0; round != count; ++round) {
        const auto start = steady_clock::now();
        co_await once();
        times.push_back(
            std::chrono::duration<double, std::nano>(steady_clock::now() - start).count());
    }
    const auto middle = std::next(times.begin(), static_cast<std::ptrdiff_t>(times.size() / 2));
    std::nth_element(times.begin(), middle, times.end());
    co_return *middle;
}

asio::awaitable<double> pool_roundtrip(int count) {
    const auto executor = co_await asio::this_coro::executor;
    asio::thread_pool pool(1);
    co_return co_await median_of(count, [&]() -> asio::awaitable<void> {
        co_await asio::post(pool, asio::bind_executor(pool, asio::use_awaitable));
        co_await asio::post(executor, asio::use_awaitable);
    });
}

asio::awaitable<double> threadsafe_wake(int count) {
    const auto executor = co_await asio::this_coro::executor;
    std::atomic<int> asked = 0;
    asio::experimental::channel<void(asio::error_code, int)> woken(executor, 1);
    std::jthread other([&] {
        for (int seen = 0;;) {
            asked.wait(seen);
            seen = asked.load();
            if (seen < 0)
                return;
            asio::post(executor, [&] { woken.try_send(asio::error_code(), 0); });
        }
    });
    const double median = co_await median_of(count, [&]() -> asio::awaitable<void> {
        ++asked;
        asked.notify_one();
        co_await woken.async_receive(asio::use_awaitable);
    });
    asked = -1;
    asked.notify_one();
    co_return median;
}

void run(const char* name, asio::awaitable<double> (*function)(int), int count) {
    asio::io_context context;
    double median = 0;
    const auto start = steady_clock::now();
    asio::co_spawn(context, function(count), [&](const std::exception_ptr& error, double result) {
        if (error)
            std::rethrow_exception(error);
        median = result;
    });
    context.run();
    const std::chrono::duration<double, std::nano> taken = steady_clock::now() - start;
    std::printf("%s %.1f\n", name, median != 0 ? median : taken.count() / count);
    std::fflush(stdout);
}

} // namespace

int main(int count, char** names) {
    const struct {
        const char* name;
        asio::awaitable<double> (*function)(int);
        int count;
    } rows[] = {
        {"spawn_join", spawn_join, 500'000},        {"yield", yield, 1'000'000},
        {"nested_await", nested_await, 5'000'000},  {"cancel_sleeper", cancel_sleeper, 200'000},
        {"channel64", channel64, 500'000},          {"gather_10", gather_10, 50'000},
        {"pool_roundtrip", pool_roundtrip, 20'000}, {"threadsafe_wake", threadsafe_wake, 20'000},
    };
    for (const auto& row : rows)
        if (count == 1 ||
            std::find(names + 1, names + count, std::string(row.name)) != names + count)
            run(row.name, row.function, row.count);
}
