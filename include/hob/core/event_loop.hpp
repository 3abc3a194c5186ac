// SPDX-License-Identifier: MIT
// hob::event_loop: asyncio's loop. One thread, one ring.
#pragma once

#include <hob/core/kernel_ring.hpp>
#include <hob/core/reactor.hpp>
#include <hob/core/scheduled_call.hpp>
#include <hob/core/task_graph.hpp>
#include <hob/core/task_scope.hpp>
#include <hob/core/task_tree.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

namespace hob {

/// What an exception handler is told.
struct exception_context {
    std::string message;          ///< what happened, for people
    std::exception_ptr exception; ///< null when there is none
    std::string task;             ///< the task's name; empty when no task is concerned
    std::string stack;            ///< where it came from: the async stack, a line a frame
};
using exception_handler = std::function<void(const exception_context&)>;

/// How `dump_tasks` writes.
enum class dump_format {
    text, ///< a tree for people
    json, ///< an array of objects with `id`, `parent`, `kind`, `name`, `state`, `joins`, `frames`
    dot   ///< a graph for Graphviz: full lines to what is owned, dashed ones to what is joined
};

/// Lets other threads reach a loop. Copies are cheap; while one exists, the loop does not take
/// waiting for a deadlock. Stays valid, and refuses, after the loop has closed.
class loop_handle {
  public:
    /// Runs `function` on the loop's thread, in the order of the calls from one thread; wakes the
    /// loop if it sleeps. Returns false, and destroys `function` here, if the loop has closed. A
    /// function that the loop's closing overtakes is destroyed, not run, on the loop's thread.
    /// Any thread may call this. Throws `std::bad_alloc`.
    template <class Function> [[nodiscard]] bool call_soon_threadsafe(Function function) const {
        return detail::post_call(*inbox_, std::move(function));
    }

    /// Whether this loop runs on the calling thread.
    [[nodiscard]] bool is_current() const noexcept {
        return detail::current_scheduler != nullptr &&
               detail::reactor::here().get_inbox().get() == &*inbox_;
    }

  private:
    friend class event_loop;
    explicit loop_handle(const std::shared_ptr<detail::inbox>& inbox) noexcept : inbox_(inbox) {}
    detail::inbox_sender inbox_;
};

/// Runs tasks and callbacks on the thread that made it. Most programs need only `hob::run`.
///
/// Everything but `call_soon_threadsafe` and `get_handle` belongs to the loop's own thread; on
/// another one it throws `wrong_thread_error`, in a forked child `fork_error`, and after `close`
/// `loop_closed_error`.
class event_loop final : private detail::reactor {
  public:
    /// Sets up a ring. Throws `io_uring_error`, which says what is wrong and what to do.
    explicit event_loop(const ring_options& options = {})
        : event_loop(std::make_unique<detail::kernel_ring>(options)) {}
    /// Runs on something other than the kernel: see `hob::testing`.
    explicit event_loop(std::unique_ptr<detail::ring> kernel) : reactor(std::move(kernel)) {}
    /// Closes the loop. On another thread that ends the process, with `wrong_thread_error`.
    ~event_loop() {
        if (!closed_ && !is_forked())
            require_own_thread();
        shut_down();
    }

    /// The loop that runs on this thread. Throws `no_running_loop_error`.
    [[nodiscard]] static event_loop& current() {
        return static_cast<event_loop&>(reactor::current());
    }
    /// The same, or null.
    [[nodiscard]] static event_loop* current_or_null() noexcept {
        return static_cast<event_loop*>(static_cast<reactor*>(detail::current_scheduler));
    }

    /// The loop's clock: monotonic, in nanoseconds.
    [[nodiscard]] detail::time_point time() const noexcept { return now(); }

    /// Runs `function` in the next turn. An exception that leaves it goes to the exception handler.
    template <class Function> call_handle call_soon(Function function) {
        require_usable();
        detail::scheduled_call& call = detail::make_call(std::move(function));
        push(call);
        return call_handle(call);
    }
    /// Runs `function` once `delay` has passed, never earlier. A negative delay has passed already.
    template <class Rep, class Period, class Function>
    call_handle call_later(std::chrono::duration<Rep, Period> delay, Function function) {
        return call_at(detail::deadline_after(now(), delay), std::move(function));
    }
    /// Runs `function` once `time()` has reached `when`.
    template <class Function> call_handle call_at(detail::time_point when, Function function) {
        require_usable();
        detail::scheduled_call& call = detail::make_call(std::move(function));
        try {
            call.start_timer(*this, when);
        } catch (...) {
            call.discard();
            throw;
        }
        return call_handle(call);
    }
    /// See `loop_handle::call_soon_threadsafe`. The caller knows that this loop is alive.
    template <class Function> [[nodiscard]] bool call_soon_threadsafe(Function function) {
        return detail::post_call(*get_inbox(), std::move(function));
    }
    /// For other threads.
    [[nodiscard]] loop_handle get_handle() const { return loop_handle(get_inbox()); }

    /// Runs until `stop`. Throws what left a task as a `fatal_error`.
    void run_forever() {
        run_until([this] { return stopping_; }, false);
        stopping_ = false;
    }
    /// Makes `run_forever` return at the end of the turn at hand. Before it, makes it return
    /// after one turn. `runner::run` does not heed it.
    void stop() {
        require_usable();
        stopping_ = true;
        set(duty::return_soon);
    }
    [[nodiscard]] bool is_running() const noexcept { return running_loop_; }
    [[nodiscard]] bool is_closed() const noexcept { return closed_; }

    /// Cancels what is left, waits for it, and refuses all use from then on. Idempotent. Throws
    /// `usage_error` while the loop runs.
    void close() {
        if (closed_)
            return;
        require_usable();
        if (running_loop_)
            throw usage_error("an event loop was closed while it runs");
        shut_down();
    }

    /// Receives the errors that nobody awaits. An empty handler restores the default, which
    /// prints to standard error.
    void set_exception_handler(exception_handler handler) { handler_ = std::move(handler); }
    /// Empty while it is the default one.
    [[nodiscard]] const exception_handler& get_exception_handler() const noexcept {
        return handler_;
    }
    /// Gives an error to the handler, as the loop does. One that throws is told of, and the error
    /// goes to the default handler. Throws `std::bad_alloc`.
    void call_exception_handler(const exception_context& context) {
        if (handler_) {
            try {
                // A copy, so that a handler may replace itself.
                const exception_handler handler = handler_;
                handler(context);
                return;
            } catch (...) {
                default_exception_handler(
                    {"the exception handler threw", std::current_exception(), {}, {}});
            }
        }
        default_exception_handler(context);
    }
    /// The default handler, also for one that does something besides: prints to standard error.
    static void default_exception_handler(const exception_context& context) {
        std::string text = "hob: " + context.message;
        if (!context.task.empty())
            text += " (task '" + context.task + "')";
        if (context.exception)
            text += ": " + exception_group::describe(context.exception);
        text += "\n" + context.stack;
        std::fputs(text.c_str(), stderr);
    }
    /// Reports tasks that are destroyed before they were awaited, and steps longer than
    /// `slow_step`.
    void set_debug(bool on) noexcept { set(duty::debug, on); }
    [[nodiscard]] bool get_debug() const noexcept { return has(duty::debug); }
    /// How long one step of a task may take in debug mode before it is reported; 100 ms at first.
    void set_slow_step(std::chrono::nanoseconds limit) noexcept { slow_step_ = limit; }

    /// What stands behind the loop, for people.
    [[nodiscard]] const char* describe() noexcept { return kernel().describe(); }
    /// Operations that the kernel has at the moment.
    using reactor::operations_in_flight;

    /// All live tasks: see `hob::dump_tasks`.
    [[nodiscard]] std::string dump(dump_format format = dump_format::text) {
        // Operations describe themselves by the clock of the running loop.
        const detail::entered_loop here(*this);
        const detail::task_graph graph(*this);
        if (format == dump_format::json)
            return graph.json();
        if (format == dump_format::dot)
            return graph.dot();
        detail::task_tree tree(*this);
        tasks().for_each([&](detail::task_scope& each) { tree.add(each); });
        return std::move(tree.text()) + graph.cycles();
    }

  private:
    friend class runner;

    /// Runs turns until `finished()` holds, which is asked after each one.
    template <class Predicate> void run_until(Predicate finished, bool detect_deadlock) {
        require_startable();
        const running_guard guard(*this);
        watch_inbox();
        const auto stuck = [&] { return detect_deadlock && is_stuck(); };
        bool ended = false;
        do {
            turn([&] { return !(ended = finished()) && !stuck(); });
            if (fatal_)
                std::rethrow_exception(std::exchange(fatal_, nullptr));
            ended = ended || finished();
            if (!ended && stuck())
                throw deadlock_error(dump());
        } while (!ended);
    }

    void require_startable() const {
        require_usable();
        if (detail::current_scheduler != nullptr)
            throw usage_error("an event loop is already running on this thread: await the task "
                              "instead of calling run inside run");
    }

    class running_guard {
      public:
        explicit running_guard(event_loop& loop) noexcept : loop_(loop), running_(loop) {
            loop.running_loop_ = true;
            loop.set(duty::return_soon, loop.stopping_);
            loop.set(duty::leave, false);
            loop.note_stack();
            loop.set_awake(true);
        }
        ~running_guard() {
            loop_.running_loop_ = false;
            loop_.set_awake(false);
        }
        running_guard(const running_guard&) = delete;
        running_guard& operator=(const running_guard&) = delete;

      private:
        event_loop& loop_;
        // A loop may be closed while another one of its thread runs.
        detail::entered_loop running_;
    };

    void require_usable() const override {
        if (is_forked())
            throw fork_error();
        require_own_thread();
        if (closed_)
            throw loop_closed_error();
    }
    void require_own_thread() const {
        if (thread_ != std::this_thread::get_id())
            throw wrong_thread_error();
    }

    /// Cancels every task, and runs until all have ended or nothing can stop those that are left.
    void end_all_tasks() noexcept {
        // Again before it sleeps: a task may have started another one while it was being stopped.
        const auto cancel_each = [this] {
            tasks().for_each([](detail::task_scope& each) { each.cancel(); });
            return !tasks().empty() && !is_ready() && !is_stuck();
        };
        cancelling_all_ = true;
        if (!tasks().empty())
            watch_inbox();
        cancel_each();
        set(duty::return_soon);
        while (!tasks().empty() && !is_forked()) {
            turn(cancel_each);
            tell_fatal();
            if (is_stuck()) {
                cancel_each();
                if (!tasks().empty() && !is_ready())
                    break;
            }
            // A last turn for those who wait for the end of the last one.
            if (tasks().empty() && is_ready())
                turn([] { return false; });
        }
        tell_fatal();
        cancelling_all_ = false;
    }
    void tell_fatal() noexcept {
        if (fatal_)
            report("an exception ended a task while its loop was closing", nullptr,
                   std::exchange(fatal_, nullptr), nullptr);
        set(duty::leave, false);
    }
    /// Returns how many tasks are left behind. Tells of them if there are more than `told`.
    std::size_t tell_unstoppable(std::size_t told) noexcept {
        std::size_t left = 0;
        tasks().for_each([&left](detail::task_scope&) { ++left; });
        if (left <= told)
            return told;
        try {
            call_exception_handler({"tasks that nothing can stop are left behind when their loop "
                                    "closes",
                                    nullptr,
                                    {},
                                    dump()});
        } catch (...) {
            std::fputs("hob: tasks that nothing can stop are left behind when their loop closes\n",
                       stderr);
        }
        return left;
    }

    void shut_down() noexcept {
        if (closed_)
            return;
        closed_ = true;
        // The child cannot reach the operations that its copies of the tasks wait for, and their
        // failures are the parent's to report.
        if (is_forked()) {
            while (!failed_tasks().empty())
                static_cast<void>(failed_tasks().pop_front());
            return;
        }
        const running_guard guard(*this);
        std::uint32_t ended_tasks = tasks_made();
        end_all_tasks();
        const std::size_t told = tell_unstoppable(0);
        flush();
        // What is destroyed may post again, and so may other threads, which must not keep this
        // going.
        int rounds = 16;
        do {
            do
                take_posts();
            while (has(duty::posts));
            discard_all(ended_tasks);
        } while (!get_inbox()->empty() && --rounds != 0);
        get_inbox()->close(ready_);
        discard_all(ended_tasks);
        tell_unstoppable(told);
        discard_all(ended_tasks);
        // What was destroyed may have closed descriptors.
        flush();
    }
    /// Destroys the calls that are left, unrun, and reports the failures. Destructors and the
    /// exception handler may start and wake tasks, which are ended here as well. `ended_tasks` is
    /// how many were made before the last `end_all_tasks`.
    void discard_all(std::uint32_t& ended_tasks) noexcept {
        do {
            tell_fatal();
            // Before anything goes, so that nothing that is ready or timed is a task's, but for
            // those that nothing can stop.
            while (!is_forked() &&
                   (tasks_made() != ended_tasks || (!tasks().empty() && is_ready()))) {
                ended_tasks = tasks_made();
                end_all_tasks();
            }
        } while (discard_next());
    }
    /// Returns false if there was nothing any more.
    bool discard_next() noexcept {
        if (!ready_.empty()) {
            detail::ready_node& node = ready_.pop();
            if (node.is_callback())
                static_cast<detail::ready_callback&>(node).discard();
        } else if (!timers().empty()) {
            static_cast<detail::timed_operation&>(timers().pop()).discard();
        } else if (!failed_tasks().empty()) {
            failed_tasks().pop_front().tell_failure();
        } else {
            return false;
        }
        return true;
    }

    // detail::scheduler
    void report(const char* what, detail::scope* where, std::exception_ptr error,
                const detail::exception_trace* origin) noexcept override {
        // A task may learn of the end of another one, which it awaits, before its own comes: that
        // is no error.
        if (cancelling_all_ && detail::holds<cancelled_error>(error))
            return;
        try {
            exception_context context;
            context.message = what;
            context.exception = std::move(error);
            if (where != nullptr) {
                context.task = detail::task_of(*where).name();
                if (origin == nullptr)
                    context.stack = detail::task_tree(*this).stack(*where);
            }
            if (origin != nullptr)
                for (const std::source_location& each : *origin)
                    context.stack += detail::task_tree::line_of(each);
            call_exception_handler(context);
        } catch (...) {
            std::fputs("hob: an error could not be reported: out of memory\n", stderr);
        }
    }
    void fail(std::exception_ptr error) noexcept override {
        // Told once, however many tasks it goes through.
        if (error == last_fatal_)
            return;
        set(duty::leave);
        last_fatal_ = error;
        if (!fatal_)
            fatal_ = std::move(error);
    }

    // detail::reactor
    void ring_broke(int error) noexcept override {
        if (error == EEXIST)
            fail(std::make_exception_ptr(wrong_thread_error()));
        else
            fail(std::make_exception_ptr(
                io_uring_error(error, std::system_category(), "io_uring_enter")));
    }
    void run_timed(detail::ready_node& node) noexcept override {
        const detail::time_point start = now();
        // The node, and its task, may be gone afterwards.
        detail::task_scope* const task = task_of_node(node);
        if (task != nullptr)
            task->keep();
        run(node);
        set_running(nullptr);
        const auto taken = now() - start;
        if (taken >= slow_step_)
            report_slow_step(taken, task);
        if (task != nullptr)
            task->release();
    }
    [[gnu::cold]] void report_slow_step(std::chrono::nanoseconds taken,
                                        const detail::task_scope* task) noexcept {
        try {
            const auto count = std::chrono::duration_cast<std::chrono::milliseconds>(taken).count();
            call_exception_handler({"a step blocked the loop for " + std::to_string(count) + " ms",
                                    nullptr,
                                    task != nullptr ? task->name() : std::string(),
                                    {}});
        } catch (...) {
            std::fputs("hob: a slow step could not be reported: out of memory\n", stderr);
        }
    }
    [[nodiscard]] static detail::task_scope* task_of_node(detail::ready_node& node) noexcept {
        if (!node.is_callback())
            return &detail::task_of(static_cast<detail::promise_base&>(node).owner());
        auto* const scope =
            dynamic_cast<detail::scope*>(static_cast<detail::ready_callback*>(&node));
        return scope == nullptr ? nullptr : &detail::task_of(*scope);
    }

    exception_handler handler_;
    std::exception_ptr fatal_;
    std::exception_ptr last_fatal_;
    std::thread::id thread_ = std::this_thread::get_id();
    std::chrono::nanoseconds slow_step_ = std::chrono::milliseconds(100);
    bool stopping_ = false;
    bool running_loop_ = false;
    bool closed_ = false;
    bool cancelling_all_ = false; ///< because it closes
};

} // namespace hob
