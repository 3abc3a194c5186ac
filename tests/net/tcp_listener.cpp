// SPDX-License-Identifier: MIT
// Binding, accepting and connecting when something is wrong.
#include "net/fault_ring.hpp"
#include "net/raw_peer.hpp"
#include "net/ring_modes.hpp"
#include "net/stream_tasks.hpp"

#include <hob/core/sanitizers.hpp>
#include <hob/hob.hpp>
#include <hob/net/tcp.hpp>

#include <fcntl.h>
#include <sys/resource.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace {

void run_with_faults(test::fault_ring::plan& faults, hob::task<> main) {
    const auto before = test::open_descriptors();
    {
        hob::runner loop(
            std::make_unique<hob::event_loop>(std::make_unique<test::fault_ring>(faults)));
        loop.run(std::move(main));
    }
    CHECK(test::open_descriptors() == before);
}

hob::task<> accept_one() {
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    const test::raw_peer peer(listener.local_address());
    const auto accepted = co_await listener.accept();
    CHECK(accepted.peer_address() == peer.local_address());
}

hob::task<> accept_fails() {
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    try {
        co_await listener.accept();
        FAIL("no exception");
    } catch (const std::system_error& error) {
        CHECK(error.code() == std::errc::invalid_argument);
        CHECK(std::string(error.what()).find("accept on " + listener.local_address().to_string()) ==
              0);
    }
    // The listener survives.
    const test::raw_peer peer(listener.local_address());
    co_await listener.accept();
}

hob::task<> accept_errors(const hob::tcp_listener& listener, std::error_code& error) {
    const auto result = co_await hob::as_result(listener.accept());
    error = result.error();
}

hob::task<> end_during_the_pause(test::fault_ring::plan& faults, bool by_close) {
    auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    std::error_code error;
    const auto acceptor = hob::create_task(accept_errors(listener, error));
    co_await test::settle();
    REQUIRE(faults.results[IORING_OP_ACCEPT].empty());
    CHECK_FALSE(acceptor.done());
    if (by_close)
        listener.close();
    else
        acceptor.cancel();
    const bool stopped = co_await test::ended(acceptor);
    CHECK(stopped != by_close);
    CHECK((error == std::errc::bad_file_descriptor) == by_close);
    CHECK(faults.submissions[IORING_OP_ACCEPT] == 1);
}

/// Lowers the limit so that no descriptor is free, until it is destroyed.
class no_free_descriptor {
  public:
    no_free_descriptor() {
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
        const hob::detail::unique_fd lowest(::dup(0));
        rlimit limit = before_;
        limit.rlim_cur = static_cast<rlim_t>(lowest.get());
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
    }
    no_free_descriptor(const no_free_descriptor&) = delete;
    no_free_descriptor& operator=(const no_free_descriptor&) = delete;
    ~no_free_descriptor() { ::setrlimit(RLIMIT_NOFILE, &before_); }

  private:
    rlimit before_{};
};

hob::task<> out_of_descriptors() {
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    auto [stream, client] = co_await test::connect_pair(listener);
    const auto server = hob::create_task(test::echo(std::move(stream), 64));
    const test::raw_peer late(listener.local_address());
    hob::tcp_stream accepted;
    hob::task_handle<> acceptor;
    bool served = true;
    bool waited = false;
    {
        const no_free_descriptor full;
        acceptor = hob::create_task(test::accept_into(listener, accepted));
        const auto begin = hob::event_loop::current().time();
        while (served && hob::event_loop::current().time() - begin < 250ms) {
            client.send("ping");
            served = (co_await client.receive_soon()).bytes == "ping";
        }
        waited = !acceptor.done();
    }
    CHECK(served);
    CHECK(waited);
    co_await acceptor;
    CHECK(accepted.peer_address() == late.local_address());
    server.cancel();
}

hob::task<> bind_errors() {
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    CHECK(listener.local_address().port() != 0);
    try {
        static_cast<void>(hob::tcp_listener::bind(listener.local_address()));
        FAIL("no exception");
    } catch (const std::system_error& error) {
        CHECK(error.code() == std::errc::address_in_use);
        CHECK(std::string(error.what()).find("bind to " + listener.local_address().to_string()) ==
              0);
    }
    try {
        static_cast<void>(hob::tcp_listener::bind("192.0.2.1", 1));
        FAIL("no exception");
    } catch (const std::system_error& error) {
        CHECK(error.code() == std::errc::address_not_available);
    }
    CHECK_THROWS_AS(hob::tcp_listener::bind("localhost", 80), hob::address_error);
    CHECK_THROWS_AS(hob::tcp_listener::bind(hob::address()), std::system_error);
    hob::tcp_listener none;
    CHECK_THROWS_AS(none.accept(), hob::closed_error);
    CHECK_THROWS_AS(none.local_address(), hob::closed_error);
    none.close();
    CHECK_FALSE(none.is_open());
    co_return;
}

hob::task<> shared_port() {
    hob::listen_options options;
    options.reuse_port = true;
    const auto first = hob::tcp_listener::bind("127.0.0.1", 0, options);
    const auto second = hob::tcp_listener::bind(first.local_address(), options);
    CHECK(second.local_address() == first.local_address());
    const auto v6 = hob::tcp_listener::bind(hob::address::any_v6(0));
    const auto v4 = hob::tcp_listener::bind(hob::address::any_v4(v6.local_address().port()));
    co_return;
}

hob::task<> second_acceptor() {
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    hob::tcp_stream accepted;
    const auto acceptor = hob::create_task(test::accept_into(listener, accepted));
    co_await test::settle();
    const auto refused = co_await hob::as_result(listener.accept());
    CHECK(refused.error() == std::errc::device_or_resource_busy);
    const test::raw_peer peer(listener.local_address());
    co_await acceptor;
    CHECK(accepted.peer_address() == peer.local_address());
}

hob::task<> refused_again_and_again() {
    auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    const hob::address where = listener.local_address();
    listener.close();
    co_await test::settle();
    for (int attempt = 0; attempt != 100; ++attempt) {
        const auto result = co_await hob::as_result(hob::tcp_stream::connect(where));
        REQUIRE(result.error() == std::errc::connection_refused);
    }
    try {
        co_await hob::tcp_stream::connect(where);
        FAIL("no exception");
    } catch (const std::system_error& error) {
        CHECK(error.code() == std::errc::connection_refused);
        CHECK(std::string(error.what()).find("connect to " + where.to_string()) == 0);
    }
    const auto nowhere = co_await hob::as_result(hob::tcp_stream::connect(hob::address()));
    CHECK(nowhere.error() == std::errc::address_family_not_supported);
    CHECK_THROWS_AS(hob::tcp_stream::connect("localhost", 80), hob::address_error);
}

hob::task<> never_to_itself() {
    // The kernel lets a socket that is bound to a port connect to that same port.
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    hob::address where = listener.local_address();
    static_cast<void>(hob::tcp_listener(hob::tcp_listener::bind("127.0.0.1", 0)));
    {
        const auto taken = hob::tcp_listener::bind("127.0.0.1", 0);
        where = taken.local_address();
    }
    co_await test::settle();
    hob::connect_options options;
    options.local_address = where;
    const auto result = co_await hob::as_result(hob::tcp_stream::connect(where, options));
    CHECK(result.error() == std::errc::connection_refused);
}

hob::task<> connect_from() {
    const auto listener = hob::tcp_listener::bind("0.0.0.0", 0);
    hob::connect_options options;
    options.local_address = hob::address("127.0.0.2", 0);
    options.no_delay = false;
    const auto stream =
        co_await hob::tcp_stream::connect("127.0.0.1", listener.local_address().port(), options);
    CHECK(stream.local_address().host() == "127.0.0.2");
    CHECK_FALSE(stream.no_delay());
    const auto accepted = co_await listener.accept();
    CHECK(accepted.peer_address() == stream.local_address());
    CHECK(accepted.no_delay());
    const auto v6_listener = hob::tcp_listener::bind("::1", 0);
    options.local_address = hob::address("::1", 0);
    const auto v6 = co_await hob::tcp_stream::connect(v6_listener.local_address(), options);
    CHECK(v6.local_address().host() == "::1");
    options.local_address = hob::address("192.0.2.1", 0);
    const auto result =
        co_await hob::as_result(hob::tcp_stream::connect(listener.local_address(), options));
    CHECK(result.error() == std::errc::address_not_available);
}

hob::task<> connect_once() {
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0);
    const auto stream = co_await hob::tcp_stream::connect(listener.local_address());
    const auto accepted = co_await listener.accept();
    CHECK(accepted.peer_address() == stream.local_address());
}

hob::task<> connect_times_out() {
    hob::listen_options options;
    options.backlog = 0;
    const auto listener = hob::tcp_listener::bind("127.0.0.1", 0, options);
    const test::raw_peer first(listener.local_address());
    const auto before = test::open_descriptors();
    bool expired = false;
    try {
        co_await hob::timeout(20ms, hob::tcp_stream::connect(listener.local_address()));
    } catch (const hob::timeout_error&) {
        expired = true;
    }
    CHECK(expired);
    CHECK(test::open_descriptors() == before);
}

} // namespace

TEST_CASE("accept skips connections that died and retries interrupted calls",
          "[net][accept-errors]") {
    test::fault_ring::plan faults;
    faults.results[IORING_OP_ACCEPT].assign(1000, -ECONNABORTED);
    faults.results[IORING_OP_ACCEPT].push_back(-EINTR);
    faults.results[IORING_OP_ACCEPT].push_back(-EPROTO);
    run_with_faults(faults, accept_one());
    CHECK(faults.submissions[IORING_OP_ACCEPT] == 1003);
}
TEST_CASE("accept pauses when the system lacks something", "[net][accept-errors]") {
    for (const int error : {EMFILE, ENFILE, ENOBUFS, ENOMEM}) {
        test::fault_ring::plan faults;
        faults.results[IORING_OP_ACCEPT] = {-error, -error};
        const auto begin = hob::detail::clock::now();
        run_with_faults(faults, accept_one());
        // No timer fires early.
        CHECK(hob::detail::clock::now() - begin >= 200ms);
        CHECK(faults.submissions[IORING_OP_ACCEPT] == 3);
    }
}
TEST_CASE("other errors of accept are thrown, and the listener survives", "[net][accept-errors]") {
    test::fault_ring::plan faults;
    faults.results[IORING_OP_ACCEPT] = {-EINVAL};
    run_with_faults(faults, accept_fails());
}
TEST_CASE("a pausing accept can be cancelled, and its listener closed",
          "[net][accept-errors][accept-cancel][close-wakes]") {
    for (const bool by_close : {false, true}) {
        test::fault_ring::plan faults;
        faults.results[IORING_OP_ACCEPT] = {-EMFILE};
        run_with_faults(faults, end_during_the_pause(faults, by_close));
    }
}
TEST_CASE("at the limit of descriptors connections are served and accept recovers",
          "[net][emfile]") {
    // UBSan, which goes with ASan, takes objects for invalid when it finds no descriptor free.
    if (hob::detail::checks_buffers)
        return;
    test::in_both_ring_modes(out_of_descriptors);
}
TEST_CASE("bind says what is wrong with which address", "[net][bad-input]") {
    test::in_both_ring_modes(bind_errors);
}
TEST_CASE("listeners share a port if they are told to", "[net]") {
    test::in_both_ring_modes(shared_port);
}
TEST_CASE("a second acceptor is refused", "[net][rd-busy]") {
    test::in_both_ring_modes(second_acceptor);
}
TEST_CASE("refused connects keep saying refused", "[net][connect-again][bad-input]") {
    test::in_both_ring_modes(refused_again_and_again);
}
TEST_CASE("a connection to itself counts as refused", "[net][connect-again]") {
    test::in_both_ring_modes(never_to_itself);
}
TEST_CASE("connect uses the local address it is given", "[net]") {
    test::in_both_ring_modes(connect_from);
}
TEST_CASE("an interrupted connect is tried again", "[net][cancel-eintr]") {
    test::fault_ring::plan faults;
    faults.results[IORING_OP_CONNECT] = {-EINTR, -EINTR};
    run_with_faults(faults, connect_once());
    CHECK(faults.submissions[IORING_OP_CONNECT] == 3);
}
TEST_CASE("a connect without an answer ends at its time limit", "[net][connect-timeout]") {
    test::in_both_ring_modes(connect_times_out);
}
