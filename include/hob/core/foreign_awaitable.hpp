// SPDX-License-Identifier: MIT
// Awaiting what knows nothing of hob.
#pragma once

#include <hob/core/awaitable.hpp>
#include <hob/core/reactor.hpp>

#include <coroutine>
#include <exception>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace hob::detail {

/// What a foreign awaitable gets to resume: a coroutine whose one act is to put the waiter into
/// the ready queue of its loop. So it may be resumed anywhere, on any thread, and never runs the
/// waiter on the stack of whoever resumes it.
class resumer {
  public:
    class promise_type {
      public:
        static void* operator new(std::size_t size) { return frame_pool::allocate(size); }
        static void operator delete(void* frame, std::size_t size) noexcept {
            frame_pool::deallocate(frame, size);
        }
        resumer get_return_object() noexcept {
            return resumer(std::coroutine_handle<promise_type>::from_promise(*this));
        }
        static std::suspend_always initial_suspend() noexcept { return {}; }
        static std::suspend_never final_suspend() noexcept { return {}; }
        static void return_void() noexcept {}
        static void unhandled_exception() noexcept { std::terminate(); }
    };

    [[nodiscard]] std::coroutine_handle<> handle() const noexcept { return handle_; }

  private:
    explicit resumer(std::coroutine_handle<> handle) noexcept : handle_(handle) {}
    std::coroutine_handle<> handle_;
};

/// Completes the wait on the loop's thread, whoever resumed it.
class foreign_wait : public operation, public ready_callback {
  protected:
    foreign_wait() = default;
    ~foreign_wait() = default;

    void resume_from_anywhere() noexcept {
        if (current_scheduler == loop_)
            run();
        else
            check(inbox_->post(*this), "a foreign awaitable was resumed after its loop had closed");
    }

    // The other side does not know how to be cancelled: the stop takes effect at the next await.
    void cancel() noexcept final {}
    [[nodiscard]] std::string describe() const final { return "a foreign awaitable"; }
    void run() noexcept final {
        end_wait();
        complete();
    }

    void begin_foreign(promise_base& waiter) noexcept {
        reactor& loop = reactor::here();
        loop_ = &loop;
        inbox_ = loop.expect_post();
        begin_shielded(waiter);
    }
    void abandon_foreign() noexcept {
        end_wait();
        waiter_->owner().resume_running();
    }

  private:
    void end_wait() noexcept {
        reactor::here().post_arrived();
        inbox_.reset();
    }

    scheduler* loop_ = nullptr;
    std::shared_ptr<inbox> inbox_;
};

template <class Awaitable> class foreign_awaiter final : public foreign_wait {
    using awaiter = decltype(get_foreign_awaiter(std::declval<Awaitable>()));

  public:
    explicit foreign_awaiter(Awaitable&& awaitable)
        : awaiter_(get_foreign_awaiter(static_cast<Awaitable&&>(awaitable))) {}

    bool await_ready() { return static_cast<bool>(awaiter_.await_ready()); }

    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        promise_base& waiter = awaiting.promise();
        if (waiter.owner().is_being_cancelled()) {
            waiter.owner().stop_at(waiter);
            return true;
        }
        const std::coroutine_handle<> proxy = make_resumer(*this).handle();
        begin_foreign(waiter);
        try {
            return suspend(proxy);
        } catch (...) {
            proxy.destroy();
            abandon_foreign();
            throw;
        }
    }

    decltype(auto) await_resume() { return awaiter_.await_resume(); }

  private:
    static resumer make_resumer(foreign_awaiter& self) {
        self.resume_from_anywhere();
        co_return;
    }

    bool suspend(std::coroutine_handle<> proxy) {
        using suspended = decltype(awaiter_.await_suspend(proxy));
        if constexpr (std::is_void_v<suspended>) {
            awaiter_.await_suspend(proxy);
            return true;
        } else if constexpr (std::is_same_v<suspended, bool>) {
            if (awaiter_.await_suspend(proxy))
                return true;
            proxy.destroy();
            abandon_foreign();
            return false;
        } else {
            awaiter_.await_suspend(proxy).resume();
            return true;
        }
    }

    awaiter awaiter_;
};

} // namespace hob::detail
