// SPDX-License-Identifier: MIT
// Time limits inside of one another, around groups and in cleanups.
#include "../catch.hpp"
#include "support/loops.hpp"
#include "support/program.hpp"

#include <hob/finally.hpp>
#include <hob/gather.hpp>
#include <hob/shield.hpp>
#include <hob/task_group.hpp>
#include <hob/timeout.hpp>

using namespace std::chrono_literals;
using test::at_exit;
using test::counted;
using test::gate;
using test::nap;
using strings = std::vector<std::string>;

namespace {

/// Catches what the limit throws, and notes who did.
hob::task<> limited(strings& log, std::string name, hob::detail::time_point when,
                    hob::task<> inner) {
    try {
        co_await hob::timeout_at(when, std::move(inner));
        log.push_back(name + " ended");
    } catch (const hob::timeout_error&) {
        log.push_back(name + " expired");
    }
}
hob::task<> sleep_long(strings& log) {
    const at_exit note(log, "unwound");
    co_await hob::sleep_for(1h);
}

} // namespace

TEST_CASE("of nested limits with the same deadline only the outermost throws", "[to-nested]") {
    test::program program(test::simulated_loop());
    strings log;
    auto main = [&]() -> hob::task<> {
        const auto when = program.loop().time() + 1s;
        co_await limited(
            log, "outer", when,
            limited(log, "middle", when, limited(log, "inner", when, sleep_long(log))));
    };
    program.run(main());
    CHECK(log == strings{"unwound", "outer expired"});
}

TEST_CASE("of nested limits the one that expired throws", "[to-nested]") {
    test::program program(test::simulated_loop());
    strings log;
    auto main = [&]() -> hob::task<> {
        const auto now = program.loop().time();
        SECTION("the inner one") {
            co_await limited(log, "outer", now + 2s,
                             limited(log, "inner", now + 1s, sleep_long(log)));
            CHECK(log == strings{"unwound", "inner expired", "outer ended"});
        }
        SECTION("the outer one") {
            co_await limited(log, "outer", now + 1s,
                             limited(log, "inner", now + 2s, sleep_long(log)));
            CHECK(log == strings{"unwound", "outer expired"});
        }
        SECTION("both, one after the other") {
            auto inner = [&]() -> hob::task<> {
                co_await limited(log, "inner", now + 1s, sleep_long(log));
                co_await hob::sleep_for(1h);
            };
            co_await limited(log, "outer", now + 2s, inner());
            CHECK(log == strings{"unwound", "inner expired", "outer expired"});
        }
    };
    program.run(main());
}

TEST_CASE("an outer limit that expires during the cleanup of an inner one throws", "[to-nested]") {
    test::program program(test::simulated_loop());
    strings log;
    auto slow = [&]() -> hob::task<> { co_await hob::finally(sleep_long(log), nap(5s)); };
    auto main = [&]() -> hob::task<> {
        const auto now = program.loop().time();
        co_await limited(log, "outer", now + 2s, limited(log, "inner", now + 1s, slow()));
        CHECK(program.loop().time() - now >= 6s);
    };
    program.run(main());
    CHECK(log == strings{"unwound", "outer expired"});
}

TEST_CASE("a user's exception passes a limit unchanged", "[to-exc]") {
    test::program program(test::simulated_loop());
    auto fail = [](std::chrono::nanoseconds delay) -> hob::task<> {
        co_await hob::sleep_for(delay);
        throw std::out_of_range("mine");
    };
    auto main = [&]() -> hob::task<> {
        CHECK_THROWS_AS(co_await hob::timeout(1s, fail(1ms)), std::out_of_range);
        // One that the body throws of its own accord is no different.
        auto throws_timeout_error = []() -> hob::task<> {
            co_await hob::yield();
            throw hob::timeout_error();
        };
        CHECK_THROWS_AS(co_await hob::try_timeout(1s, throws_timeout_error()), hob::timeout_error);
        const auto when = program.loop().time() + 1s;
        auto fail_at = [&]() -> hob::task<> {
            co_await hob::sleep_until(when);
            throw std::out_of_range("in time");
        };
        CHECK_THROWS_AS(co_await hob::timeout_at(when, fail_at()), std::out_of_range);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("an exception of a cleanup during an expiry is reported, and timeout_error thrown",
          "[to-exc][cancel-cleanup-throws]") {
    // The contract lets it replace timeout_error; by DESIGN.md a stop goes on.
    test::program program(test::simulated_loop());
    auto cleanup = []() -> hob::task<> {
        co_await hob::sleep_for(1s);
        throw std::runtime_error("cleanup");
    };
    auto main = [&]() -> hob::task<> {
        CHECK_THROWS_AS(co_await hob::timeout(1s, hob::finally(hob::sleep_for(1h), cleanup())),
                        hob::timeout_error);
    };
    program.run(main());
    REQUIRE(program.reports.size() == 1);
    CHECK(hob::exception_group::describe(program.reports[0].exception) == "cleanup");
}

TEST_CASE("a limit in a cleanup fires independently of the scope that ends", "[to-finally]") {
    test::program program(test::simulated_loop());
    strings log;
    auto cleanup = [&]() -> hob::task<> {
        try {
            co_await hob::timeout(3s, hob::sleep_for(1h));
        } catch (const hob::timeout_error&) {
            log.push_back("cleanup gave up");
        }
        co_await hob::sleep_for(1s);
        log.push_back("cleaned");
    };
    auto body = [&]() -> hob::task<> {
        co_await hob::finally(sleep_long(log), cleanup());
        log.push_back("never");
    };
    auto main = [&]() -> hob::task<> {
        const auto start = program.loop().time();
        SECTION("during a cancellation") {
            auto handle = hob::create_task(body());
            co_await test::settle();
            handle.cancel();
            CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
            CHECK(program.loop().time() - start >= 4s);
        }
        SECTION("during an expiry") {
            CHECK_THROWS_AS(co_await hob::timeout(1s, body()), hob::timeout_error);
            CHECK(program.loop().time() - start >= 5s);
        }
        SECTION("a limit on the whole finally does not reach its cleanup") {
            CHECK_FALSE(co_await hob::try_timeout(0s, body()));
            CHECK(program.loop().time() - start >= 4s);
        }
        CHECK(program.loop().time() - start < 6s);
    };
    program.run(main());
    CHECK(log == strings{"unwound", "cleanup gave up", "cleaned"});
}

TEST_CASE("a limit around a group leaves no child alive", "[to-group]") {
    test::program program(test::simulated_loop());
    int alive = 0;
    strings log;
    auto child = [&](counted, std::chrono::nanoseconds cleanup) -> hob::task<> {
        co_await hob::finally(nap(1h), nap(cleanup));
    };
    auto group_body = [&](hob::task_group& group) -> hob::task<> {
        group.start(child(counted(alive), 1s));
        group.start(child(counted(alive), 2s));
        group.start(child(counted(alive), 0s));
        co_await sleep_long(log);
    };
    auto main = [&]() -> hob::task<> {
        const auto start = program.loop().time();
        CHECK_THROWS_AS(co_await hob::timeout(1s, hob::with_task_group(group_body)),
                        hob::timeout_error);
        CHECK(alive == 0);
        CHECK(program.loop().time() - start >= 3s);
    };
    program.run(main());
    CHECK(program.reports.empty());
}

TEST_CASE("a limit that stops the children of a group whose body has returned throws",
          "[to-group]") {
    test::program program(test::simulated_loop());
    int alive = 0;
    bool passed = false;
    auto child = [&](counted) -> hob::task<> { co_await hob::sleep_for(1h); };
    auto group_body = [&](hob::task_group& group) -> hob::task<> {
        group.start(child(counted(alive)));
        co_return;
    };
    auto body = [&]() -> hob::task<> {
        co_await hob::with_task_group(group_body);
        passed = true;
    };
    auto main = [&]() -> hob::task<> {
        CHECK_THROWS_AS(co_await hob::timeout(1s, body()), hob::timeout_error);
        CHECK(alive == 0);
    };
    program.run(main());
    CHECK_FALSE(passed);
}

TEST_CASE("limits in all branches of a gather and in a group keep apart", "[to-nested]") {
    test::program program(test::simulated_loop());
    int expired = 0;
    int ended = 0;
    auto one = [&](int number) -> hob::task<> {
        // A third ends in time.
        const auto done = co_await hob::try_timeout(
            std::chrono::milliseconds(number),
            hob::sleep_for(std::chrono::milliseconds(number % 3 == 0 ? number / 2 : number * 2)));
        ++(done ? ended : expired);
    };
    auto group_body = [&](hob::task_group& group) -> hob::task<> {
        for (int number = 1; number <= 300; ++number)
            group.start(one(number));
        co_await hob::gather(one(1000), one(999));
    };
    auto main = [&]() -> hob::task<> { co_await hob::with_task_group(group_body); };
    program.run(main());
    CHECK(ended == 101);
    CHECK(expired == 201);
}

TEST_CASE("a limit that expires while its scope is being cancelled changes nothing",
          "[to-external]") {
    test::program program(test::simulated_loop());
    strings log;
    auto body = [&]() -> hob::task<> {
        co_await hob::timeout(2s, hob::finally(sleep_long(log), nap(5s)));
        log.push_back("never");
    };
    auto main = [&]() -> hob::task<> {
        auto handle = hob::create_task(body());
        co_await hob::sleep_for(1s);
        handle.cancel();
        CHECK_THROWS_AS(co_await handle, hob::cancelled_error);
    };
    program.run(main());
    CHECK(log == strings{"unwound"});
    CHECK(program.reports.empty());
}
