// SPDX-License-Identifier: MIT
// A job of a thread pool whose awaiter need not wait for its end.
#pragma once

#include <hob/core/error.hpp>
#include <hob/core/inbox.hpp>
#include <hob/core/operation.hpp>
#include <hob/core/reactor.hpp>
#include <hob/executor/bound_call.hpp>
#include <hob/executor/thread_pool.hpp>

#include <coroutine>
#include <exception>
#include <memory>
#include <string>
#include <utility>

namespace hob {

/// Asks `run_in_executor` and `to_thread` not to wait for a started job when they are cancelled.
class abandon_on_cancel_t {
  public:
    explicit abandon_on_cancel_t() = default;
};
inline constexpr abandon_on_cancel_t abandon_on_cancel{};

namespace detail {

/// Resumed by its job, unless it has abandoned it.
class job_waiter {
  public:
    virtual void job_ended() noexcept = 0;

  protected:
    ~job_waiter() = default;
};

/// Belongs to its awaiter; once abandoned, to itself.
template <class Function, class... Arguments>
class abandonable_job final : public pool_job, public ready_callback {
  public:
    explicit abandonable_job(Function&& function, Arguments&&... arguments)
        : call(std::move(function), std::move(arguments)...) {}
    ~abandonable_job() = default;

    void start(thread_pool& pool, const std::shared_ptr<inbox>& loop, job_waiter& waiter) {
        loop_ = loop;
        waiter_ = &waiter;
        pool.submit(*this);
    }
    /// From now on it deletes itself. On the loop's thread, as all access to `waiter_`.
    void abandon() noexcept { waiter_ = nullptr; }

    bound_call<Function, Arguments...> call;

  private:
    // On a thread of the pool, or of whoever shuts it down.
    void execute() noexcept override {
        call();
        post();
    }
    void drop() noexcept override {
        call.fail(std::make_exception_ptr(pool_closed_error()));
        post();
    }
    void post() noexcept {
        const std::shared_ptr<inbox> loop = std::move(loop_);
        // A closed loop had stopped every task, so this is abandoned, and nobody is left to tell.
        if (!loop->post(*this))
            delete this;
    }

    // On the loop's thread.
    void run() noexcept override {
        if (waiter_ != nullptr)
            waiter_->job_ended();
        else
            end_abandoned();
    }
    void discard() noexcept override { end_abandoned(); }
    void end_abandoned() noexcept {
        if (std::exception_ptr error = call.error()) {
            if (is_fatal(error))
                scheduler::here().fail(std::move(error));
            else
                scheduler::here().report("an exception left an abandoned job of a thread pool",
                                         nullptr, std::move(error));
        }
        delete this;
    }

    std::shared_ptr<inbox> loop_;
    job_waiter* waiter_ = nullptr;
};

/// Waits for a job until it is cancelled.
template <class Function, class... Arguments>
class abandoning_operation : public operation, public job_waiter {
    using job = abandonable_job<Function, Arguments...>;

  public:
    explicit abandoning_operation(thread_pool& pool, Function function, Arguments... arguments)
        : pool_(pool), job_(new job(std::move(function), std::move(arguments)...)) {}

    static constexpr bool await_ready() noexcept { return false; }
    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        if (!begin(awaiting.promise())) [[unlikely]]
            return true;
        reactor& loop = reactor::here();
        try {
            job_->start(pool_, loop.expect_job(), *this);
        } catch (...) {
            loop.job_arrived();
            awaiting.promise().owner().resume_running();
            throw;
        }
        return true;
    }
    decltype(auto) await_resume() { return job_->call.get(); }

  private:
    void job_ended() noexcept override {
        reactor::here().job_arrived();
        complete();
    }
    void cancel() noexcept override {
        if (!pool_.remove(*job_))
            job_.release()->abandon();
        reactor::here().job_arrived();
        stop();
    }
    [[nodiscard]] std::string describe() const override { return "a job of a thread pool"; }

    thread_pool& pool_;
    std::unique_ptr<job> job_;
};

} // namespace detail
} // namespace hob
