// SPDX-License-Identifier: MIT
// How a loop that sleeps is best woken on this machine: by an eventfd or by a message to its ring.
// Two loops pass a word back and forth; each sleeps while the other has it.
#include <hob/hob.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <ctime>
#include <exception>
#include <latch>
#include <thread>

namespace {

constexpr int rounds = 50'000;

struct cost {
    double wall = 0; // ns a round, of two wake-ups
    double cpu = 0;  // of both threads
};

struct player {
    hob::event_loop* loop = nullptr;
    hob::semaphore turn{0};
};

hob::task<> play(player& self, player& other) {
    for (int round = 0; round != rounds; ++round) {
        (co_await self.turn.acquire()).detach();
        if (!other.loop->call_soon_threadsafe([&other] { other.turn.release(); }))
            std::terminate();
    }
}

cost measure(hob::wake_method method) {
    std::array<player, 2> players;
    std::latch made(2);
    std::latch ended(2);
    cost result;
    const auto run = [&](std::size_t number) {
        player& self = players[number];
        player& other = players[1 - number];
        hob::runner_options options;
        options.handle_interrupt = false;
        options.ring.wake = method;
        hob::runner runner(options);
        self.loop = &runner.loop();
        // While there is a handle, the loop knows that it may be called.
        const hob::loop_handle reachable = self.loop->get_handle();
        made.arrive_and_wait();
        if (number == 0)
            self.turn.release();
        const std::clock_t cpu = std::clock();
        const auto start = std::chrono::steady_clock::now();
        runner.run(play(self, other));
        if (number == 0) {
            const std::chrono::duration<double, std::nano> taken =
                std::chrono::steady_clock::now() - start;
            result.wall = taken.count() / rounds;
            result.cpu = static_cast<double>(std::clock() - cpu) * 1e9 / CLOCKS_PER_SEC / rounds;
        }
        ended.arrive_and_wait();
    };
    std::thread second(run, 1);
    run(0);
    second.join();
    return result;
}

} // namespace

int main() {
    std::puts("ns a round of two wake-ups, and CPU time of both threads:");
    for (int repetition = 0; repetition != 5; ++repetition) {
        const cost eventfd = measure(hob::wake_method::eventfd);
        const cost message = measure(hob::wake_method::message);
        std::printf("eventfd %6.0f, CPU %6.0f; message %6.0f, CPU %6.0f; ratio %.2f\n",
                    eventfd.wall, eventfd.cpu, message.wall, message.cpu,
                    message.wall / eventfd.wall);
    }
}
