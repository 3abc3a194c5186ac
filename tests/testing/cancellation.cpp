// SPDX-License-Identifier: MIT
// Whatever the kernel answers to a cancellation, the operation's own completion decides.
#include "testing/simulated_pair.hpp"
#include "testing/simulated_program.hpp"

#include <hob/hob.hpp>
#include <hob/testing/simulation.hpp>

#include <sys/eventfd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <compare>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace {

/// What a trace says of a cancellation and of the operation it was meant for.
struct answer {
    int cancel;
    int operation;
    bool cancel_first;
    auto operator<=>(const answer&) const = default;
};

/// The first completion of a cancellation and of a receive in a trace.
answer answer_in(const std::string& trace) {
    std::istringstream lines(trace);
    std::optional<int> cancel;
    std::optional<int> operation;
    bool cancel_first = false;
    std::string time;
    std::string name;
    int result = 0;
    while (lines >> time >> name >> result) {
        if (name == "cancel" && !cancel) {
            cancel = result;
            cancel_first = !operation;
        } else if (name == "recv" && !operation) {
            operation = result;
        }
    }
    return {cancel.value_or(0), operation.value_or(0), cancel_first};
}

hob::task<> read_one(const hob::tcp_stream& stream, std::size_t& count) {
    std::array<std::byte, 1> buffer;
    count = co_await stream.read_some(buffer);
}

/// Cancels a read, `distance` before or (negative) after its byte is sent.
hob::task<> race_with_byte(std::chrono::nanoseconds distance) {
    test::simulated_pair pair;
    co_await test::connect_pair(pair);
    std::size_t count = 0;
    const auto reader = hob::create_task(read_one(pair.server, count));
    co_await hob::sleep_for(1ms);
    const auto send_at = hob::event_loop::current().time() + 1ms;
    hob::event_loop::current().call_at(send_at - distance, [&reader] { reader.cancel(); });
    co_await hob::sleep_until(send_at);
    co_await pair.client.write_all("!");
    const bool stopped = co_await test::end_of(reader);
    CHECK(stopped == (count == 0));
    if (stopped)
        co_await read_one(pair.server, count);
    CHECK(count == 1);
}

std::set<answer> answers_at(std::chrono::nanoseconds distance) {
    std::set<answer> answers;
    hob::testing::simulation_options options;
    options.keep_trace = true;
    options.short_transfers = 0;
    for (options.seed = 0; options.seed != test::seeds; ++options.seed) {
        INFO("seed " << options.seed);
        std::string trace;
        auto body = [&trace, distance](hob::testing::simulation& world) -> hob::task<> {
            co_await race_with_byte(distance);
            trace = world.trace();
        };
        test::run_simulated(options, body);
        answers.insert(answer_in(trace));
    }
    return answers;
}

hob::task<> read_again(int fd) {
    for (;;)
        co_await test::readable(fd);
}

hob::task<> cancel_polls(unsigned count) {
    const hob::detail::unique_fd never(::eventfd(0, EFD_CLOEXEC));
    std::vector<hob::task_handle<>> polls;
    for (unsigned each = 0; each != count; ++each)
        polls.push_back(hob::create_task(read_again(never.get())));
    co_await hob::sleep_for(1ms);
    for (const auto& each : polls)
        each.cancel();
    for (const auto& each : polls) {
        const bool stopped = co_await test::end_of(each);
        CHECK(stopped);
    }
}

hob::task<> cancel_polls_under_faults(hob::testing::simulation& world) {
    world.faults().fail_enter_randomly(-EBUSY, 0.02);
    world.faults().submit_partly(0.5);
    co_await cancel_polls(20);
    world.faults().clear();
}

} // namespace

TEST_CASE("the completions of an operation and of its cancellation come in either order",
          "[testing][cancel-order][cancel-res1][cancel-eintr]") {
    const auto answers = answers_at(500us);
    for (const bool cancel_first : {false, true}) {
        CHECK(answers.count({0, -ECANCELED, cancel_first}) == 1);
        CHECK(answers.count({1, -ECANCELED, cancel_first}) == 1);
        CHECK(answers.count({-EALREADY, -EINTR, cancel_first}) == 1);
    }
}
TEST_CASE("an operation that its cancellation misses still completes", "[testing][cancel-enoent]") {
    std::set<answer> answers;
    for (const auto distance : {20us, 0us, -20us, -50us, -80us, -110us, -140us})
        answers.merge(answers_at(distance));
    for (const bool cancel_first : {false, true}) {
        CHECK(answers.count({-ENOENT, 1, cancel_first}) == 1);
        CHECK(answers.count({-EALREADY, 1, cancel_first}) == 1);
    }
}
TEST_CASE("10,000 polls are cancelled in one turn", "[testing][poll-cancel]") {
    test::run_simulated(hob::testing::simulation_options(),
                        [](hob::testing::simulation&) { return cancel_polls(10'000); });
}
TEST_CASE("a cancellation survives a full queue and EBUSY", "[testing][cancel-sq-full]") {
    hob::testing::simulation_options options;
    options.submission_entries = 1;
    test::for_each_seed(options, cancel_polls_under_faults);
}
