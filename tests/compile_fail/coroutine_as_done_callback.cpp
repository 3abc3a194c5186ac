// expect: nobody would await the task that this function returns
#include <hob/hob.hpp>

hob::task<> f(hob::task_handle<int> ended);

void g(const hob::task_handle<int>& handle) {
#ifdef HOB_COMPILE_FAIL_CONTROL
    handle.add_done_callback([](hob::task_handle<int>& ended) { hob::create_task(f(ended)); });
#else
    handle.add_done_callback(f);
#endif
}
