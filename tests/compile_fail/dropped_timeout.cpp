// expect: does nothing until it is awaited
#include <hob/hob.hpp>

hob::task<> f();

hob::task<> g() {
    using namespace std::chrono_literals;
#ifdef HOB_COMPILE_FAIL_CONTROL
    co_await hob::timeout(1s, f());
#else
    hob::timeout(1s, f());
    co_return;
#endif
}
