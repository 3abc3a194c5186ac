// SPDX-License-Identifier: MIT
// What takes a bounded native stack, whatever the compiler and its flags. A program without a
// framework, because it is compiled many times. Its argument names the test.
#include <hob/gather.hpp>
#include <hob/run.hpp>
#include <hob/sleep.hpp>
#include <hob/task.hpp>
#include <hob/task_group.hpp>
#include <hob/task_handle.hpp>
#include <hob/timeout.hpp>

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string_view>

namespace {

using namespace std::chrono_literals;

constexpr long million = 1'000'000;

void require(bool condition, const char* what) {
    if (!condition) {
        std::fprintf(stderr, "failed: %s\n", what);
        std::_Exit(1);
    }
}

hob::task<long> one() {
    co_return 1;
}
/// Awaits tasks that complete without suspending, and every `period`-th time one that suspends.
hob::task<long> loop(long count, long period) {
    long sum = 0;
    for (long round = 0; round != count; ++round) {
        sum += co_await one();
        if (period != 0 && round % period == 0)
            co_await hob::yield();
    }
    co_return sum;
}
hob::task<long> chain(long depth, bool suspend_at_bottom) {
    if (depth == 0) {
        if (suspend_at_bottom)
            co_await hob::sleep_for(1us);
        co_return 0;
    }
    co_return 1 + co_await chain(depth - 1, suspend_at_bottom);
}
hob::task<> throwing(long depth, bool suspend_at_bottom) {
    if (depth == 0) {
        if (suspend_at_bottom)
            co_await hob::sleep_for(1us);
        throw std::runtime_error("from the bottom");
    }
    co_await throwing(depth - 1, suspend_at_bottom);
}
hob::task<> waiting(long depth, bool& at_bottom) {
    if (depth == 0) {
        at_bottom = true;
        co_await hob::sleep_for(1h);
    } else {
        co_await waiting(depth - 1, at_bottom);
    }
}
/// Starts a chain, and waits until all of it is there, which takes many turns.
hob::task<hob::task_handle<>> start_waiting(long depth) {
    bool at_bottom = false;
    auto task = hob::create_task(waiting(depth, at_bottom));
    while (!at_bottom)
        co_await hob::yield();
    co_return task;
}
hob::task<long> gathering(long depth) {
    if (depth == 0)
        co_return 1;
    const auto [left, right] = co_await hob::gather(gathering(depth - 1), one());
    co_return left + right - 1;
}
hob::task<> limited(long depth) {
    if (depth == 0)
        co_await hob::sleep_for(1us);
    else
        co_await hob::timeout(1h, limited(depth - 1));
}

/// Starts tasks that start tasks, each from a function that takes much of the native stack itself.
void start_eagerly(long depth, long& started);
hob::task<> eager(long depth, long& started) {
    start_eagerly(depth, started);
    co_return;
}
void start_eagerly(long depth, long& started) {
    volatile char scratch[4096];
    scratch[0] = 1;
    ++started;
    if (depth != 0)
        hob::create_task(eager(depth - 1, started), hob::eager);
    // Read afterwards, so that it is there meanwhile.
    require(scratch[0] == 1, "scratch");
}

hob::task<> test_loop() {
    require(co_await loop(million, 0) == million, "loop");
    require(co_await loop(million / 10, 3) == million / 10, "loop with yields");
    auto task = hob::create_task(one());
    for (long round = 0; round != million / 10; ++round)
        require(co_await task == 1, "loop of joins");
}
hob::task<> test_chain(long depth) {
    require(co_await chain(depth, false) == depth, "chain");
    require(co_await chain(depth, true) == depth, "chain that suspends");
    require(co_await gathering(depth / 100) == 1, "chain of gathers");
    co_await limited(depth / 100);
}
hob::task<> test_eager(long depth) {
    long started = 0;
    start_eagerly(depth, started);
    while (started <= depth)
        co_await hob::yield();
}
hob::task<> test_throw(long depth) {
    for (const bool suspend : {false, true}) {
        bool caught = false;
        try {
            co_await throwing(depth, suspend);
        } catch (const std::runtime_error&) {
            caught = true;
        }
        require(caught, "throw");
    }
}
hob::task<> stop(long depth) {
    auto task = co_await start_waiting(depth);
    require(task.cancel(), "cancel");
    bool stopped = false;
    try {
        co_await task;
    } catch (const hob::cancelled_error&) {
        stopped = true;
    }
    require(stopped, "stop");
}
/// Unwinding by cancellation has no limit of depth, also when a loop is closed.
hob::task<> test_destroy(long depth) {
    co_await stop(depth);
    bool at_bottom = false;
    require(!co_await hob::try_timeout(1ms, waiting(depth, at_bottom)), "timeout");
    // Left to the closing of the loop.
    const auto left_over = co_await start_waiting(depth);
    require(!left_over.done(), "leave");
}

void on_small_stack(void (*body)()) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    std::size_t size = 256 * 1024;
#if defined(__SANITIZE_ADDRESS__) && !defined(__OPTIMIZE__)
    // ASan's red zones are not hob's to save.
    size *= 2;
#endif
    require(pthread_attr_setstacksize(&attributes, size) == 0, "stack size");
    pthread_t thread{};
    const auto start = [](void* function) -> void* {
        reinterpret_cast<void (*)()>(function)();
        return nullptr;
    };
    require(pthread_create(&thread, &attributes, start, reinterpret_cast<void*>(body)) == 0,
            "thread");
    pthread_join(thread, nullptr);
    pthread_attr_destroy(&attributes);
}

/// Starts this program again on a stack of 8 MiB, if it has another one.
void require_stack(char** arguments) {
    constexpr rlim_t wanted = 8 * 1024 * 1024;
    rlimit limit{};
    require(::getrlimit(RLIMIT_STACK, &limit) == 0, "getrlimit");
    if (limit.rlim_cur == wanted)
        return;
    limit.rlim_cur = wanted;
    require(::setrlimit(RLIMIT_STACK, &limit) == 0, "setrlimit");
    ::execv("/proc/self/exe", arguments);
    require(false, "execv");
}

} // namespace

int main(int count, char** arguments) {
    require(count == 2, "one argument: loop, chain, throw, destroy or thread");
    require_stack(arguments);
    const std::string_view test = arguments[1];
    if (test == "loop")
        hob::run(test_loop());
    else if (test == "chain")
        hob::run(test_chain(million));
    else if (test == "throw")
        hob::run(test_throw(50'000));
    else if (test == "destroy")
        hob::run(test_destroy(million));
    else if (test == "thread")
        on_small_stack([] {
            hob::run(test_loop());
            hob::run(test_chain(million));
            hob::run(test_eager(1000));
            hob::run(test_destroy(million / 10));
        });
    else
        require(false, "an unknown test");
}
