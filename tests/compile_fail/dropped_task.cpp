// expect: nodiscard
#include <hob/hob.hpp>

hob::task<> f();

hob::task<> g() {
#ifdef HOB_COMPILE_FAIL_CONTROL
    co_await f();
#else
    f();
    co_return;
#endif
}
