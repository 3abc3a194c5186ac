// expect: a coroutine cannot run on a thread of a pool
#include <hob/hob.hpp>

hob::task<int> f(int number);
int compute(int number);

hob::task<int> g() {
#ifdef HOB_COMPILE_FAIL_CONTROL
    const int computed = co_await hob::to_thread(compute, 1);
    const int awaited = co_await f(1);
    co_return computed + awaited;
#else
    co_await hob::to_thread(f, 1);
    co_return 0;
#endif
}
