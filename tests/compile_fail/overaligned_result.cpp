// expect: the result of a task may be aligned to at most 16 bytes
#include <hob/hob.hpp>

#ifdef HOB_COMPILE_FAIL_CONTROL
struct alignas(16) wide {
    char bytes[64];
};
#else
struct alignas(64) wide {
    char bytes[64];
};
#endif

hob::task<wide> f() {
    co_return wide{};
}
