// expect: the body of a timeout returns a hob::task
#include <hob/hob.hpp>

hob::task<> g() {
    auto right = [](hob::timeout_scope&) -> hob::task<> { co_return; };
    auto wrong = [](hob::timeout_scope&) { return 1; };
    static_cast<void>(right);
    static_cast<void>(wrong);
#ifdef HOB_COMPILE_FAIL_CONTROL
    co_await hob::timeout(std::chrono::seconds(1), right);
#else
    co_await hob::timeout(std::chrono::seconds(1), wrong);
#endif
}
