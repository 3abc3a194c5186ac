// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/plain_ring.hpp"
#include "support/program.hpp"

#include <hob/as_result.hpp>
#include <hob/fs/file.hpp>
#include <hob/sleep.hpp>

#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <system_error>

using namespace std::chrono_literals;

namespace {

/// May read files, but neither open nor write them.
class restricted_ring final : public test::plain_ring {
  public:
    restricted_ring() : plain_ring(IORING_SETUP_R_DISABLED) {
        constexpr std::array allowed{IORING_OP_NOP, IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL,
                                     IORING_OP_READ, IORING_OP_CLOSE};
        std::array<io_uring_restriction, allowed.size()> rules{};
        for (std::size_t index = 0; index != allowed.size(); ++index) {
            rules[index].opcode = IORING_RESTRICTION_SQE_OP;
            rules[index].sqe_op = static_cast<std::uint8_t>(allowed[index]);
        }
        // liburing 2.3 declares functions for these, but does not export them.
        require(IORING_REGISTER_RESTRICTIONS, rules.data(), rules.size());
        require(IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
    }

  private:
    void require(unsigned what, const void* argument, std::size_t count) const {
        if (::syscall(SYS_io_uring_register, queues_.ring_fd, what, argument, count) != 0)
            throw std::runtime_error("io_uring_register");
    }
};

} // namespace

TEST_CASE("an operation that the ring's restrictions deny fails with EACCES", "[restricted]") {
    test::program program(std::make_unique<hob::event_loop>(std::make_unique<restricted_ring>()));
    auto main = [&]() -> hob::task<> {
        const auto opened = co_await hob::as_result(hob::file::open("/proc/self/stat"));
        CHECK(opened.error() == std::errc::permission_denied);
        CHECK_THROWS_AS(co_await hob::file::open("/proc/self/stat"), std::system_error);
        // The loop goes on.
        co_await hob::sleep_for(1ms);
    };
    program.run(main());
    CHECK(program.loop().operations_in_flight() == 0);
}
