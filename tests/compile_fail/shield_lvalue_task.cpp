// expect: taskable|constraints
#include <hob/hob.hpp>

hob::task<> f();

hob::task<> g() {
    auto task = f();
#ifdef HOB_COMPILE_FAIL_CONTROL
    co_await hob::shield(std::move(task));
#else
    co_await hob::shield(task);
#endif
}
