// SPDX-License-Identifier: MIT
// hob::async_generator: a coroutine that gives values one at a time, and may wait in between.
#pragma once

#include <hob/core/generator_task.hpp>
#include <hob/task_handle.hpp>

#include <coroutine>
#include <exception>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace hob {

/// `co_await hob::this_generator` in an async generator gives its `generator_output`.
struct this_generator_t {
    explicit this_generator_t() = default;
};
inline constexpr this_generator_t this_generator{};

/// Lets the tasks that a generator awaits give values in its place, as for a cleanup that awaits:
///
///     hob::async_generator<std::string> lines(hob::address server) {
///         auto stream = co_await hob::tcp_stream::connect(server);
///         auto& out = co_await hob::this_generator;
///         auto body = give_lines(stream, out); // a task that awaits `out.yield(line)`
///         co_await hob::finally(std::move(body), say_goodbye(stream));
///     }
template <class T> class generator_output {
  public:
    explicit generator_output(detail::generator_task<T>& generator) noexcept
        : generator_(generator) {}
    generator_output(const generator_output&) = delete;
    generator_output& operator=(const generator_output&) = delete;

    /// Awaiting hands over `value`, if need be once somebody comes to ask for it, and waits until
    /// the next one is asked for. Stops the generator if nobody will. Throws `usage_error` for a
    /// second value at once, and in the cleanup of a generator that is being stopped.
    [[nodiscard]] auto yield(T value) {
        return detail::deferred<detail::yield_operation<T>, detail::generator_task<T>&, T>(
            generator_, std::move(value));
    }

  private:
    detail::generator_task<T>& generator_;
};

namespace detail {

template <class T> class generator_promise final : public generator_promise_base {
  public:
    async_generator<T>
    get_return_object(detail::source_pointer where = __builtin_source_location()) noexcept;

    auto yield_value(T value, source_pointer where = __builtin_source_location()) noexcept {
        this->set_position(where);
        return yield_operation<T>(*task, std::move(value));
    }

    using generator_promise_base::await_transform;
    auto await_transform(this_generator_t) noexcept { return output_awaiter{task->output()}; }

    generator_task<T>* task = nullptr; ///< from the first step on

  private:
    class output_awaiter {
      public:
        explicit output_awaiter(generator_output<T>& output) noexcept : output_(output) {}
        static constexpr bool await_ready() noexcept { return true; }
        static constexpr void await_suspend(std::coroutine_handle<>) noexcept {}
        [[nodiscard]] generator_output<T>& await_resume() const noexcept { return output_; }

      private:
        generator_output<T>& output_;
    };
};

/// Waits for the next value.
template <class T> class next_operation final : public generator_user<T> {
  public:
    explicit next_operation(async_generator<T>& generator) noexcept
        : generator_user<T>(generator) {}

    static constexpr bool await_ready() noexcept { return false; }
    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        // Before there is a task, which nothing could stop until it has a first step to make.
        if (!this->generator_.is_started() && awaiting.promise().owner().is_being_cancelled())
            return !this->begin(awaiting.promise());
        generator_task<T>& task = this->generator_.require_task();
        if (task.is_done()) {
            error_ = task.take_error();
            stopped_ = task.take_stop();
            return stopped_ && awaiting.promise().owner().is_being_cancelled() &&
                   !this->begin(awaiting.promise());
        }
        task.require_free();
        this->task_ = &task;
        if (!this->begin(awaiting.promise()))
            return true;
        scheduler& loop = scheduler::here();
        at_once_ = loop.may_nest() && loop.spend_budget();
        try {
            task.go_on(*this, at_once_);
        } catch (...) {
            this->waiter_->owner().resume_running();
            throw;
        }
        // Otherwise what is settled has been completed, and comes in its turn.
        if (!std::exchange(at_once_, false) || !settled_)
            return true;
        this->waiter_->owner().resume_running();
        return false;
    }
    std::optional<T> await_resume() {
        if (error_)
            std::rethrow_exception(error_);
        if (stopped_)
            throw cancelled_error("an async generator");
        return std::move(value_);
    }

    void take_value(T& value) override {
        value_.emplace(std::move(value));
        settle();
    }
    void generator_ended(const std::exception_ptr& error, bool stopped) noexcept override {
        if (stopped && !at_once_ && this->waiter_->owner().is_cancelled()) {
            this->stop();
            return;
        }
        error_ = error;
        stopped_ = stopped;
        settle();
    }

  private:
    void settle() noexcept {
        settled_ = true;
        // Inside its own step it sees that for itself.
        if (!at_once_)
            this->complete();
    }
    void cancel() noexcept override { this->task_->cancel(); }
    [[nodiscard]] std::string describe() const override {
        return "the next value of the async generator '" + this->task_->name() + "'";
    }
    [[nodiscard]] const scope* joined_task() const noexcept override { return this->task_; }

    std::optional<T> value_;
    std::exception_ptr error_;
    bool at_once_ = false;
    bool settled_ = false;
    bool stopped_ = false;
};

/// Waits for the end of a generator that was told to stop; is not stopped itself.
template <class T> class close_generator_operation final : public generator_user<T> {
  public:
    explicit close_generator_operation(async_generator<T>& generator) noexcept
        : generator_user<T>(generator) {}

    static constexpr bool await_ready() noexcept { return false; }
    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        if (!this->generator_.is_started()) {
            this->generator_.discard();
            return false;
        }
        generator_task<T>& task = this->generator_.require_task();
        if (task.is_done()) {
            error_ = task.take_error();
            static_cast<void>(task.take_stop());
            return false;
        }
        task.require_free();
        this->task_ = &task;
        this->begin_shielded(awaiting.promise());
        task.stop_for(*this);
        return true;
    }
    void await_resume() {
        if (error_)
            std::rethrow_exception(error_);
    }

    void take_value(T&) override {}
    void generator_ended(const std::exception_ptr& error, bool) noexcept override {
        error_ = error;
        this->complete();
    }

  private:
    void cancel() noexcept override {}
    [[nodiscard]] std::string describe() const override {
        return "the end of the async generator '" + this->task_->name() + "'";
    }

    std::exception_ptr error_;
};

} // namespace detail

/// A coroutine that gives any number of values with `co_yield` and may await in between. Lazy: it
/// moves only while somebody waits in `next`.
///
///     hob::async_generator<int> count(int last) {
///         for (int each = 1; each <= last; ++each) {
///             co_await hob::sleep_for(1s);
///             co_yield each;
///         }
///     }
///
///     auto numbers = count(3);
///     while (auto number = co_await numbers.next())
///         use(*number);
///
/// From the first `next` on it is a task of the loop with a name, context variables and a place in
/// `dump_tasks` of its own. Move-only, also while a task waits in `next`. `T` is an object type
/// that can be moved.
///
/// What a generator keeps around a `co_yield` goes on while nobody waits in `next`: a time limit
/// may pass there, and a child of a task group may fail. The generator then leaves the `co_yield`,
/// as it would any other await, and runs until it has a value or ends. The next `next` gives that
/// value, or throws what has left the generator; an exception of one that is dropped before goes to
/// the loop's exception handler.
///
/// Dropping a generator that has not ended cancels it: it is stopped where it stands, and cleanups
/// of `finally` in it are run to their end by the loop. They must not use what is gone by then;
/// `close` waits for them. Cancelling a task in `next` stops the generator, too, with its cleanups,
/// before the task; the generator has ended then.
template <class T>
class [[nodiscard("an async generator does nothing until it is asked")]] async_generator {
    static_assert(std::is_object_v<T> && std::move_constructible<T>,
                  "hob: an async generator gives movable objects");

  public:
    using promise_type = detail::generator_promise<T>;
    using value_type = T;

    async_generator(async_generator&& other) noexcept
        : coroutine_(std::exchange(other.coroutine_, nullptr)),
          task_(std::exchange(other.task_, nullptr)) {}
    async_generator& operator=(async_generator&& other) noexcept {
        if (this != &other) {
            drop();
            coroutine_ = std::exchange(other.coroutine_, nullptr);
            task_ = std::exchange(other.task_, nullptr);
        }
        return *this;
    }
    ~async_generator() { drop(); }

    /// Awaiting gives the next value, or an empty optional once the generator has returned.
    /// Rethrows an exception that leaves the generator, or has left it since the last call, once;
    /// it has ended then. Throws `cancelled_error`, once as well, if something else stopped it, and
    /// `usage_error` if a task waits for it already, in another loop than the first one's, after a
    /// move, and after a `close` that came before the first `next`. In a cancelled scope it is
    /// stopped before the generator moves.
    [[nodiscard]] auto next() noexcept {
        return detail::deferred<detail::next_operation<T>, async_generator&>(*this);
    }

    /// Awaiting stops the generator where it stands, and waits until its cleanups have run. An
    /// exception that leaves a cleanup is reported, see `hob::finally`; one that leaves the
    /// generator itself, or has left it and that no `next` has thrown, is thrown here. That it was
    /// stopped already is no error. A cancellation of the awaiting task waits as well.
    [[nodiscard]] auto close() noexcept {
        return detail::deferred<detail::close_generator_operation<T>, async_generator&>(*this);
    }

  private:
    friend promise_type;
    friend class detail::next_operation<T>;
    friend class detail::close_generator_operation<T>;

    explicit async_generator(promise_type& coroutine) noexcept : coroutine_(&coroutine) {}

    [[nodiscard]] bool is_started() const noexcept { return task_ != nullptr; }

    [[nodiscard]] detail::generator_task<T>& require_task() {
        if (task_ == nullptr) {
            if (coroutine_ == nullptr)
                throw usage_error("an async generator was used that was moved from or closed");
            task_ = &detail::generator_task<T>::make(*coroutine_);
            std::exchange(coroutine_, nullptr)->task = task_;
        }
        return *task_;
    }

    void discard() noexcept {
        if (coroutine_ != nullptr)
            std::exchange(coroutine_, nullptr)->coroutine().destroy();
    }
    void drop() noexcept {
        discard();
        if (task_ != nullptr)
            std::exchange(task_, nullptr)->abandon();
    }

    promise_type* coroutine_; ///< until it is started
    detail::generator_task<T>* task_ = nullptr;
};

namespace detail {

template <class T>
async_generator<T> generator_promise<T>::get_return_object(source_pointer where) noexcept {
    this->set_position(where);
    return async_generator<T>(*this);
}

} // namespace detail
} // namespace hob
