// SPDX-License-Identifier: MIT
// What is a character of UTF-8, and what is not.
#pragma once

#include <cstddef>
#include <string_view>

namespace hob::detail {

/// The bytes of the character that `text`, which is not empty, begins with; 0 if it begins with
/// none. Follows table 3-7 of the Unicode standard: no overlong forms, no surrogates.
[[nodiscard]] inline std::size_t utf8_length(std::string_view text) noexcept {
    const auto byte = [text](std::size_t index) noexcept {
        return index < text.size() ? static_cast<unsigned char>(text[index]) : 0U;
    };
    const unsigned first = byte(0);
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    const std::size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    // Only the second byte's range depends on the first one.
    unsigned lowest = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned highest = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    for (std::size_t index = 1; index != length; ++index) {
        if (byte(index) < lowest || byte(index) > highest)
            return 0;
        lowest = 0x80;
        highest = 0xbf;
    }
    return length;
}

} // namespace hob::detail
