// expect: cannot be awaited|no matching function
#include <hob/hob.hpp>

hob::task<> f();

hob::task<> g() {
    auto task = f();
#ifdef HOB_COMPILE_FAIL_CONTROL
    static_cast<void>(co_await hob::as_result(std::move(task)));
#else
    static_cast<void>(co_await hob::as_result(task));
#endif
}
