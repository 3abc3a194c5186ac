// SPDX-License-Identifier: MIT
#include "../catch.hpp"
#include "support/child_process.hpp"
#include "support/program.hpp"

#include <hob/run.hpp>
#include <hob/task.hpp>

#include <csignal>

using test::contains;

namespace {

// Not inlined, or Clang puts the frame on the stack.
[[gnu::noinline]] hob::task<> nothing() {
    co_return;
}

/// Makes the loop resume what `make` gives, and says how the process ended.
template <class Make> test::child_result resume(Make make) {
    return test::in_child([&] {
        auto main = [&]() -> hob::task<> {
            auto& loop = hob::detail::scheduler::here();
            loop.push(make(*loop.running()));
            co_await test::settle();
        };
        hob::run(main());
        return 0;
    });
}

} // namespace

TEST_CASE("resuming a coroutine that has returned stops the process with a message",
          "[resume-once]") {
    const auto result = resume([](hob::detail::promise_base& caller) -> auto& {
        hob::detail::promise<void>& returned = *nothing().release();
        returned.set_caller(caller);
        returned.coroutine().resume();
        return returned;
    });
    CHECK(result.signal == SIGABRT);
    CHECK_THAT(result.errors, contains("a coroutine was resumed that has returned"));
}

TEST_CASE("resuming a coroutine that was destroyed stops the process with a message",
          "[resume-once]") {
    const auto result = resume([](hob::detail::promise_base&) -> auto& {
        hob::detail::promise<void>& destroyed = *nothing().release();
        destroyed.coroutine().destroy();
        return destroyed;
    });
    CHECK((result.signal != 0 || result.code != 0));
    // Under ASan it is the sanitizer's message.
    CHECK_THAT(result.errors, contains("or was destroyed") || contains("AddressSanitizer"));
}
