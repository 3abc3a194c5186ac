// expect: nodiscard|ignoring
#include <hob/hob.hpp>

hob::async_generator<int> f();

void g() {
#ifdef HOB_COMPILE_FAIL_CONTROL
    auto values = f();
    static_cast<void>(values);
#else
    f();
#endif
}
