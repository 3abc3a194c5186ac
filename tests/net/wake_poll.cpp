// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "net/fault_ring.hpp"
#include "support/program.hpp"

#include <hob/core/event_loop.hpp>

#include <poll.h>

#include <memory>
#include <thread>

TEST_CASE("the poll that wakes a loop is armed once, and again only when the kernel has ended it",
          "[rearm-once]") {
    const bool is_ended = GENERATE(false, true);
    test::fault_ring::plan faults;
    // Completions without IORING_CQE_F_MORE.
    if (is_ended)
        faults.results[IORING_OP_POLL_ADD] = {POLLIN, POLLIN};
    test::program program(
        std::make_unique<hob::event_loop>(std::make_unique<test::fault_ring>(faults)));
    const hob::loop_handle loop = program.loop().get_handle();
    auto main = [&]() -> hob::task<> {
        for (int round = 0; round != 20; ++round) {
            test::gate arrived;
            const std::jthread other(
                [&] { static_cast<void>(loop.call_soon_threadsafe([&] { arrived.open(); })); });
            co_await arrived.wait();
        }
    };
    program.run(main());
    CHECK(faults.submissions[IORING_OP_POLL_ADD] == (is_ended ? 3 : 1));
}
