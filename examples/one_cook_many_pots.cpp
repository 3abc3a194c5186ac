// SPDX-License-Identifier: MIT
// One cook, many pots: a timer, a socket, a file and a CPU job side by side. One thread juggles
// them all; only the CPU job goes to a pool thread. The time line shows who had the cook's
// attention when, and what they waited for meanwhile.
#include <hob/hob.hpp>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;

/// What happened in one pot, a letter for every `slot` of time.
class time_line {
  public:
    static constexpr auto slot = 10ms;

    explicit time_line(std::string name) : name_(std::move(name)) {}

    void mark(char what) {
        const auto index = static_cast<std::size_t>((clock_type::now() - start_) / slot);
        if (marks_.size() <= index)
            marks_.resize(index + 1, '.');
        marks_[index] = what;
    }
    void print(std::size_t width) const {
        std::string line = marks_;
        line.resize(std::max(width, line.size()), ' ');
        std::printf("%-7s|%s|\n", name_.c_str(), line.c_str());
    }
    [[nodiscard]] std::size_t width() const { return marks_.size(); }

  private:
    static inline const clock_type::time_point start_ = clock_type::now();
    std::string name_;
    std::string marks_;
};

void say(std::string_view pot, const std::string& text) {
    std::printf("%-7s %s\n", std::string(pot).c_str(), text.c_str());
}

hob::task<> boil_eggs(time_line& line) {
    line.mark('<');
    for (int egg = 1; egg <= 6; ++egg) {
        co_await hob::sleep_for(50ms);
        line.mark('t');
    }
    say("timer", "6 eggs, 50 ms each");
    line.mark('>');
}

hob::task<> answer(const hob::tcp_listener& listener) {
    const hob::tcp_stream guest = co_await listener.accept();
    std::array<std::byte, 64> buffer;
    while (const std::size_t count = co_await guest.read_some(buffer)) {
        co_await hob::sleep_for(35ms);
        co_await guest.write_all({buffer.data(), count});
    }
}

hob::task<> talk(hob::address table, time_line& line) {
    line.mark('<');
    const hob::tcp_stream waiter = co_await hob::tcp_stream::connect(table);
    constexpr std::string_view order = "one soup, please";
    std::array<std::byte, order.size()> reply;
    for (int round = 0; round != 8; ++round) {
        co_await waiter.write_all(order);
        co_await waiter.read_exactly(reply);
        line.mark('s');
    }
    say("socket", "8 orders there and back over TCP");
    line.mark('>');
}

hob::task<> keep_the_books(std::filesystem::path path, time_line& line) {
    line.mark('<');
    std::string page(256 * 1024, ' ');
    std::size_t written = 0;
    for (int number = 0; number != 10; ++number) {
        std::fill(page.begin(), page.end(), static_cast<char>('a' + number));
        co_await hob::write_file(path, page);
        if (co_await hob::read_file(path) != page)
            throw std::runtime_error("the file differs from what was written");
        written += page.size();
        line.mark('f');
        co_await hob::sleep_for(20ms);
    }
    say("file", std::to_string(written / 1024) + " KiB written and read back through the ring");
    line.mark('>');
}

std::uint64_t count_primes(std::uint64_t limit) {
    std::vector<bool> composite(limit, false);
    std::uint64_t primes = 0;
    for (std::uint64_t candidate = 2; candidate < limit; ++candidate) {
        if (composite[candidate])
            continue;
        ++primes;
        for (std::uint64_t each = candidate * candidate; each < limit; each += candidate)
            composite[each] = true;
    }
    return primes;
}

hob::task<> chop(time_line& line) {
    for (int load = 0; load != 3; ++load) {
        line.mark('<');
        const std::uint64_t primes = co_await hob::to_thread(count_primes, 4'000'000);
        line.mark('c');
        say("cpu", std::to_string(primes) + " primes below 4,000,000, on a pool thread");
    }
    line.mark('>');
}

hob::task<> cook() {
    time_line eggs("timer");
    time_line orders("socket");
    time_line books("file");
    time_line vegetables("cpu");

    std::string folder = (std::filesystem::temp_directory_path() / "hob-pots-XXXXXX").string();
    if (::mkdtemp(folder.data()) == nullptr)
        throw std::system_error(errno, std::system_category(), "mkdtemp");
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0);

    const auto start = clock_type::now();
    co_await hob::gather(boil_eggs(eggs), answer(listener), talk(listener.local_address(), orders),
                         keep_the_books(std::filesystem::path(folder) / "books", books),
                         chop(vegetables));
    const std::chrono::duration<double, std::milli> taken = clock_type::now() - start;
    std::filesystem::remove_all(folder);

    std::size_t width = 0;
    for (const time_line* each : {&eggs, &orders, &books, &vegetables})
        width = std::max(width, each->width());
    std::printf("\none letter is 10 ms; < begin, > end, a letter: the cook looked into the pot\n");
    for (const time_line* each : {&eggs, &orders, &books, &vegetables})
        each->print(width);
    std::printf("all of it together: %.0f ms on one thread (and one of the pool)\n", taken.count());
}

} // namespace

int main() {
    try {
        return hob::run(cook());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "one_cook_many_pots: %s\n", error.what());
        return 1;
    }
}
