// SPDX-License-Identifier: MIT
#include "../catch.hpp"

#include <hob/core/utf8.hpp>

#include <string>
#include <string_view>

using hob::detail::utf8_length;

namespace {

std::string encode(unsigned code_point) {
    const auto tail = [code_point](unsigned shift) {
        return static_cast<char>(0x80U | ((code_point >> shift) & 0x3fU));
    };
    if (code_point < 0x80)
        return {static_cast<char>(code_point)};
    if (code_point < 0x800)
        return {static_cast<char>(0xc0U | (code_point >> 6U)), tail(0)};
    if (code_point < 0x10000)
        return {static_cast<char>(0xe0U | (code_point >> 12U)), tail(6), tail(0)};
    return {static_cast<char>(0xf0U | (code_point >> 18U)), tail(12), tail(6), tail(0)};
}

} // namespace

TEST_CASE("UTF-8: every code point is known, but for surrogates", "[dump-json]") {
    int wrong = 0;
    for (unsigned code_point = 0; code_point != 0x110000; ++code_point) {
        const std::string text = encode(code_point);
        const bool is_surrogate = code_point >= 0xd800 && code_point < 0xe000;
        wrong += utf8_length(text + "x") == (is_surrogate ? 0 : text.size()) ? 0 : 1;
        // A character that is cut off is none.
        if (text.size() > 1)
            wrong += utf8_length(std::string_view(text).substr(0, text.size() - 1)) == 0 ? 0 : 1;
    }
    CHECK(wrong == 0);
}

TEST_CASE("UTF-8: what is no character", "[dump-json]") {
    CHECK(utf8_length("\x80") == 0);
    CHECK(utf8_length("\xbfx") == 0);
    CHECK(utf8_length("\xc1\xbf") == 0);
    CHECK(utf8_length("\xe0\x9f\xbf") == 0);
    CHECK(utf8_length("\xf0\x8f\xbf\xbf") == 0);
    CHECK(utf8_length("\xf4\x90\x80\x80") == 0);
    CHECK(utf8_length("\xf5\x80\x80\x80") == 0);
    CHECK(utf8_length("\xff") == 0);
    CHECK(utf8_length("\xc3(") == 0);
    CHECK(utf8_length("\xe2\x82(") == 0);
}
