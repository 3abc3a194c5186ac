// SPDX-License-Identifier: MIT
#include "../catch.hpp"

#include <hob/core/promise.hpp>
#include <hob/core/ready_queue.hpp>

#include <array>
#include <type_traits>
#include <vector>

using hob::detail::ready_callback;
using hob::detail::ready_node;
using hob::detail::ready_queue;

namespace {

class callback final : public ready_callback {
  public:
    void run() noexcept override { ++runs; }
    int runs = 0;
};

std::vector<ready_node*> drained(ready_queue& queue) {
    std::vector<ready_node*> nodes;
    while (!queue.empty())
        nodes.push_back(&queue.pop());
    return nodes;
}

} // namespace

TEST_CASE("a ready queue is first in, first out", "[fifo]") {
    ready_queue queue;
    CHECK(queue.empty());
    std::array<callback, 3> nodes;
    for (callback& each : nodes)
        queue.push(each);
    CHECK(queue.front() == &nodes[0]);
    CHECK(queue.back() == &nodes[2]);
    CHECK(drained(queue) == std::vector<ready_node*>{&nodes[0], &nodes[1], &nodes[2]});
    CHECK(queue.empty());
    queue.push(nodes[1]);
    CHECK(drained(queue) == std::vector<ready_node*>{&nodes[1]});
}

TEST_CASE("a ready node keeps its kind while its link changes") {
    callback first;
    callback second;
    CHECK(first.is_callback());
    CHECK(first.next() == nullptr);
    first.set_next(&second);
    CHECK(first.is_callback());
    CHECK(first.next() == &second);
    first.set_next(nullptr);
    CHECK(first.is_callback());
    static_cast<ready_callback&>(static_cast<ready_node&>(first)).run();
    CHECK(first.runs == 1);
}

TEST_CASE("what stands in a ready queue cannot be copied or moved", "[pinned]") {
    STATIC_REQUIRE_FALSE(std::is_move_constructible_v<callback>);
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<callback>);
    STATIC_REQUIRE_FALSE(std::is_move_constructible_v<ready_queue>);
    STATIC_REQUIRE_FALSE(std::is_move_constructible_v<hob::detail::promise_base>);
}
