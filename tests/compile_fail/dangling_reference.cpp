// expect: this task would return a reference to a temporary
#include <hob/hob.hpp>

int make();
int kept = 0;

hob::task<const int&> g() {
#ifdef HOB_COMPILE_FAIL_CONTROL
    co_return kept;
#else
    co_return make();
#endif
}
