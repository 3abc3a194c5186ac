// expect: deleted|copy|implicitly
#include <hob/hob.hpp>

hob::task<> f();

hob::task<> g() {
    auto task = f();
#ifdef HOB_COMPILE_FAIL_CONTROL
    hob::create_task(std::move(task));
    co_return;
#else
    hob::create_task(task);
    co_return;
#endif
}
