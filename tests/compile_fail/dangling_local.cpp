// expect: this task would return a reference to a temporary
#include <hob/hob.hpp>

int kept = 0;

hob::task<int&> g() {
#ifdef HOB_COMPILE_FAIL_CONTROL
    co_return kept;
#else
    int local = 0;
    co_return local;
#endif
}
