// expect: taskable
#include <hob/hob.hpp>

hob::task<> f();

hob::task<> g() {
    auto task = f();
#ifdef HOB_COMPILE_FAIL_CONTROL
    co_await hob::gather(std::move(task), f());
#else
    co_await hob::gather(task, f());
#endif
}
