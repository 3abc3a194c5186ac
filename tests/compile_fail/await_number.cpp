// expect: this cannot be awaited
#include <hob/hob.hpp>

int f();

hob::task<> g() {
#ifdef HOB_COMPILE_FAIL_CONTROL
    f();
    co_return;
#else
    co_await f();
#endif
}
