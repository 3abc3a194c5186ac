// SPDX-License-Identifier: MIT
// hob's own coroutines, used in two units of one program: GCC names what a coroutine keeps across
// an await by numbers, unless it has a name, and takes the units' versions for different types.
#if defined(SECOND_UNIT)
#include <map>
#include <regex>
#define NAME second
#else
#define NAME first
#endif

#include <hob/hob.hpp>

#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace {

hob::task<int> one() {
    co_return 1;
}

} // namespace

void NAME(hob::event& event, hob::queue<int>& numbers, const hob::loop_handle& loop);
void NAME(hob::event& event, hob::queue<int>& numbers, const hob::loop_handle& loop) {
    static_cast<void>(hob::create_task(event.wait()));
    static_cast<void>(hob::create_task(numbers.get()));
    static_cast<void>(hob::timeout(1s, event.wait()));
    static_cast<void>(hob::gather(event.wait(), numbers.get()));
    static_cast<void>(hob::as_result(one()));
    static_cast<void>(hob::read_file("file"));
    static_cast<void>(hob::write_file("file", "text"));
    static_cast<void>(hob::staggered_race(1s, std::vector<hob::task<int>>()));
    static_cast<void>(hob::run_coroutine_threadsafe(loop, one()));
    static_cast<void>(
        hob::for_each_limited(2, std::vector<int>(), [](int) -> hob::task<int> { return one(); }));
    static_cast<void>(
        hob::map_limited(2, std::vector<int>(), +[](int) -> hob::task<int> { return one(); }));
    hob::run_on_threads(2, +[](std::size_t) -> hob::task<int> { return one(); });
    hob::mutex mutex;
    hob::condition_variable condition(mutex);
    hob::mutex_guard guard = mutex.try_lock();
    static_cast<void>(condition.wait(guard, +[] { return true; }));
}
