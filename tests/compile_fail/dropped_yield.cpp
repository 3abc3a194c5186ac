// expect: a yield does nothing until it is awaited
#include <hob/hob.hpp>

hob::task<> g() {
#ifdef HOB_COMPILE_FAIL_CONTROL
    co_await hob::yield();
#else
    hob::yield();
    co_return;
#endif
}
