// expect: the body of a task group returns a hob::task
#include <hob/hob.hpp>

hob::task<> f();

hob::task<> g() {
#ifdef HOB_COMPILE_FAIL_CONTROL
    auto body = [](hob::task_group& group) -> hob::task<> {
        group.start(f());
        co_return;
    };
#else
    auto body = [](hob::task_group& group) { group.start(f()); };
#endif
    co_await hob::with_task_group(body);
}
