// SPDX-License-Identifier: MIT
// Catch2, whichever of its two major versions is installed, and what is named otherwise in them.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#define TEST_CATCH2_3
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#include <string>

// Catch2 writes an assertion's expression down three times, twice where it is not evaluated; but
// GCC 12 takes a `co_await` out of there, and awaits twice. So once is enough.
#if defined(INTERNAL_CATCH_TEST)
#undef INTERNAL_CATCH_TEST
#define INTERNAL_CATCH_TEST(macroName, resultDisposition, ...)                                     \
    do {                                                                                           \
        Catch::AssertionHandler catchAssertionHandler(                                             \
            macroName##_catch_sr, CATCH_INTERNAL_LINEINFO, CATCH_INTERNAL_STRINGIFY(__VA_ARGS__),  \
            resultDisposition);                                                                    \
        INTERNAL_CATCH_TRY {                                                                       \
            CATCH_INTERNAL_START_WARNINGS_SUPPRESSION                                              \
            CATCH_INTERNAL_SUPPRESS_PARENTHESES_WARNINGS                                           \
            catchAssertionHandler.handleExpr(Catch::Decomposer() <= __VA_ARGS__);                  \
            CATCH_INTERNAL_STOP_WARNINGS_SUPPRESSION                                               \
        }                                                                                          \
        INTERNAL_CATCH_CATCH(catchAssertionHandler)                                                \
        catchAssertionHandler.complete();                                                          \
    } while (false)
#endif

namespace test {

/// Matches a string with this part.
inline auto contains(const std::string& part) {
#if defined(TEST_CATCH2_3)
    return Catch::Matchers::ContainsSubstring(part);
#else
    return Catch::Matchers::Contains(part);
#endif
}

/// The seed of this run, which Catch2 prints.
inline unsigned random_seed() {
#if defined(TEST_CATCH2_3)
    return Catch::getSeed();
#else
    return Catch::rngSeed();
#endif
}

} // namespace test
