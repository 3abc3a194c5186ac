// SPDX-License-Identifier: MIT
// The task that an async generator runs as, and the hand-over of its values.
#pragma once

#include <hob/core/task_record.hpp>
#include <hob/task.hpp>

#include <coroutine>
#include <exception>
#include <string>
#include <utility>

namespace hob {

template <class T> class async_generator;
template <class T> class generator_output;

namespace detail {

template <class T> class yield_operation;

/// A coroutine that waits for something of a generator.
template <class T> class generator_user : public operation {
  public:
    [[nodiscard]] virtual bool takes_values() const noexcept = 0;
    virtual void take_value(T& value) = 0;
    virtual void generator_ended(const std::exception_ptr& error, bool stopped) noexcept = 0;

  protected:
    generator_user() = default;
    ~generator_user() = default;
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

/// Stands at a `yield_operation` while nobody waits for it.
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
        if (&home() != &scheduler::here())
            throw usage_error("an async generator was used in another loop than its own");
        if (user_ != nullptr)
            throw usage_error("two tasks wait for one async generator at once");
    }

    /// Runs to the next value, inside the current step if `at_once`.
    void go_on(generator_user<T>& user, bool at_once) noexcept {
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

    /// The generator object is gone.
    void abandon() noexcept {
        if (root_ != nullptr) {
            // Asked for, but refused before its first step.
            std::exchange(root_, nullptr)->coroutine().destroy();
            leave_owner();
            release();
        } else if (!is_done()) {
            cancel(home());
        }
        release();
    }

    // For its yield operations.
    [[nodiscard]] bool may_yield() const noexcept {
        return yielding_ == nullptr && user_ != nullptr && user_->takes_values();
    }
    void yield(yield_operation<T>& from, T& value) {
        user_->take_value(value);
        user_ = nullptr;
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
        else if (error && !is_fatal(error))
            scheduler::here().report("an exception left an async generator that nobody awaits",
                                     this, error);
        release();
    }

    generator_output<T> output_;
    promise_base* root_; ///< until it is started
    generator_user<T>* user_ = nullptr;
    yield_operation<T>* yielding_ = nullptr;
};

/// Hands a value to who waits in `next`, and waits until another one is asked for.
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
            generator_.yield(*this, value_);
        } catch (...) {
            waiter_->owner().resume_running();
            throw;
        }
        return true;
    }
    static constexpr void await_resume() noexcept {}

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
};

} // namespace detail
} // namespace hob
