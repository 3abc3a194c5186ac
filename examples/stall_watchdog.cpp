// SPDX-License-Identifier: MIT
// The first trap of asynchronous programs: work that blocks the loop, and with it everybody else.
// First wrong, and the watchdog shows who does it; then right, on a thread of the pool.
#include <hob/hob.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>

using namespace std::chrono_literals;
using std::chrono::steady_clock;

/// Something that keeps a processor busy for 400 ms: numbers whose Collatz sequences are long.
/// In no anonymous namespace, so that the native stack knows its name.
std::uint64_t compute() {
    const auto end = steady_clock::now() + 400ms;
    std::uint64_t longest = 0;
    for (std::uint64_t number = 1; steady_clock::now() < end; ++number) {
        std::uint64_t length = 0;
        for (std::uint64_t value = number; value != 1; ++length)
            value = value % 2 == 0 ? value / 2 : 3 * value + 1;
        longest = std::max(longest, length);
    }
    return longest;
}

namespace {

constexpr auto heartbeat = 10ms;

/// Another job of the same loop, which wants to be punctual. Returns how late it was at worst.
hob::task<std::chrono::milliseconds> beat(bool& enough) {
    std::chrono::milliseconds worst{0};
    while (!enough) {
        const auto due = steady_clock::now() + heartbeat;
        co_await hob::sleep_for(heartbeat);
        worst = std::max(worst, std::chrono::duration_cast<std::chrono::milliseconds>(
                                    steady_clock::now() - due));
    }
    co_return worst;
}

hob::task<> compute_in_the_loop() {
    co_await hob::yield();
    std::printf("the longest sequence has %llu steps\n",
                static_cast<unsigned long long>(compute()));
}

hob::task<> compute_on_a_thread() {
    const std::uint64_t longest = co_await hob::to_thread(compute);
    std::printf("the longest sequence has %llu steps\n", static_cast<unsigned long long>(longest));
}

hob::task<> beside_a_heartbeat(const char* title, hob::task<> work) {
    std::printf("%s\n", title);
    std::fflush(stdout);
    bool enough = false;
    const auto beating = hob::create_task(beat(enough));
    co_await hob::create_task(std::move(work)).set_name("compute");
    enough = true;
    const auto worst = co_await beating;
    std::printf("the heartbeat was up to %lld ms late\n\n", static_cast<long long>(worst.count()));
}

hob::task<> demonstrate() {
    // One line, cheap enough to be left on.
    const hob::stall_watchdog watchdog(100ms);
    co_await beside_a_heartbeat("wrong: a task computes in the loop", compute_in_the_loop());
    co_await beside_a_heartbeat("right: to_thread", compute_on_a_thread());
}

} // namespace

int main() {
    try {
        return hob::run(demonstrate());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "stall_watchdog: %s\n", error.what());
        return 1;
    }
}
