// expect: deleted|no matching function
#include <hob/hob.hpp>

hob::task<> f();

int main() {
    auto task = f();
#ifdef HOB_COMPILE_FAIL_CONTROL
    return hob::run(std::move(task));
#else
    return hob::run(task);
#endif
}
