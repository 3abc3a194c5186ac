// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <hob/core/pushed_back_bytes.hpp>

#include <array>
#include <cstddef>
#include <span>
#include <string>

TEST_CASE("bytes that were pushed back are taken in order, in any portions", "[recv-cancel]") {
    hob::detail::pushed_back_bytes bytes;
    std::array<std::byte, 4> buffer{};
    CHECK(bytes.empty());
    CHECK(bytes.take(buffer) == 0);
    bytes.put({});
    CHECK(bytes.empty());

    const std::string text = "abcdefg";
    for (int round = 0; round != 2; ++round) {
        bytes.put(std::as_bytes(std::span(text)));
        CHECK_FALSE(bytes.empty());
        CHECK(bytes.size() == text.size());
        std::string taken;
        while (!bytes.empty()) {
            const std::size_t count = bytes.take(std::span(buffer).first(round == 0 ? 3 : 4));
            taken.append(reinterpret_cast<const char*>(buffer.data()), count);
        }
        CHECK(taken == text);
        CHECK(bytes.take(buffer) == 0);
    }
}
