// expect: no matching|deleted
#include <hob/hob.hpp>

hob::task<> f();

void g(hob::task_group& group) {
    auto task = f();
#ifdef HOB_COMPILE_FAIL_CONTROL
    group.start(std::move(task));
#else
    group.start(task);
#endif
}
