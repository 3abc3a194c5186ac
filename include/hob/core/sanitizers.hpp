// SPDX-License-Identifier: MIT
// Tells the sanitizers what the kernel does to memory, which they cannot see.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define HOB_DETAIL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HOB_DETAIL_ASAN 1
#elif __has_feature(memory_sanitizer)
#define HOB_DETAIL_MSAN 1
#endif
#endif

#if defined(HOB_DETAIL_ASAN)
#include <sanitizer/asan_interface.h>
#elif defined(HOB_DETAIL_MSAN)
#include <sanitizer/msan_interface.h>
#endif

namespace hob::detail {

/// Whether `check_buffer` does anything.
#if defined(HOB_DETAIL_ASAN)
inline constexpr bool checks_buffers = true;
#else
inline constexpr bool checks_buffers = false;
#endif

/// Called when the kernel gets a buffer and when it gives it back. Under ASan, memory that was
/// freed or never allocated is reported as if it had been touched here.
inline void check_buffer([[maybe_unused]] const void* data,
                         [[maybe_unused]] std::size_t size) noexcept {
#if defined(HOB_DETAIL_ASAN)
    if (void* const bad = __asan_region_is_poisoned(const_cast<void*>(data), size)) {
        // The load makes ASan write its report, with the history of the memory.
        [[maybe_unused]] const char touched = *static_cast<const volatile char*>(bad);
    }
#endif
}

/// The kernel has written here: `check_buffer`, and under MSan the bytes are initialized.
inline void mark_written([[maybe_unused]] void* data, [[maybe_unused]] std::size_t size) noexcept {
    check_buffer(data, size);
#if defined(HOB_DETAIL_MSAN)
    __msan_unpoison(data, size);
#endif
}

} // namespace hob::detail

#undef HOB_DETAIL_ASAN
#undef HOB_DETAIL_MSAN
