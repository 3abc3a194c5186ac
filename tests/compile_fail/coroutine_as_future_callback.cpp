// expect: nobody would await the task that this function returns
#include <hob/hob.hpp>

hob::task<> f(hob::future<int> ended);

void g(const hob::future<int>& future) {
#ifdef HOB_COMPILE_FAIL_CONTROL
    future.add_done_callback([](hob::future<int> ended) { hob::create_task(f(ended)); });
#else
    future.add_done_callback(f);
#endif
}
