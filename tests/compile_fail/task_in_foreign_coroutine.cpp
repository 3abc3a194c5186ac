// expect: hob_promise
#include <hob/hob.hpp>

#include <coroutine>
#include <exception>

class foreign {
  public:
    class promise_type {
      public:
        foreign get_return_object() noexcept { return {}; }
        static std::suspend_never initial_suspend() noexcept { return {}; }
        static std::suspend_never final_suspend() noexcept { return {}; }
        static void return_void() noexcept {}
        static void unhandled_exception() noexcept { std::terminate(); }
    };
};

hob::task<> f();

#ifdef HOB_COMPILE_FAIL_CONTROL
hob::task<> g() {
    co_await f();
}
#else
foreign g() {
    co_await f();
}
#endif
