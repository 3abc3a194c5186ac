// SPDX-License-Identifier: MIT
// Assertions that stay on in release builds.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <source_location>

namespace hob::detail {

[[noreturn, gnu::cold, gnu::noinline]] inline void
internal_error(const char* what, std::source_location where) noexcept {
    std::fprintf(stderr, "hob: internal error: %s (%s:%u, %s)\n", what, where.file_name(),
                 static_cast<unsigned>(where.line()), where.function_name());
    std::abort();
}

/// Stops the process with a diagnostic when `condition` does not hold. For O(1) checks of hob's
/// own invariants: a broken invariant never continues silently.
inline void check(bool condition, const char* what,
                  std::source_location where = std::source_location::current()) noexcept {
    if (!condition) [[unlikely]]
        internal_error(what, where);
}

} // namespace hob::detail
