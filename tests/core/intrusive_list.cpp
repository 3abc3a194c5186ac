// SPDX-License-Identifier: MIT
#include "../catch.hpp"

#include <hob/core/intrusive_list.hpp>

#include <algorithm>
#include <list>
#include <random>
#include <type_traits>
#include <vector>

namespace {

class item : public hob::detail::list_node {
  public:
    explicit item(int number) noexcept : value(number) {}
    int value;
};
using item_list = hob::detail::intrusive_list<item>;

std::vector<int> values(item_list& list) {
    std::vector<int> found;
    list.for_each([&](item& each) { found.push_back(each.value); });
    return found;
}

} // namespace

TEST_CASE("an intrusive list is first in, first out") {
    item_list list;
    CHECK(list.empty());
    item one(1);
    item two(2);
    item three(3);
    CHECK_FALSE(one.is_linked());
    list.push_back(one);
    list.push_back(two);
    list.push_back(three);
    CHECK(one.is_linked());
    CHECK(&list.front() == &one);
    CHECK(values(list) == std::vector<int>{1, 2, 3});
    CHECK(&list.pop_front() == &one);
    CHECK_FALSE(one.is_linked());
    item_list::remove(three);
    CHECK(values(list) == std::vector<int>{2});
    list.push_back(three);
    list.push_back(one);
    CHECK(values(list) == std::vector<int>{2, 3, 1});
}

TEST_CASE("an element of an intrusive list may leave it while it is visited",
          "[callbacks-mutate]") {
    item_list list;
    std::list<item> items;
    for (int number = 0; number != 6; ++number)
        list.push_back(items.emplace_back(number));
    list.for_each([](item& each) {
        if (each.value % 2 == 0)
            item_list::remove(each);
    });
    CHECK(values(list) == std::vector<int>{1, 3, 5});
    list.for_each([](item& each) { item_list::remove(each); });
    CHECK(list.empty());
}

TEST_CASE("elements of an intrusive list cannot be copied or moved", "[pinned]") {
    STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<item>);
    STATIC_REQUIRE_FALSE(std::is_move_constructible_v<item>);
    STATIC_REQUIRE_FALSE(std::is_move_assignable_v<item>);
    STATIC_REQUIRE_FALSE(std::is_move_constructible_v<item_list>);
}

TEST_CASE("an intrusive list agrees with std::list") {
    std::mt19937 random(test::random_seed());
    item_list list;
    std::list<item> items;
    std::vector<item*> outside;
    std::vector<int> reference;
    for (int number = 0; number != 50; ++number)
        outside.push_back(&items.emplace_back(number));
    for (int step = 0; step != 20'000; ++step) {
        const auto dice = random() % 3;
        if (dice == 0 && !outside.empty()) {
            std::swap(outside[random() % outside.size()], outside.back());
            list.push_back(*outside.back());
            reference.push_back(outside.back()->value);
            outside.pop_back();
        } else if (dice == 1 && !reference.empty()) {
            outside.push_back(&list.pop_front());
            REQUIRE(outside.back()->value == reference.front());
            reference.erase(reference.begin());
        } else if (!reference.empty()) {
            const auto position = random() % reference.size();
            item& victim = *std::next(items.begin(), reference[position]);
            item_list::remove(victim);
            outside.push_back(&victim);
            reference.erase(reference.begin() + static_cast<std::ptrdiff_t>(position));
        }
        REQUIRE(list.empty() == reference.empty());
    }
    CHECK(values(list) == reference);
}
