// SPDX-License-Identifier: MIT
// hob::run_in_executor and hob::to_thread: awaiting what a thread of a pool computes.
#pragma once

#include <hob/core/awaitable.hpp>
#include <hob/core/callable.hpp>
#include <hob/core/check.hpp>
#include <hob/core/operation.hpp>
#include <hob/core/reactor.hpp>
#include <hob/executor/abandonable_job.hpp>
#include <hob/executor/bound_call.hpp>
#include <hob/executor/thread_pool.hpp>

#include <concepts>
#include <coroutine>
#include <exception>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace hob {
namespace detail {

/// The job lives in the awaiter, which waits for its end even if it is cancelled.
template <class Function, class... Arguments>
class pool_operation : public operation, public pool_job, public ready_callback {
  public:
    using value_type = typename bound_call<Function, Arguments...>::value_type;

    explicit pool_operation(thread_pool& pool, Function function, Arguments... arguments)
        : pool_(pool), call_(std::move(function), std::move(arguments)...) {}

    static constexpr bool await_ready() noexcept { return false; }
    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        if (!begin(awaiting.promise())) [[unlikely]]
            return true;
        loop_ = reactor::here().expect_job();
        try {
            pool_.submit(*this);
        } catch (...) {
            reactor::here().job_arrived();
            awaiting.promise().owner().resume_running();
            throw;
        }
        return true;
    }
    value_type await_resume() { return call_.get(); }

  private:
    // On a thread of the pool, or of whoever shuts it down.
    void execute() noexcept override {
        call_();
        post();
    }
    void drop() noexcept override {
        call_.fail(std::make_exception_ptr(pool_closed_error()));
        post();
    }
    void post() noexcept {
        // Once the node has been posted, this operation and its loop may end at any moment.
        const std::shared_ptr<inbox> loop = std::move(loop_);
        const bool posted = loop->post(*this);
        check(posted, "a loop was closed while a task waited for a thread pool");
    }

    // On the loop's thread.
    void run() noexcept override {
        reactor::here().job_arrived();
        complete();
    }
    void cancel() noexcept override {
        if (pool_.remove(*this)) {
            reactor::here().job_arrived();
            stop();
        }
    }
    [[nodiscard]] std::string describe() const override { return "a job of a thread pool"; }

    thread_pool& pool_;
    std::shared_ptr<inbox> loop_;
    bound_call<Function, Arguments...> call_;
};

/// A function that can be called once, elsewhere, with copies of these arguments.
template <class Function, class... Arguments>
concept pool_callable = std::invocable<std::decay_t<Function>, std::decay_t<Arguments>...>;

template <template <class...> class Operation, class Function, class... Arguments>
auto defer_to_pool(thread_pool& pool, Function&& function, Arguments&&... arguments) {
    check_callable<Function>();
    check_job<std::decay_t<Function>, std::decay_t<Arguments>...>();
    return deferred<Operation<std::decay_t<Function>, std::decay_t<Arguments>...>, thread_pool&,
                    std::decay_t<Function>, std::decay_t<Arguments>...>(
        pool, std::forward<Function>(function), std::forward<Arguments>(arguments)...);
}

} // namespace detail

/// Awaits `function(arguments...)` on a thread of `pool`, and gives its value or throws its
/// exception. Function and arguments are decay-copied and passed on as rvalues, as by `std::async`;
/// wrap in `std::ref` what is to be shared. They are destroyed on the loop's thread.
///
/// When it is cancelled, a job that has not started leaves the queue and never runs. One that has
/// started is waited for, and its result delivered. Throws `pool_closed_error` after a shutdown,
/// `std::system_error` if the pool cannot start its first thread, and `usage_error` in a forked
/// child.
template <class Function, class... Arguments>
    requires detail::pool_callable<Function, Arguments...>
auto run_in_executor(thread_pool& pool, Function&& function, Arguments&&... arguments) {
    return detail::defer_to_pool<detail::pool_operation>(pool, std::forward<Function>(function),
                                                         std::forward<Arguments>(arguments)...);
}

/// The same, but a started job is abandoned when its awaiter is cancelled, which stops at once: the
/// job goes on alone with its own copies of the arguments. Its result is dropped; its exception
/// goes to the loop's exception handler, or is lost if the loop has closed. The destructor of the
/// pool waits for the job nevertheless. Throws `std::bad_alloc` in addition.
template <class Function, class... Arguments>
    requires detail::pool_callable<Function, Arguments...>
auto run_in_executor(thread_pool& pool, abandon_on_cancel_t, Function&& function,
                     Arguments&&... arguments) {
    return detail::defer_to_pool<detail::abandoning_operation>(
        pool, std::forward<Function>(function), std::forward<Arguments>(arguments)...);
}

/// `run_in_executor` on a pool that the process shares: asyncio.to_thread.
template <class Function, class... Arguments>
    requires detail::pool_callable<Function, Arguments...>
auto to_thread(Function&& function, Arguments&&... arguments) {
    return run_in_executor(default_thread_pool(), std::forward<Function>(function),
                           std::forward<Arguments>(arguments)...);
}
template <class Function, class... Arguments>
    requires detail::pool_callable<Function, Arguments...>
auto to_thread(abandon_on_cancel_t, Function&& function, Arguments&&... arguments) {
    return run_in_executor(default_thread_pool(), abandon_on_cancel,
                           std::forward<Function>(function), std::forward<Arguments>(arguments)...);
}

} // namespace hob
