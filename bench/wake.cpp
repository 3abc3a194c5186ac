// SPDX-License-Identifier: MIT
// How one thread best wakes another one's ring: a write to an eventfd that the ring polls, or
// IORING_OP_MSG_RING, sent at once or with the sender's next system call, in which it falls asleep.
// Two raw rings pass a token back and forth, each asleep while it waits, as two loops do that
// answer each other.
#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <semaphore>
#include <thread>

namespace {

enum class way { eventfd, message, message_with_next_call };

constexpr std::uint64_t wake_tag = 1;
constexpr std::uint64_t sent_tag = 2;

void require(bool condition, const char* what) {
    if (!condition) {
        std::perror(what);
        std::exit(EXIT_FAILURE);
    }
}

class woken_ring {
  public:
    // On the thread that waits, as SINGLE_ISSUER demands.
    explicit woken_ring(way chosen) {
        io_uring_params parameters{};
        parameters.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
        require(io_uring_queue_init_params(64, &ring_, &parameters) == 0, "io_uring_setup");
        io_uring_register_ring_fd(&ring_);
        if (chosen == way::eventfd) {
            io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
            io_uring_prep_poll_multishot(entry, eventfd_, POLLIN);
            entry->user_data = wake_tag;
        }
    }
    ~woken_ring() {
        io_uring_queue_exit(&ring_);
        ::close(eventfd_);
    }
    woken_ring(const woken_ring&) = delete;
    woken_ring& operator=(const woken_ring&) = delete;

    void wake_by_eventfd() const {
        const std::uint64_t one = 1;
        require(::write(eventfd_, &one, sizeof one) == sizeof one, "write");
    }
    // Goes out with the sender's next call.
    void wake_by_message(woken_ring& sender) const {
        io_uring_sqe* const entry = io_uring_get_sqe(&sender.ring_);
        io_uring_prep_msg_ring(entry, ring_.ring_fd, 0, wake_tag, 0);
        entry->user_data = sent_tag;
    }
    void submit() { io_uring_submit(&ring_); }
    void wait(way chosen) {
        for (;;) {
            io_uring_submit_and_wait(&ring_, 1);
            io_uring_cqe* completion = nullptr;
            bool woken = false;
            while (io_uring_peek_cqe(&ring_, &completion) == 0) {
                woken = woken || completion->user_data == wake_tag;
                require(completion->res >= 0, "a completion");
                io_uring_cqe_seen(&ring_, completion);
            }
            if (!woken)
                continue;
            if (chosen == way::eventfd) {
                std::uint64_t count = 0;
                require(::read(eventfd_, &count, sizeof count) == sizeof count, "read");
            }
            return;
        }
    }

  private:
    io_uring ring_{};
    int eventfd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
};

double nanoseconds_per_round(way chosen, int rounds) {
    woken_ring* rings[2] = {};
    std::binary_semaphore made[2] = {std::binary_semaphore(0), std::binary_semaphore(0)};
    std::binary_semaphore done[2] = {std::binary_semaphore(0), std::binary_semaphore(0)};
    double result = 0;
    const auto play = [&](std::size_t self) {
        const std::size_t other = 1 - self;
        woken_ring ring(chosen);
        rings[self] = &ring;
        made[self].release();
        made[other].acquire();
        const auto wake = [&] {
            if (chosen == way::eventfd)
                rings[other]->wake_by_eventfd();
            else
                rings[other]->wake_by_message(ring);
            if (chosen == way::message)
                ring.submit();
        };
        const auto start = std::chrono::steady_clock::now();
        if (self == 0)
            wake();
        for (int round = 0; round != rounds; ++round) {
            ring.wait(chosen);
            if (self == 1 || round + 1 != rounds)
                wake();
        }
        ring.submit();
        if (self == 0)
            result =
                std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start)
                    .count() /
                rounds;
        done[self].release();
        done[other].acquire();
    };
    std::thread second(play, 1);
    play(0);
    second.join();
    return result;
}

} // namespace

int main() {
    constexpr int rounds = 50'000;
    for (int repetition = 0; repetition != 5; ++repetition)
        std::printf("ns a round: eventfd %6.0f, MSG_RING %6.0f, with the next call %6.0f\n",
                    nanoseconds_per_round(way::eventfd, rounds),
                    nanoseconds_per_round(way::message, rounds),
                    nanoseconds_per_round(way::message_with_next_call, rounds));
}
