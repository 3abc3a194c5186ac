// expect: deleted|private|abstract
#include <hob/hob.hpp>

hob::task<> g() {
    auto body = [](hob::task_group& group) -> hob::task<> {
#ifdef HOB_COMPILE_FAIL_CONTROL
        hob::task_group& same = group;
        same.cancel();
#else
        auto copy = group;
        copy.cancel();
#endif
        co_return;
    };
    co_await hob::with_task_group(body);
}
