// SPDX-License-Identifier: MIT
// hob::with_task_group: tasks that end before their group does.
#pragma once

#include <hob/core/callable.hpp>
#include <hob/core/combinator.hpp>
#include <hob/core/task_record.hpp>
#include <hob/task_handle.hpp>

#include <algorithm>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <iterator>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace hob {
template <class Value> class task_status;

namespace detail {
template <class Body, class T> class task_group_operation;
template <class Body, class Value> class start_operation;
} // namespace detail

/// Starts tasks that live no longer than the group: see `with_task_group`, which makes it.
class task_group : private detail::task_owner {
  public:
    task_group(const task_group&) = delete;
    task_group& operator=(const task_group&) = delete;

    /// Starts a child whose value nobody wants; its first step runs in the next turn. In a group
    /// that is being cancelled, the child is stopped at its first suspension. Throws `usage_error`,
    /// and destroys `child`, after a task of the group has failed and after the group has ended;
    /// `wrong_thread_error` on a thread other than the loop's; `std::bad_alloc`.
    template <class T> void start(task<T> child) { spawn<detail::unjoined_task<T>>(child); }
    /// The same for anything that can be awaited, which is kept meanwhile.
    template <detail::awaitable_to_spawn Awaitable>
    void start(Awaitable&& awaited, detail::source_pointer where = __builtin_source_location()) {
        start(detail::as_spawned_task(std::forward<Awaitable>(awaited), where));
    }

    /// `start` with a handle. A failure still cancels the group, also if the handle is awaited.
    template <class T> [[nodiscard]] task_handle<T> create_task(task<T> child) {
        auto& record = spawn<detail::task_record<T>>(child);
        // A failure goes to the group.
        record.mark_retrieved();
        return task_handle<T>(record, detail::adopt_reference);
    }
    /// The same for anything that can be awaited, which is kept meanwhile.
    template <detail::awaitable_to_spawn Awaitable>
    [[nodiscard]] auto create_task(Awaitable&& awaited,
                                   detail::source_pointer where = __builtin_source_location()) {
        return create_task(detail::as_spawned_task(std::forward<Awaitable>(awaited), where));
    }

    /// Starts a child that has something to prepare, and waits until it says that it is ready:
    /// Trio's `nursery.start`. Calls `body(status)`, which returns a `task<>`; the await ends when
    /// the child calls `status.started(value)`, and gives the value.
    ///
    ///     auto server = [&](hob::task_status<int>& status) -> hob::task<> {
    ///         auto listener = hob::tcp_listener::bind("::1", 0);
    ///         status.started(listener.local_address().port());
    ///         co_await serve(listener);
    ///     };
    ///     const int port = co_await group.start<int>(server);
    ///
    /// Until then the child belongs to the awaiting task: its failure is thrown here and leaves the
    /// group alone, and cancelling the awaiting task cancels the child and waits for it. A child
    /// that ends without a word is a `usage_error`, one that was cancelled a `cancelled_error`.
    /// Throws `usage_error` like the other `start`, and when awaited in another loop than the
    /// group's; if that runs on another thread, it is a `wrong_thread_error`.
    template <class Value = void, class Body>
        requires std::invocable<std::remove_reference_t<Body>&, task_status<Value>&>
    [[nodiscard]] auto start(Body&& body) {
        detail::check_callable<Body>();
        return detail::deferred<detail::start_operation<std::decay_t<Body>, Value>, task_group&,
                                std::decay_t<Body>>(*this, std::forward<Body>(body));
    }

    /// Cancels the body and every child; the group then ends without an error of its own. Throws
    /// `wrong_thread_error` on a thread other than the loop's.
    void cancel() {
        home_.require_here();
        const detail::entered_loop running(home_);
        cancelled_ = true;
        cancel_everything();
    }

    /// Whether the group is being cancelled: by `cancel`, because a task of it has failed, or with
    /// the awaiting task.
    [[nodiscard]] bool is_cancelled() const noexcept {
        return cancelled_ || !errors_.empty() || owner_.waiter().owner().is_cancelled();
    }

    /// How many children are alive.
    [[nodiscard]] std::size_t size() const noexcept { return live_; }

  private:
    template <class, class> friend class detail::task_group_operation;
    template <class, class> friend class detail::start_operation;

    explicit task_group(detail::combinator& owner) noexcept
        : owner_(owner), home_(detail::reactor::here()) {}
    ~task_group() {
        detail::check(children_.empty(), "a task group was destroyed while its tasks were alive");
    }

    template <class Record, class T> Record& spawn(task<T>& child) {
        const bool born_cancelled = is_being_cancelled();
        require_open();
        Record& record = detail::spawn<Record>(home_, *this, children_, child, born_cancelled);
        ++live_;
        announce_child();
        return record;
    }

    /// `is_cancelled` for what is about to begin. Throws on a thread other than the loop's.
    [[nodiscard]] bool is_being_cancelled() {
        if (detail::current_scheduler != &home_) [[unlikely]]
            return is_being_cancelled_seen_from_outside();
        return is_cancelled() || owner_.waiter().owner().is_being_cancelled();
    }
    [[nodiscard, gnu::cold, gnu::noinline]] bool is_being_cancelled_seen_from_outside() {
        home_.require_usable();
        const detail::entered_loop running(home_);
        return is_being_cancelled();
    }

    void require_open() const {
        if (ended_)
            throw usage_error("a task was started in a task group that has ended");
        if (!errors_.empty())
            throw usage_error("a task was started in a task group in which another task failed");
    }

    /// The child counts among what the group waits for.
    virtual void announce_child() noexcept = 0;
    virtual void child_has_ended() noexcept = 0;
    virtual void cancel_body() noexcept = 0;

    void cancel_everything() noexcept {
        children_.for_each([](detail::task_scope& each) { each.cancel(); });
        cancel_body();
    }

    void fail(const std::exception_ptr& error) noexcept {
        if (detail::is_fatal(error))
            home().fail(error);
        try {
            if (!is_known(error))
                errors_.push_back(error);
        } catch (...) {
            home().report("out of memory for an error of a task group", owning_scope(), error);
        }
        cancel_everything();
    }

    /// A task of the group that awaits another one fails with its exception, soon afterwards.
    [[nodiscard]] bool is_known(const std::exception_ptr& error) const noexcept {
        constexpr std::ptrdiff_t soon = 100;
        return std::find(errors_.end() - std::min(std::ssize(errors_), soon), errors_.end(),
                         error) != errors_.end();
    }

    // detail::task_owner
    [[nodiscard]] detail::scope* owning_scope() const noexcept override {
        return &owner_.waiter().owner();
    }
    [[nodiscard]] detail::scheduler& home() noexcept override { return home_; }
    void task_ended(detail::task_scope& ended, const std::exception_ptr& error) noexcept override {
        --live_;
        if (ended.has_been_stopped() && owner_.waiter().owner().is_cancelled())
            any_stopped_ = true;
        if (error)
            fail(error);
        child_has_ended();
    }

    detail::combinator& owner_;
    detail::reactor& home_;
    detail::intrusive_list<detail::task_scope> children_;
    std::vector<std::exception_ptr> errors_;
    std::size_t live_ = 0;
    bool cancelled_ = false;
    bool ended_ = false;
    bool any_stopped_ = false; ///< because the awaiting task was cancelled
};

namespace detail {

template <class Body, class T>
class task_group_operation final : public combinator, public task_group {
  public:
    explicit task_group_operation(Body body)
        : task_group(static_cast<combinator&>(*this)), body_(std::forward<Body>(body)),
          branch_(*this) {}

    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        return run_branches(awaiting.promise(), [this]() noexcept {
            try {
                task<T> coroutine = body_(static_cast<task_group&>(*this));
                require_root(coroutine);
                one_more();
                branch_.start_now(*coroutine.release(), is_waiter_cancelled() || cancelled_);
            } catch (...) {
                fail(std::current_exception());
            }
        });
    }

    T await_resume() {
        if (!errors_.empty())
            throw exception_group("tasks of a group failed", std::move(errors_));
        if (branch_.was_stopped()) {
            // By `task_group::cancel`.
            if constexpr (std::is_void_v<T>)
                return;
            else
                throw cancelled_error("the body of a task group");
        }
        return branch_.result().get();
    }

    void branch_ended(branch_base&) noexcept override {
        any_stopped_ = any_stopped_ || branch_.was_stopped();
        if (const std::exception_ptr error = branch_.error())
            fail(error);
        one_ended();
    }

  private:
    void announce_child() noexcept override { one_more(); }
    void child_has_ended() noexcept override { one_ended(); }
    void cancel_body() noexcept override { branch_.cancel(); }

    void cancel() noexcept override { cancel_everything(); }
    [[nodiscard]] bool must_stop() noexcept override {
        ended_ = true;
        if (!is_waiter_cancelled())
            return false;
        // What the group was for is done, unless a part of it was stopped or failed.
        if (!any_stopped_ && errors_.empty())
            return false;
        for (const std::exception_ptr& each : errors_)
            // A fatal one leaves `run`, which tells it.
            if (!is_fatal(each))
                task_group::home().report("a task of a group failed, and the group was cancelled",
                                          &waiter_->owner(), each);
        return true;
    }
    void visit_children(scope_visitor& visitor) override {
        visit_live(visitor, branch_);
        children_.for_each([&](task_scope& each) { visitor.visit(each); });
    }
    [[nodiscard]] std::string describe() const override {
        return "a task group (" + std::to_string(live_) + " children)";
    }

    Body body_;
    branch<T> branch_;
};

} // namespace detail

/// With it, a child that was started by `task_group::start(body)` says that it is ready.
template <class Value = void> class task_status {
  public:
    task_status(const task_status&) = delete;
    task_status& operator=(const task_status&) = delete;

    /// Ends the wait of `task_group::start`, which gives `value`; from then on the child belongs to
    /// the group. If that wait has been cancelled, so has the child, and it ends with the wait.
    /// Throws `usage_error` when called again, `wrong_thread_error` on a thread other than the
    /// loop's.
    template <class... Values>
        requires(std::is_void_v<Value> ? sizeof...(Values) == 0
                                       : std::constructible_from<Value, Values && ...>)
    void started(Values&&... value) {
        home_.require_here();
        if (called_)
            throw usage_error("a task said twice that it had started");
        if constexpr (!std::is_void_v<Value>)
            value_.emplace(std::forward<Values>(value)...);
        called_ = true;
        const detail::entered_loop running(home_);
        hand_over();
    }

  protected:
    explicit task_status(detail::scheduler& home) noexcept : home_(home) {}
    ~task_status() = default;

    [[nodiscard]] std::optional<detail::value_or_monostate<Value>>& value() noexcept {
        return value_;
    }
    [[nodiscard]] bool is_started() const noexcept { return called_; }

  private:
    virtual void hand_over() noexcept = 0;

    detail::scheduler& home_;
    std::optional<detail::value_or_monostate<Value>> value_;
    bool called_ = false;
};

namespace detail {

/// A child on its way into a group, and the callable that made it.
template <class Body, class Value>
using started_result = typename std::invoke_result_t<Body&, task_status<Value>&>::value_type;

/// A base, so that it is made first: moving it may throw, and what the task inherits would be lost.
template <class Body> struct started_body {
    Body body;
};

template <class Body, class Value>
class started_task final : private started_body<Body>,
                           public unjoined_task_base<started_result<Body, Value>>,
                           public task_status<Value> {
  public:
    started_task(task_owner& owner, reactor& loop, Body&& callable)
        : started_body<Body>{std::move(callable)},
          unjoined_task_base<started_result<Body, Value>>(owner, originate(loop), nullptr, 1),
          task_status<Value>(loop) {}

    using task_status<Value>::value;
    using task_status<Value>::is_started;
    [[nodiscard]] auto call_body() { return this->body(static_cast<task_status<Value>&>(*this)); }

  private:
    ~started_task() = default;
    void destroy() noexcept override {
        this->dispose();
        delete this;
    }
    void hand_over() noexcept override {
        static_cast<start_operation<Body, Value>&>(this->keeper()).child_is_ready();
    }
};

/// Keeps the child until it is ready.
template <class Body, class Value>
class start_operation final : public operation, public task_owner {
  public:
    using child_type = started_task<Body, Value>;

    start_operation(task_group& group, Body body) : group_(group), body_(std::move(body)) {}
    ~start_operation() {
        if (child_ != nullptr)
            child_->release();
    }

    static constexpr bool await_ready() noexcept { return false; }
    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        reactor& loop = reactor::here();
        group_.home_.require_here();
        if (&loop != &group_.home_)
            throw usage_error("a task was started in a task group by a task of another loop, which "
                              "cannot wait for it: use the `start` that waits for nothing");
        group_.require_open();
        if (!begin(awaiting.promise()))
            return true;
        try {
            child_ = new child_type(*this, loop, std::move(body_));
            auto coroutine = child_->call_body();
            require_root(coroutine);
            children_.push_back(*child_);
            // One reference is the keeper's.
            child_->keep();
            ++group_.live_;
            group_.announce_child();
            child_->start_soon(loop, *coroutine.release(), false);
            // A callable that is no coroutine may have said so itself.
            if (child_->is_started())
                child_is_ready();
        } catch (...) {
            waiter_->owner().resume_running();
            throw;
        }
        return true;
    }
    Value await_resume() {
        if (error_)
            std::rethrow_exception(error_);
        if (child_->has_been_stopped() && !handed_over_)
            throw cancelled_error(child_->name());
        if (!handed_over_)
            throw usage_error("a task of a task group ended without having said that it started");
        if constexpr (!std::is_void_v<Value>)
            return *std::move(child_->value());
    }

    void child_is_ready() noexcept {
        // There is no child to hand over yet.
        if (!child_->is_linked())
            return;
        // The wait is over already, and the child with it.
        if (child_->is_cancelled() && waiter_->owner().is_cancelled())
            return;
        handed_over_ = true;
        intrusive_list<task_scope>::remove(*child_);
        child_->change_keeper(group_);
        group_.children_.push_back(*child_);
        if (group_.is_cancelled())
            child_->cancel();
        complete();
    }

  private:
    // task_owner
    [[nodiscard]] scope* owning_scope() const noexcept override { return &waiter_->owner(); }
    [[nodiscard]] scheduler& home() noexcept override { return owning_scope()->home(); }
    void task_ended(task_scope&, const std::exception_ptr& error) noexcept override {
        --group_.live_;
        if (error && is_fatal(error))
            home().fail(error);
        if (waiter_->owner().is_cancelled()) {
            if (error && !is_fatal(error))
                home().report("a task failed while its start was being cancelled", owning_scope(),
                              error);
            stop();
        } else {
            error_ = error;
            complete();
        }
        group_.child_has_ended();
    }

    void cancel() noexcept override { child_->cancel(); }
    [[nodiscard]] std::string describe() const override { return "a task to start"; }
    void visit_children(scope_visitor& visitor) override {
        children_.for_each([&](task_scope& each) { visitor.visit(each); });
    }

    task_group& group_;
    Body body_;
    child_type* child_ = nullptr;
    intrusive_list<task_scope> children_;
    std::exception_ptr error_;
    bool handed_over_ = false;
};

} // namespace detail

/// Calls `body(group)`, which returns a task, awaits it, and then waits for every task that was
/// started in the group; returns the body's value. So no task outlives the group.
///
///     co_await hob::with_task_group([&](hob::task_group& group) -> hob::task<> {
///         group.start(work(1));
///         group.start(work(2));
///         co_return;
///     });
///
/// If the body or a child fails, the others are cancelled and awaited, and an `exception_group` is
/// thrown with all the exceptions in the order in which they came. A child that is cancelled on its
/// own is no failure. If `group.cancel()` stopped a body that is to give a value, `cancelled_error`
/// is thrown.
///
/// Cancelling the awaiting task cancels the body and the children and waits for them; exceptions
/// of theirs then go to the loop's exception handler. A `fatal_error` leaves `run` at once.
///
/// The closure lives until the group has ended, so the body may use its captures throughout.
template <class Body>
    requires std::invocable<Body&, task_group&>
auto with_task_group(Body&& body) {
    detail::check_callable<Body>();
    using body_task = std::invoke_result_t<Body&, task_group&>;
    static_assert(detail::is_task<body_task>, "hob: the body of a task group returns a hob::task");
    using T = typename body_task::value_type;
    return detail::deferred<detail::task_group_operation<Body, T>, Body>(std::forward<Body>(body));
}

} // namespace hob
