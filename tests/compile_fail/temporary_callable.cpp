// expect: Name the callable first
#include <hob/core/callable.hpp>

#include <functional>
#include <memory>
#include <string>

namespace {

template <class F> void take(F&&) {
#if defined(HOB_COMPILE_FAIL_CONTROL) || (defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13)
    hob::detail::check_callable<F>();
#else
    static_assert(!sizeof(F), "Name the callable first: this compiler needs no such rule");
#endif
}

} // namespace

void use(std::string text) {
#ifdef HOB_COMPILE_FAIL_CONTROL
    auto job = [text] { return text.size(); };
    take(job);
    auto immovable = [owned = std::make_unique<int>(1)] { return *owned; };
    take(std::ref(immovable));
    take([&text] { return text.size(); });
    take([] { return 1; });
    take(std::function<int()>([] { return 1; }));
    take(&use);
#else
    take([text] { return text.size(); });
#endif
}
