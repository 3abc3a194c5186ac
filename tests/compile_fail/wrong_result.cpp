// expect: return_value|convert
#include <hob/hob.hpp>

#include <string>

hob::task<int> f() {
#ifdef HOB_COMPILE_FAIL_CONTROL
    co_return 1;
#else
    co_return std::string("1");
#endif
}
