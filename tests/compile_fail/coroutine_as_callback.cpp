// expect: nobody would await the task that this function returns
#include <hob/hob.hpp>

hob::task<> f();

void g(hob::event_loop& loop) {
#ifdef HOB_COMPILE_FAIL_CONTROL
    loop.call_soon([] { hob::create_task(f()); });
#else
    loop.call_soon(f);
#endif
}
