// expect: cannot be awaited
#include <hob/hob.hpp>

hob::task<> f();

hob::task<> g() {
    auto both = hob::gather(f(), f());
#ifdef HOB_COMPILE_FAIL_CONTROL
    co_await std::move(both);
#else
    co_await both;
#endif
}
