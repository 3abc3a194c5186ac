// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <hob/net/address.hpp>

#include <string>
#include <unordered_set>

using hob::address;

TEST_CASE("an address keeps host and port and prints itself", "[address][dns-numeric]") {
    const address v4("127.0.0.1", 8080);
    CHECK(v4.is_v4());
    CHECK_FALSE(v4.is_v6());
    CHECK(v4.host() == "127.0.0.1");
    CHECK(v4.port() == 8080);
    CHECK(v4.to_string() == "127.0.0.1:8080");

    const address v6("2001:db8::1", 443);
    CHECK(v6.is_v6());
    CHECK(v6.host() == "2001:db8::1");
    CHECK(v6.port() == 443);
    CHECK(v6.to_string() == "[2001:db8::1]:443");
    CHECK(address("::ffff:1.2.3.4", 1).is_v6());

    const address none;
    CHECK_FALSE(none.is_v4());
    CHECK_FALSE(none.is_v6());
    CHECK(none.port() == 0);
    CHECK(none.to_string() == "(no address)");
}

TEST_CASE("parse is the inverse of to_string", "[address]") {
    for (const char* text : {"0.0.0.0:0", "127.0.0.1:80", "255.255.255.255:65535", "[::]:0",
                             "[::1]:80", "[2001:db8::ff]:65535", "[fe80::1%1]:22"})
        CHECK(address::parse(text).to_string() == text);
    CHECK(address::parse("[fe80::1%lo]:22").host() == "fe80::1%1");
}

TEST_CASE("well-known addresses", "[address]") {
    CHECK(address::any_v4(1) == address("0.0.0.0", 1));
    CHECK(address::any_v6(2) == address("::", 2));
    CHECK(address::loopback_v4(3) == address("127.0.0.1", 3));
    CHECK(address::loopback_v6(4) == address("::1", 4));
    CHECK(address::loopback_v6(4).with_port(5) == address("::1", 5));
}

TEST_CASE("addresses are ordered by family, host, scope, port", "[address]") {
    const address ordered[] = {address(),
                               address("1.2.3.4", 1),
                               address("1.2.3.4", 256),
                               address("1.2.3.5", 0),
                               address("200.0.0.0", 0),
                               address("::1", 7),
                               address("fe80::1%1", 9),
                               address("fe80::1%2", 8),
                               address("fe80::2", 1)};
    for (const address& left : ordered)
        for (const address& right : ordered) {
            CHECK((left < right) == (&left < &right));
            CHECK((left == right) == (&left == &right));
        }
    const std::unordered_set<address> all(std::begin(ordered), std::end(ordered));
    CHECK(all.size() == std::size(ordered));
    CHECK(all.contains(address("fe80::1%2", 8)));
}

TEST_CASE("what is no address is refused with a cure", "[address][bad-input]") {
    for (const char* host : {"", "localhost", "1.2.3", "1.2.3.4.5", "256.0.0.1", "127.0.0.1 ",
                             "[::1]", ":::", "1.2.3.4%lo", "fe80::1%", "fe80::1%no-such-card"})
        CHECK_THROWS_AS(address(host, 1), hob::address_error);
    CHECK_THROWS_AS(address(std::string("127.0.0.1\0.example", 18), 1), hob::address_error);
    for (const char* text :
         {"", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:-1", "127.0.0.1:65536",
          "127.0.0.1:80 ", "::1:80", "[::1]", "[::1]80", "[127.0.0.1]:80", "[::1:80"})
        CHECK_THROWS_AS(address::parse(text), hob::address_error);
    try {
        static_cast<void>(address("localhost", 80));
        FAIL("no exception");
    } catch (const hob::address_error& error) {
        CHECK(std::string(error.what()).find("'localhost'") != std::string::npos);
        CHECK(std::string(error.what()).find("hob::resolve") != std::string::npos);
    }
}
