// expect: does nothing until it is awaited
#include <hob/hob.hpp>

hob::task<> g() {
    using namespace std::chrono_literals;
#ifdef HOB_COMPILE_FAIL_CONTROL
    co_await hob::sleep_for(1s);
#else
    hob::sleep_for(1s);
    co_return;
#endif
}
