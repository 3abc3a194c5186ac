// SPDX-License-Identifier: MIT
// Where the native stack ends at the moment.
#pragma once

#include <cstdint>

namespace hob::detail {

/// Stacks grow downwards on all machines that run Linux on io_uring.
[[nodiscard, gnu::always_inline]] inline std::uintptr_t stack_pointer() noexcept {
#if defined(__x86_64__)
    // A frame address would cost the calling function a frame pointer.
    std::uintptr_t pointer;
    __asm__("mov %%rsp, %0" : "=r"(pointer));
    return pointer;
#else
    return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
#endif
}

} // namespace hob::detail
