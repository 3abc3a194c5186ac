// expect: nodiscard|ignoring
#include <hob/hob.hpp>

void g(hob::loop_handle loop) {
#ifdef HOB_COMPILE_FAIL_CONTROL
    const bool taken = loop.call_soon_threadsafe([] {});
    static_cast<void>(taken);
#else
    loop.call_soon_threadsafe([] {});
#endif
}
