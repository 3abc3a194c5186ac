// SPDX-License-Identifier: MIT
// Tasks of every shape, at a point where a debugger looks at them.
#include <hob/hob.hpp>

#include <chrono>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace {

hob::task<> sleep_below(int levels) {
    if (levels == 0)
        co_await hob::sleep_for(1h);
    else
        co_await sleep_below(levels - 1);
}

hob::task<int> wait_for(hob::event& event) {
    co_await event.wait();
    co_return 1;
}

hob::task<> gather_two(hob::event& event) {
    co_await hob::gather(wait_for(event), wait_for(event));
}

hob::task<> gather_range(hob::event& event) {
    std::vector<hob::task<int>> waiting;
    for (int i = 0; i != 40; ++i)
        waiting.push_back(wait_for(event));
    co_await hob::timeout(1h, hob::gather(std::move(waiting)));
}

hob::task<> lead_group() {
    co_await hob::with_task_group([](hob::task_group& group) -> hob::task<> {
        group.create_task(sleep_below(0)).set_name("child");
        co_await hob::sleep_for(1h);
    });
}

hob::task<> spin() {
    for (;;)
        co_await hob::yield();
}

void start(hob::task<> coroutine, const std::string& name) {
    hob::create_task(std::move(coroutine)).set_name(name);
}

hob::task<> stand_still() {
    hob::event event;
    start(sleep_below(2), "sleeper");
    start(gather_two(event), "gatherer");
    start(gather_range(event), "ranger");
    start(lead_group(), "leader");
    start(spin(), "spinner");
    hob::create_task(event.wait()).set_name("waiter \xff");
    co_await hob::yield();
    co_await hob::yield();
    start(sleep_below(0), "newborn");
    std::raise(SIGTRAP);
}

} // namespace

int main() {
    hob::run(stand_still());
}
