// expect: the cleanup of finally is an awaitable, or a callable returning one
#include <hob/hob.hpp>

hob::task<> f();

hob::task<> g() {
#ifdef HOB_COMPILE_FAIL_CONTROL
    co_await hob::finally(f(), f());
#else
    co_await hob::finally(f(), 1);
#endif
}
