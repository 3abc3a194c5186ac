// SPDX-License-Identifier: MIT
// The same seed gives the same run; another one gives another order.
#include "testing/simulated_pair.hpp"
#include "testing/simulated_program.hpp"

#include <hob/hob.hpp>
#include <hob/testing/simulation.hpp>

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

/// Talks, sleeps and cancels: a bit of everything.
hob::task<> mixed_program(hob::testing::simulation& world) {
    world.faults().fail_randomly(IORING_OP_NOP, -ENOMEM, 0.1);
    world.faults().fail_enter_randomly(-EINTR, 0.05);
    test::simulated_pair pair;
    co_await test::connect_pair(pair);
    const std::string text = test::distinct_bytes(50'000);
    const auto writer = hob::create_task(test::write_and_finish(pair.client, text));
    auto busy = []() -> hob::task<> {
        for (int each = 0; each != 20; ++each) {
            co_await test::nop();
            co_await hob::sleep_for(each * 10us);
        }
    };
    const auto other = hob::create_task(busy());
    const auto cancelled = hob::create_task(busy());
    co_await hob::sleep_for(300us);
    cancelled.cancel();
    const std::string received = co_await test::read_to_end(pair.server);
    CHECK(received == text);
    co_await writer;
    co_await other;
}

hob::task<> note_completion(int number, std::vector<int>& order) {
    co_await test::nop();
    order.push_back(number);
}

std::vector<int> order_of_completions(const hob::testing::simulation_options& options) {
    std::vector<int> order;
    auto submit_many = [&order](hob::testing::simulation&) -> hob::task<> {
        std::vector<hob::task_handle<>> tasks;
        for (int each = 0; each != 10; ++each)
            tasks.push_back(hob::create_task(note_completion(each, order)));
        for (const auto& each : tasks)
            co_await each;
    };
    test::run_simulated(options, submit_many);
    return order;
}

} // namespace

TEST_CASE("the same seed gives the same trace", "[testing][determinism]") {
    std::set<std::uint64_t> hashes;
    for (std::uint64_t seed = 0; seed != test::seeds; ++seed) {
        INFO("seed " << seed);
        const hob::testing::simulation_options options(seed);
        const std::uint64_t first = test::run_simulated(options, mixed_program);
        CHECK(test::run_simulated(options, mixed_program) == first);
        hashes.insert(first);
    }
    CHECK(hashes.size() == test::seeds);
}
TEST_CASE("the trace tells time, operation and result", "[testing][determinism]") {
    hob::testing::simulation_options options;
    options.keep_trace = true;
    options.max_latency = 0ns;
    hob::testing::simulation world(options);
    {
        hob::runner program(world.make_loop(), test::without_interrupt());
        auto main = [](hob::testing::fault_plan& faults) -> hob::task<> {
            co_await test::nop();
            co_await hob::sleep_for(1s);
            faults.fail(IORING_OP_NOP, -ENOMEM);
            co_await test::nop();
        };
        program.run(main(world.faults()));
    }
    CHECK(world.faults().count() == 1);
    CHECK(world.trace() == "3600000000000 nop 0\n3601000000000 nop -12\n");
}
TEST_CASE("completions come in an order that the seed decides", "[testing][shuffle]") {
    std::set<std::vector<int>> orders;
    hob::testing::simulation_options options;
    options.max_latency = 0ns;
    for (options.seed = 0; options.seed != test::seeds; ++options.seed) {
        const std::vector<int> order = order_of_completions(options);
        CHECK(order == order_of_completions(options));
        orders.insert(order);
    }
    CHECK(orders.size() > test::seeds / 2);
    options.shuffle = false;
    const std::vector<int> order = order_of_completions(options);
    CHECK(std::is_sorted(order.begin(), order.end()));
}
