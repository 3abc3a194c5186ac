// expect: a task is awaited once: write
#include <hob/hob.hpp>

hob::task<> f();

hob::task<> g() {
    auto task = f();
#ifdef HOB_COMPILE_FAIL_CONTROL
    co_await std::move(task);
#else
    co_await task;
#endif
}
