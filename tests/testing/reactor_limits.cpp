// SPDX-License-Identifier: MIT
// Full queues and failing system calls lose nothing.
#include "testing/simulated_pair.hpp"
#include "testing/simulated_program.hpp"

#include <hob/hob.hpp>
#include <hob/testing/simulation.hpp>

#include <array>
#include <chrono>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

hob::task<> count_one(unsigned& completed) {
    const int result = co_await test::nop();
    completed += result == 0 ? 1 : 0;
}
hob::task<> count_nops(unsigned count) {
    unsigned completed = 0;
    std::vector<hob::task_handle<>> tasks;
    for (unsigned each = 0; each != count; ++each)
        tasks.push_back(hob::create_task(count_one(completed)));
    for (const auto& each : tasks)
        co_await each;
    CHECK(completed == count);
}

/// Operations of several steps and of both directions.
hob::task<> transfer() {
    test::simulated_pair pair;
    co_await test::connect_pair(pair);
    const std::string text = test::distinct_bytes(20'000);
    const auto writer = hob::create_task(test::write_and_finish(pair.client, text));
    const std::string received = co_await test::read_to_end(pair.server);
    CHECK(received == text);
    co_await writer;
}

hob::task<> under_failing_enters(hob::testing::simulation& world) {
    // Each of the others costs a pause of a real millisecond when it comes at a bad time.
    world.faults().fail_enter_randomly(-EINTR, 0.3);
    for (const int error : {-EAGAIN, -EBUSY, -ENOMEM})
        world.faults().fail_enter_randomly(error, 0.05);
    world.faults().submit_partly(0.5);
    co_await count_nops(50);
    co_await transfer();
    CHECK(world.faults().count() > 0);
    world.faults().clear();
}

hob::task<> enomem_on_one(hob::testing::simulation& world) {
    test::simulated_pair pair;
    co_await test::connect_pair(pair);
    std::array<std::byte, 4> buffer;
    for (const unsigned nth : {1U, 2U}) {
        world.faults().fail(IORING_OP_RECV, -ENOMEM, nth);
        co_await pair.client.write_all("once");
        if (nth == 2)
            co_await pair.server.read_exactly(std::span(buffer).first(1));
        const auto failed = co_await hob::as_result(pair.server.read_exactly(buffer));
        CHECK(failed.error() == std::errc::not_enough_memory);
        world.faults().clear();
        co_await pair.client.write_all("more");
        co_await pair.server.read_exactly(buffer);
    }
}

hob::task<> accept_without_descriptors(hob::testing::simulation& world) {
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    for (const unsigned nth : {1U, 2U, 3U})
        world.faults().fail(IORING_OP_ACCEPT, -EMFILE, nth);
    world.faults().fail(IORING_OP_ACCEPT, -ECONNABORTED, 4);
    const auto start = world.now();
    const auto client = co_await hob::tcp_stream::connect(listener.local_address());
    const auto server = co_await listener.accept();
    CHECK(server.peer_address() == client.local_address());
    CHECK(world.now() - start >= 300ms);
    CHECK(world.now() - start < 400ms);
}

hob::task<> interrupted_operations(hob::testing::simulation& world) {
    for (const unsigned opcode : {IORING_OP_ACCEPT, IORING_OP_RECV, IORING_OP_SEND})
        world.faults().fail_randomly(opcode, -EINTR, 0.3);
    for (int round = 0; round != 5; ++round)
        co_await transfer();
}

} // namespace

TEST_CASE("10,000 operations go through a submission queue of one entry", "[testing][sq-full]") {
    hob::testing::simulation_options options;
    options.submission_entries = 1;
    auto body = [](hob::testing::simulation&) { return count_nops(10'000); };
    test::run_simulated(options, body);
    options.max_latency = 0ns;
    test::run_simulated(options, body);
}
TEST_CASE("streams work with queues of one entry", "[testing][sq-full][cq-overflow]") {
    hob::testing::simulation_options options;
    options.submission_entries = 1;
    options.completion_entries = 1;
    test::for_each_seed(options, [](hob::testing::simulation&) { return transfer(); });
}
TEST_CASE("1,000 completions at once come through a queue of 8 entries", "[testing][cq-overflow]") {
    hob::testing::simulation_options options;
    options.submission_entries = 1024;
    options.completion_entries = 8;
    options.max_latency = 0ns;
    test::for_each_seed(options, [](hob::testing::simulation&) { return count_nops(1'000); });
}
TEST_CASE("failing calls of io_uring_enter lose no operation", "[testing][enter-errors]") {
    test::for_each_seed(under_failing_enters);
}
TEST_CASE("an io_uring_enter that fails for good ends the run", "[testing][enter-errors]") {
    hob::testing::simulation world;
    hob::runner program(world.make_loop(), test::without_interrupt());
    world.faults().fail_enter(-EBADF, 3);
    CHECK_THROWS_AS(program.run(transfer()), hob::io_uring_error);
}
TEST_CASE("an operation without memory fails alone", "[testing][enomem-op]") {
    test::for_each_seed(enomem_on_one);
}
TEST_CASE("accept pauses while descriptors are short and goes on later", "[testing][emfile]") {
    test::for_each_seed(accept_without_descriptors);
}
TEST_CASE("interrupted operations are tried again", "[testing][cancel-eintr]") {
    test::for_each_seed(interrupted_operations);
}
