// expect: the cleanup of finally gives a value, which nobody would get
#include <hob/hob.hpp>

hob::task<> f();
hob::task<int> close_and_count();

hob::task<> g() {
#ifdef HOB_COMPILE_FAIL_CONTROL
    auto close = []() -> hob::task<> { static_cast<void>(co_await close_and_count()); };
    co_await hob::finally(f(), close);
#else
    co_await hob::finally(f(), close_and_count);
#endif
}
