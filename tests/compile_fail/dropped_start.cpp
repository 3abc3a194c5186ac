// expect: nodiscard|ignoring
#include <hob/hob.hpp>

void g(hob::task_group& group) {
    auto body = [](hob::task_status<>& status) -> hob::task<> {
        status.started();
        co_return;
    };
#ifdef HOB_COMPILE_FAIL_CONTROL
    auto started = group.start(body);
    static_cast<void>(started);
#else
    group.start(body);
#endif
}
