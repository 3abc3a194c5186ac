// expect: the cleanup of finally is an awaitable, or a callable that returns one or nothing
#include <hob/hob.hpp>

hob::task<> f();

hob::task<> g() {
#ifdef HOB_COMPILE_FAIL_CONTROL
    co_await hob::finally(f(), f());
    co_await hob::finally(f(), [] {});
#else
    co_await hob::finally(f(), 1);
#endif
}
