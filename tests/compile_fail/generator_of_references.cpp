// expect: an async generator gives movable objects
#include <hob/hob.hpp>

using generator =
#ifdef HOB_COMPILE_FAIL_CONTROL
    hob::async_generator<int>;
generator f();
void g() {
    auto values = f();
    static_cast<void>(values);
#else
    hob::async_generator<int&>;
generator f();
void g() {
    auto values = f();
    static_cast<void>(values);
#endif
}
