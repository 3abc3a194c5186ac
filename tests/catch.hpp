// SPDX-License-Identifier: MIT
// Catch2, whichever of its two major versions is installed.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

// Catch2 names an assertion's expression a second time, in a `__builtin_constant_p`. GCC takes a
// `co_await` out of it, and awaits twice.
#if defined(CATCH_INTERNAL_IGNORE_BUT_WARN)
#undef CATCH_INTERNAL_IGNORE_BUT_WARN
#define CATCH_INTERNAL_IGNORE_BUT_WARN(...)
#endif
