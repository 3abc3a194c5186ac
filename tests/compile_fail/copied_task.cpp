// expect: deleted
#include <hob/hob.hpp>

hob::task<> f();

void g() {
    auto task = f();
#ifdef HOB_COMPILE_FAIL_CONTROL
    auto other = std::move(task);
#else
    auto other = task;
#endif
}
