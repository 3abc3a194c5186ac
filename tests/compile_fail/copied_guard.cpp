// expect: deleted|copy
#include <hob/hob.hpp>

void g(hob::mutex_guard& lock) {
#ifdef HOB_COMPILE_FAIL_CONTROL
    const auto moved = std::move(lock);
    static_cast<void>(moved);
#else
    const auto copied = lock;
    static_cast<void>(copied);
#endif
}
