// SPDX-License-Identifier: MIT
// What a simulated kernel did, in order.
#pragma once

#include <hob/core/timer_queue.hpp>

#include <liburing.h>

#include <cstdint>
#include <string>

namespace hob::detail {

/// One line for each completion: time in nanoseconds, operation, result. Nothing in it depends on
/// addresses or descriptor numbers, so the same seed gives the same text in every process.
class trace_recorder {
  public:
    /// The hash is always kept, the text on request.
    explicit trace_recorder(bool keep_text) noexcept : keep_text_(keep_text) {}

    void add(time_point when, unsigned opcode, int result) {
        if (result > 0 && returns_descriptor(opcode))
            result = 0;
        const std::string line = std::to_string(when.time_since_epoch().count()) + ' ' +
                                 name_of(opcode) + ' ' + std::to_string(result) + '\n';
        // FNV-1a.
        for (const char each : line)
            hash_ = (hash_ ^ static_cast<unsigned char>(each)) * 0x100'0000'01b3;
        if (keep_text_)
            text_ += line;
    }

    [[nodiscard]] const std::string& text() const noexcept { return text_; }
    [[nodiscard]] std::uint64_t hash() const noexcept { return hash_; }

  private:
    [[nodiscard]] static bool returns_descriptor(unsigned opcode) noexcept {
        return opcode == IORING_OP_ACCEPT || opcode == IORING_OP_OPENAT;
    }
    [[nodiscard]] static std::string name_of(unsigned opcode) {
        switch (opcode) {
        case IORING_OP_NOP:
            return "nop";
        case IORING_OP_ASYNC_CANCEL:
            return "cancel";
        case IORING_OP_POLL_ADD:
            return "poll";
        case IORING_OP_ACCEPT:
            return "accept";
        case IORING_OP_CONNECT:
            return "connect";
        case IORING_OP_RECV:
            return "recv";
        case IORING_OP_SEND:
            return "send";
        case IORING_OP_SHUTDOWN:
            return "shutdown";
        case IORING_OP_CLOSE:
            return "close";
        case IORING_OP_OPENAT:
            return "openat";
        case IORING_OP_READ:
            return "read";
        case IORING_OP_WRITE:
            return "write";
        case IORING_OP_FSYNC:
            return "fsync";
        default:
            return "op" + std::to_string(opcode);
        }
    }

    bool keep_text_;
    std::string text_;
    std::uint64_t hash_ = 0xcbf2'9ce4'8422'2325;
};

} // namespace hob::detail
