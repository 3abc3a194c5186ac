// SPDX-License-Identifier: MIT
// What the reactor sees of an operation that the kernel carries out.
#pragma once

#include <hob/core/operation.hpp>

#include <liburing.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace hob::detail {

/// The most that one system call transfers; the rest of a larger buffer takes another one.
[[nodiscard]] constexpr unsigned transfer_size(std::size_t wanted) noexcept {
    constexpr std::size_t most = 0x7fff'f000; // the kernel's MAX_RW_COUNT
    return static_cast<unsigned>(std::min(wanted, most));
}

/// One submission queue entry and its completion. The kernel may use the operation's memory and
/// buffers until the completion has arrived, also after a cancellation was asked for.
class ring_request : public operation {
  public:
    /// Fills in everything but the user data. May be called again: an interrupted call is retried.
    virtual void prepare(io_uring_sqe& entry) noexcept = 0;

    /// Takes a completion; `flags` are the IORING_CQE_F_*. Called in the loop's turn.
    virtual void completed(int result, unsigned flags) noexcept = 0;

    /// True from the submission until the last completion.
    [[nodiscard]] bool is_in_flight() const noexcept { return in_flight_; }

  protected:
    ring_request() = default;
    ~ring_request() = default;

  private:
    friend class reactor;
    std::uint32_t number_ = 0; ///< of the submission queue entry
    bool in_flight_ = false;
};

} // namespace hob::detail
