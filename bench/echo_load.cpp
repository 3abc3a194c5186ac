// SPDX-License-Identifier: MIT
// Load for a TCP echo server: keeps a number of messages under way on each connection and checks
// every byte back.
#include "latency_histogram.hpp"
#include "process_cpu_time.hpp"

#include <arpa/inet.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif

namespace {

constexpr std::size_t largest_transfer = 64 * 1024;
constexpr std::uint64_t nanoseconds_per_second = 1'000'000'000;
constexpr std::uint64_t longest_silence = 5 * nanoseconds_per_second;

struct options {
    std::uint16_t port = 0;
    unsigned connections = 1;
    std::size_t size = 64;
    unsigned pipeline = 1;
    double seconds = 2;
    double warmup = 0.3;
    pid_t server = 0;
};

std::uint64_t now() {
    const auto since_boot = std::chrono::steady_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(since_boot).count());
}

std::system_error system_failure(int error_number, const char* what) {
    return std::system_error{error_number, std::system_category(), what};
}

// An endless stream of bytes with a period that no message size divides, so that a shifted echo
// shows.
class byte_pattern {
  public:
    byte_pattern() : bytes_(period + largest_transfer) {
        std::mt19937 random{12345};
        for (std::size_t i = 0; i < period; ++i)
            bytes_[i] = static_cast<std::byte>(random());
        for (std::size_t i = period; i < bytes_.size(); ++i)
            bytes_[i] = bytes_[i - period];
    }

    // At least `largest_transfer` bytes of the stream, from `position` on.
    [[nodiscard]] const std::byte* at(std::uint64_t position) const {
        return bytes_.data() + static_cast<std::size_t>(position % period);
    }

  private:
    static constexpr std::size_t period = 65521;
    std::vector<std::byte> bytes_;
};

// At most one receive and one send are in flight on each connection.
struct connection {
    int socket = -1;
    std::uint64_t pattern_start = 0;
    std::uint64_t bytes_sent = 0;
    std::uint64_t bytes_received = 0;
    std::uint64_t messages_started = 0;
    std::uint64_t messages_finished = 0;
    bool sending = false;
    std::vector<std::uint64_t> start_times; // by message number modulo the pipeline's depth
    std::vector<std::byte> buffer;
};

class ring {
  public:
    explicit ring(unsigned entries) {
        if (try_set_up(entries, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) != 0) {
            if (const int result = try_set_up(entries, 0); result != 0)
                throw system_failure(-result, "io_uring_setup");
        }
        io_uring_register_ring_fd(&ring_);
    }
    ring(const ring&) = delete;
    ring& operator=(const ring&) = delete;
    ~ring() { io_uring_queue_exit(&ring_); }

    io_uring_sqe* next_sqe() {
        io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
        while (sqe == nullptr) {
            check(io_uring_submit(&ring_));
            sqe = io_uring_get_sqe(&ring_);
        }
        return sqe;
    }

    template <class Handler> void submit_and_wait(Handler&& handle) {
        check(io_uring_submit_and_wait(&ring_, 1));
        std::array<io_uring_cqe*, 256> batch;
        unsigned count = 0;
        while ((count = io_uring_peek_batch_cqe(&ring_, batch.data(),
                                                static_cast<unsigned>(batch.size()))) != 0) {
            for (unsigned i = 0; i < count; ++i)
                handle(*batch[i]);
            io_uring_cq_advance(&ring_, count);
        }
    }

  private:
    int try_set_up(unsigned entries, unsigned flags) {
        return io_uring_queue_init(entries, &ring_, flags);
    }

    static void check(int result) {
        if (result < 0 && result != -EINTR && result != -EBUSY)
            throw system_failure(-result, "io_uring_enter");
    }

    io_uring ring_{};
};

class load {
  public:
    explicit load(const options& chosen) : options_{chosen}, connections_(chosen.connections) {}
    load(const load&) = delete;
    load& operator=(const load&) = delete;
    ~load() {
        for (const connection& each : connections_) {
            if (each.socket >= 0)
                ::close(each.socket);
        }
    }

    void run() {
        for (std::size_t i = 0; i < connections_.size(); ++i)
            open(connections_[i], i);
        start_tick();
        for (std::size_t i = 0; i < connections_.size(); ++i) {
            receive(i);
            start_messages(i, options_.pipeline, now());
        }
        last_progress_ = now();
        run_for(options_.warmup);
        measure();
        drain();
    }

    void report() const {
        const double count = static_cast<double>(messages_measured_);
        std::printf("messages=%llu seconds=%.3f messages_per_second=%.0f p50_us=%.2f p99_us=%.2f",
                    static_cast<unsigned long long>(messages_measured_), seconds_measured_,
                    count / seconds_measured_, static_cast<double>(latencies_.quantile(0.5)) / 1000,
                    static_cast<double>(latencies_.quantile(0.99)) / 1000);
        if (options_.server != 0)
            std::printf(" server_cpu_ns_per_message=%.1f",
                        static_cast<double>(server_cpu_) / count);
        std::printf("\n");
    }

  private:
    // User data: twice the connection's index, plus one for a send.
    static constexpr std::uint64_t tick_mark = UINT64_MAX;

    void open(connection& opened, std::size_t index) {
        opened.socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (opened.socket < 0)
            throw system_failure(errno, "socket");
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(options_.port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::connect(opened.socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
            0) {
            throw system_failure(errno, "connect");
        }
        const int on = 1;
        ::setsockopt(opened.socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        opened.pattern_start = index * 4099;
        opened.start_times.resize(options_.pipeline);
        opened.buffer.resize(
            std::clamp<std::size_t>(options_.size * options_.pipeline, 4096, largest_transfer));
    }

    // Wakes the loop when the server is silent, so that phases end and a stall is noticed.
    void start_tick() {
        io_uring_sqe* sqe = ring_.next_sqe();
        io_uring_prep_timeout(sqe, &tick_, 0, 0);
        io_uring_sqe_set_data64(sqe, tick_mark);
    }

    void receive(std::size_t index) {
        connection& each = connections_[index];
        io_uring_sqe* sqe = ring_.next_sqe();
        io_uring_prep_recv(sqe, each.socket, each.buffer.data(), each.buffer.size(), 0);
        io_uring_sqe_set_data64(sqe, 2 * index);
    }

    void start_messages(std::size_t index, std::uint64_t count, std::uint64_t time) {
        connection& each = connections_[index];
        for (std::uint64_t i = 0; i < count; ++i) {
            each.start_times[static_cast<std::size_t>(each.messages_started++ %
                                                      options_.pipeline)] = time;
        }
        if (!each.sending)
            send(index);
    }

    void send(std::size_t index) {
        connection& each = connections_[index];
        const std::uint64_t waiting = each.messages_started * options_.size - each.bytes_sent;
        each.sending = waiting != 0;
        if (!each.sending)
            return;
        io_uring_sqe* sqe = ring_.next_sqe();
        io_uring_prep_send(
            sqe, each.socket, pattern_.at(each.pattern_start + each.bytes_sent),
            static_cast<std::size_t>(std::min<std::uint64_t>(waiting, largest_transfer)),
            MSG_NOSIGNAL);
        io_uring_sqe_set_data64(sqe, 2 * index + 1);
    }

    void turn() {
        bool first = true;
        ring_.submit_and_wait([&](const io_uring_cqe& completion) {
            if (first)
                turn_time_ = now();
            first = false;
            handle(completion);
        });
        if (turn_time_ - last_progress_ > longest_silence)
            throw std::runtime_error{"the server is silent"};
    }

    void handle(const io_uring_cqe& completion) {
        if (completion.user_data == tick_mark) {
            start_tick();
            return;
        }
        const auto index = static_cast<std::size_t>(completion.user_data / 2);
        const bool was_send = completion.user_data % 2 != 0;
        if (completion.res == -EINTR || completion.res == -EAGAIN) {
            was_send ? send(index) : receive(index);
        } else if (completion.res < 0) {
            throw system_failure(-completion.res, was_send ? "send" : "receive");
        } else if (was_send) {
            connections_[index].bytes_sent += static_cast<std::uint64_t>(completion.res);
            send(index);
        } else {
            take_echo(index, static_cast<std::size_t>(completion.res));
        }
    }

    void take_echo(std::size_t index, std::size_t count) {
        connection& each = connections_[index];
        if (count == 0)
            throw std::runtime_error{"the server closed a connection"};
        const std::byte* expected = pattern_.at(each.pattern_start + each.bytes_received);
        if (std::memcmp(each.buffer.data(), expected, count) != 0) {
            throw std::runtime_error{"mismatch in connection " + std::to_string(index) +
                                     " at or after byte " + std::to_string(each.bytes_received)};
        }
        each.bytes_received += count;
        if (each.bytes_received > each.messages_started * options_.size) {
            throw std::runtime_error{"the server sent more than it got"};
        }
        last_progress_ = turn_time_;
        const std::uint64_t finished = each.bytes_received / options_.size - each.messages_finished;
        for (std::uint64_t i = 0; i < finished; ++i) {
            const auto slot =
                static_cast<std::size_t>(each.messages_finished++ % options_.pipeline);
            if (measuring_)
                latencies_.add(turn_time_ - each.start_times[slot], 1);
        }
        messages_finished_ += finished;
        if (!draining_ && finished != 0)
            start_messages(index, finished, now());
        if (!draining_ || each.messages_finished != each.messages_started)
            receive(index);
    }

    void run_for(double seconds) {
        const std::uint64_t end = now() + static_cast<std::uint64_t>(seconds * 1e9);
        do
            turn();
        while (turn_time_ < end);
    }

    void measure() {
        const std::uint64_t first_message = messages_finished_;
        const std::uint64_t cpu_before = server_cpu();
        const std::uint64_t begin = now();
        measuring_ = true;
        run_for(options_.seconds);
        measuring_ = false;
        const std::uint64_t end = now();
        server_cpu_ = server_cpu() - cpu_before;
        messages_measured_ = messages_finished_ - first_message;
        seconds_measured_ = static_cast<double>(end - begin) / 1e9;
        if (messages_measured_ == 0)
            throw std::runtime_error{"no message came back in the measured time"};
    }

    // Lets everything that is under way come back, so that a loss at the end shows too.
    void drain() {
        draining_ = true;
        const auto complete = [](const connection& each) {
            return each.messages_finished == each.messages_started;
        };
        while (!std::all_of(connections_.begin(), connections_.end(), complete))
            turn();
    }

    [[nodiscard]] std::uint64_t server_cpu() const {
        if (options_.server == 0)
            return 0;
        const std::uint64_t nanoseconds = bench::process_cpu_nanoseconds(options_.server);
        if (nanoseconds == 0)
            throw std::runtime_error{"no CPU time of the server to be read; is its PID right?"};
        return nanoseconds;
    }

    const options options_;
    byte_pattern pattern_;
    std::vector<connection> connections_;
    ring ring_{1024};
    __kernel_timespec tick_{0, 20'000'000};
    std::uint64_t turn_time_ = 0;
    std::uint64_t last_progress_ = 0;
    std::uint64_t messages_finished_ = 0;
    bool measuring_ = false;
    bool draining_ = false;
    bench::latency_histogram latencies_;
    std::uint64_t messages_measured_ = 0;
    double seconds_measured_ = 0;
    std::uint64_t server_cpu_ = 0;
};

[[noreturn]] void usage(const char* program) {
    std::fprintf(stderr,
                 "usage: %s --port N [--connections C] [--size BYTES] [--pipeline P] [--seconds S] "
                 "[--warmup S]\n"
                 "       [--server-pid PID]\n",
                 program);
    std::exit(2);
}

template <class Number> bool parse(std::string_view text, Number smallest, Number& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size() && value >= smallest;
}

options parse_options(int argument_count, char** arguments) {
    options result;
    for (int i = 1; i < argument_count; i += 2) {
        const std::string_view name = arguments[i];
        const std::string_view text = i + 1 < argument_count ? arguments[i + 1] : "";
        const bool understood = name == "--port" ? parse<std::uint16_t>(text, 1, result.port)
                                : name == "--connections" ? parse(text, 1U, result.connections)
                                : name == "--size"        ? parse<std::size_t>(text, 1, result.size)
                                : name == "--pipeline"    ? parse(text, 1U, result.pipeline)
                                : name == "--seconds"     ? parse(text, 0.01, result.seconds)
                                : name == "--warmup"      ? parse(text, 0.0, result.warmup)
                                : name == "--server-pid"  ? parse<pid_t>(text, 1, result.server)
                                                          : false;
        if (!understood)
            usage(arguments[0]);
    }
    if (result.port == 0)
        usage(arguments[0]);
    return result;
}

void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

} // namespace

int main(int argument_count, char** arguments) {
    const options chosen = parse_options(argument_count, arguments);
    raise_descriptor_limit();
    try {
        load generator{chosen};
        generator.run();
        generator.report();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "echo_load: %s\n", error.what());
        return 1;
    }
}
