// expect: nobody would await the task that this function returns
#include <hob/hob.hpp>

hob::task<> f();

bool g(const hob::loop_handle& loop) {
#ifdef HOB_COMPILE_FAIL_CONTROL
    return loop.call_soon_threadsafe([] { hob::create_task(f()); });
#else
    return loop.call_soon_threadsafe(f);
#endif
}
