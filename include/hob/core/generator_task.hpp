// SPDX-License-Identifier: MIT
// The task that an async generator runs as, and the hand-over of its values.
#pragma once

#include <hob/core/task_record.hpp>
#include <hob/task.hpp>

#include <coroutine>
#include <exception>
#include <memory>
#include <string>
#include <utility>

namespace hob {

template <class T> class async_generator;
template <class T> class generator_output;

namespace detail {

template <class T> class generator_task;
template <class T> class yield_operation;

/// A coroutine that waits for something of a generator.
template <class T> class generator_user : public operation {
  public:
    /// Throws what moving the value throws, and it stays then.
    virtual void take_value(T& value) = 0;
    virtual void generator_ended(const std::exception_ptr& error, bool stopped) noexcept = 0;

  protected:
    explicit generator_user(async_generator<T>& generator) noexcept : generator_(generator) {}
    ~generator_user() = default;

    async_generator<T>& generator_;     ///< until it waits
    generator_task<T>* task_ = nullptr; ///< from then on: the object may move, and go
};

class generator_promise_base : public coroutine_promise {
  public:
    void unhandled_exception() noexcept {
        scheduler::here().trace.leave(*this);
        error = std::current_exception();
    }
    static void return_void() noexcept {}

    std::exception_ptr error;

  protected:
    generator_promise_base() = default;
    ~generator_promise_base() = default;
};

/// Stands at a `yield_operation` while nobody waits for it. It may leave that all the same, when a
/// time limit passes or a child of a group fails: then it keeps, for who asks next, how it has
/// ended or the value that it has come to.
template <class T> class generator_task final : public task_scope {
  public:
    /// Throws `no_running_loop_error`, `std::bad_alloc`.
    [[nodiscard]] static generator_task& make(generator_promise_base& root) {
        reactor& loop = reactor::current();
        auto* const made = new generator_task(loop, root);
        loop.tasks().push_back(*made);
        return *made;
    }

    [[nodiscard]] generator_output<T>& output() noexcept { return output_; }

    /// Throws unless `user` may ask for something.
    void require_free() {
        require_home();
        if (user_ != nullptr)
            throw usage_error("two tasks wait for one async generator at once");
    }

    /// Runs to the next value, inside the current step if `at_once`. Throws what the hand-over of a
    /// value throws that waits already, and the value stays then.
    void go_on(generator_user<T>& user, bool at_once) {
        if (yielding_ != nullptr && !yielding_->is_given()) [[unlikely]] {
            yielding_->give(user);
            return;
        }
        user_ = &user;
        if (promise_base* const root = std::exchange(root_, nullptr)) {
            if (at_once)
                start_now(*root, false);
            else
                start_soon(home(), *root, false);
        } else if (yielding_ != nullptr) {
            std::exchange(yielding_, nullptr)->go_on(at_once);
        }
    }

    void stop_for(generator_user<T>& user) noexcept {
        user_ = &user;
        cancel(home());
    }

    // When it has ended: what nobody has been told yet, once.

    /// The exception that left it, or null. Throws `usage_error` in another loop than its own.
    [[nodiscard]] std::exception_ptr take_error() {
        if (!keeps_error())
            return nullptr;
        require_home();
        return take_kept_error();
    }
    /// Whether it was stopped.
    [[nodiscard]] bool take_stop() noexcept { return std::exchange(is_stop_untold_, false); }

    /// The generator object is gone.
    void abandon() noexcept {
        is_abandoned_ = true;
        if (root_ != nullptr) {
            // Asked for, but refused before its first step.
            std::exchange(root_, nullptr)->coroutine().destroy();
            leave_owner();
            release();
        } else if (!is_done()) {
            cancel(home());
        } else if (keeps_error()) {
            report_error(take_kept_error());
        }
        release();
    }

    // For its yield operations.
    [[nodiscard]] bool may_yield() const noexcept {
        return yielding_ == nullptr && !is_cancelled();
    }
    void yield(yield_operation<T>& from) {
        if (user_ != nullptr) {
            from.give(*user_);
            user_ = nullptr;
        }
        yielding_ = &from;
    }
    void forget_yield() noexcept { yielding_ = nullptr; }

  private:
    static constexpr unsigned loop_and_generator = 2; // refer to it

    generator_task(reactor& loop, promise_base& root)
        : task_scope(loop, originate(loop), nullptr, loop_and_generator), output_(*this),
          root_(&root) {}
    ~generator_task() = default;

    void finished(promise_base& root) noexcept override {
        const std::exception_ptr error =
            std::move(static_cast<generator_promise_base&>(root).error);
        root.coroutine().destroy();
        ended(error, false);
    }
    void unwound() noexcept override { ended(nullptr, true); }
    void destroy() noexcept override {
        this->dispose();
        delete this;
    }

    void ended(const std::exception_ptr& error, bool stopped) noexcept {
        if (error) {
            note_failure();
            leave_owner(error);
        } else {
            leave_owner();
        }
        tell_watchers_of_details();
        if (user_ != nullptr)
            std::exchange(user_, nullptr)->generator_ended(error, stopped);
        else if (!error)
            is_stop_untold_ = stopped;
        else if (is_abandoned_)
            report_error(error, &scheduler::here().trace);
        else
            keep_error(error);
        release();
    }

    void require_home() {
        if (&home() != &scheduler::here())
            throw usage_error("an async generator was used in another loop than its own");
    }

    /// Until somebody asks, but no longer than the loop lives.
    void keep_error(const std::exception_ptr& error) noexcept {
        error_ = error;
        try {
            details().trace = std::make_unique<exception_trace>(scheduler::here().trace);
        } catch (...) {
            // The report will do without.
        }
        reactor::here().failed_tasks().push_back(*this);
    }
    /// In the list of its loop, which therefore lives. The copy of one in a forked child, whose
    /// loop has let go of it, is nobody's business.
    [[nodiscard]] bool keeps_error() const noexcept { return error_ && is_linked(); }
    [[nodiscard]] std::exception_ptr take_kept_error() noexcept {
        intrusive_list<task_scope>::remove(*this);
        return std::exchange(error_, nullptr);
    }
    void tell_failure() noexcept override {
        // The exception handler may drop the generator.
        keep();
        report_error(std::exchange(error_, nullptr));
        release();
    }
    void report_error(const std::exception_ptr& error) noexcept {
        const task_details* const known = details_if_any();
        report_error(error, known != nullptr ? known->trace.get() : nullptr);
    }
    void report_error(const std::exception_ptr& error, const exception_trace* trace) noexcept {
        if (!is_fatal(error))
            home().report("an exception left an async generator that nobody awaits", this, error,
                          trace);
    }

    generator_output<T> output_;
    promise_base* root_; ///< until it is started
    generator_user<T>* user_ = nullptr;
    yield_operation<T>* yielding_ = nullptr;
    std::exception_ptr error_; ///< until somebody is told
    bool is_stop_untold_ = false;
    bool is_abandoned_ = false;
};

/// Hands a value to who waits in `next`, or to who comes first if nobody does, and waits until
/// another one is asked for.
template <class T> class yield_operation final : public operation {
  public:
    yield_operation(generator_task<T>& generator, T value)
        : generator_(generator), value_(std::move(value)) {}

    static constexpr bool await_ready() noexcept { return false; }
    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        if (!begin(awaiting.promise()))
            return true;
        try {
            if (!generator_.may_yield())
                throw usage_error("an async generator gave a value that nobody asked for");
            generator_.yield(*this);
        } catch (...) {
            waiter_->owner().resume_running();
            throw;
        }
        return true;
    }
    static constexpr void await_resume() noexcept {}

    [[nodiscard]] bool is_given() const noexcept { return is_given_; }
    void give(generator_user<T>& user) {
        user.take_value(value_);
        is_given_ = true;
    }
    void go_on(bool at_once) noexcept {
        if (at_once) {
            waiter_->owner().resume_running();
            scheduler::here().resume_nested(*waiter_);
        } else {
            complete();
        }
    }

  private:
    void cancel() noexcept override {
        generator_.forget_yield();
        stop();
    }
    [[nodiscard]] std::string describe() const override {
        return "somebody to ask for the next value";
    }

    generator_task<T>& generator_;
    T value_;
    bool is_given_ = false;
};

} // namespace detail
} // namespace hob
