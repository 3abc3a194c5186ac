// SPDX-License-Identifier: MIT
// hob::run and hob::runner: a program's way into its tasks.
#pragma once

#include <hob/core/event_loop.hpp>
#include <hob/core/fork_handlers.hpp>
#include <hob/core/home_process.hpp>
#include <hob/task.hpp>
#include <hob/task_handle.hpp>

#include <signal.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <thread>
#include <utility>

namespace hob {

/// The settings of a runner's loop.
class runner_options {
  public:
    runner_options() = default;

    ring_options ring;
    /// Whether Ctrl-C cancels the main task. Only one runner of a process at a time listens.
    bool handle_interrupt = true;
    /// See `event_loop::set_debug`.
    bool debug = false;
};

namespace detail {

/// While it lives, the first SIGINT cancels a task, and the second one ends the process as it
/// would without us.
class interrupt_guard {
  public:
    /// Throws `std::bad_alloc`. Does nothing if another guard listens already, or if somebody
    /// handles or ignores the signal.
    interrupt_guard(inbox& target, scope& main) {
        inbox* nobody = nullptr;
        struct sigaction previous{};
        ::sigaction(SIGINT, nullptr, &previous);
        if (previous.sa_handler != SIG_DFL)
            return;
        auto* const order = new cancel_order(main);
        if (!target_.compare_exchange_strong(nobody, &target)) {
            delete order;
            return;
        }
        order_ = order;
        pending_order_.store(order_);
        struct sigaction action{};
        action.sa_handler = [](int) { interrupted(); };
        // The second signal meets the default disposition.
        action.sa_flags = static_cast<int>(SA_RESETHAND);
        ::sigemptyset(&action.sa_mask);
        ::sigaction(SIGINT, &action, nullptr);
    }
    ~interrupt_guard() {
        if (order_ == nullptr)
            return;
        if (!process_.is_here()) {
            delete order_;
            return;
        }
        restore_default();
        // First of all, for a handler that begins only now on another thread.
        const bool was_posted = pending_order_.exchange(nullptr) == nullptr;
        target_.store(nullptr);
        // One that has taken the order may still be posting it.
        while (handlers_running_.load() != 0)
            std::this_thread::yield();
        if (!was_posted || order_->is_done())
            delete order_;
        else
            order_->forget();
    }
    interrupt_guard(const interrupt_guard&) = delete;
    interrupt_guard& operator=(const interrupt_guard&) = delete;

    /// Whether the signal came while the task was alive.
    [[nodiscard]] bool was_interrupted() const noexcept {
        return order_ != nullptr && order_->has_cancelled();
    }

  private:
    /// Goes through the inbox. When the run ends first, the node stays behind there, and deletes
    /// itself when the loop comes across it.
    class cancel_order final : public ready_callback {
      public:
        explicit cancel_order(scope& main) noexcept : main_(&main) {}

        void run() noexcept override {
            if (main_ == nullptr) {
                delete this;
                return;
            }
            done_ = true;
            cancelled_ = main_->cancel();
        }
        void discard() noexcept override { run(); }
        void forget() noexcept { main_ = nullptr; }
        [[nodiscard]] bool is_done() const noexcept { return done_; }
        [[nodiscard]] bool has_cancelled() const noexcept { return cancelled_; }

      private:
        scope* main_;
        bool done_ = false;
        bool cancelled_ = false;
    };

    // In a signal handler: atomics and write(2) only.
    static void interrupted() noexcept {
        const int saved = errno;
        handlers_running_.fetch_add(1);
        inbox* const target = target_.load();
        cancel_order* const order = pending_order_.exchange(nullptr);
        if (target != nullptr && order != nullptr) [[maybe_unused]]
            const bool posted = target->post(*order);
        handlers_running_.fetch_sub(1);
        errno = saved;
    }

    static void restore_default() noexcept {
        struct sigaction standard{};
        standard.sa_handler = SIG_DFL;
        ::sigemptyset(&standard.sa_mask);
        ::sigaction(SIGINT, &standard, nullptr);
    }
    /// In a forked child, which does not run the loop of its parent: it is as if there had never
    /// been a guard, also for another one.
    static void forget() noexcept {
        if (target_.exchange(nullptr) == nullptr)
            return;
        pending_order_.store(nullptr);
        handlers_running_.store(0);
        restore_default();
    }
    static inline const fork_handlers at_fork_{nullptr, nullptr, forget};

    static inline std::atomic<inbox*> target_ = nullptr;
    static inline std::atomic<cancel_order*> pending_order_ = nullptr;
    static inline std::atomic<int> handlers_running_ = 0;

    cancel_order* order_ = nullptr;
    const home_process process_;
};

/// Makes the loop look up when its main task has ended.
class end_watch final : public task_watcher {
  public:
    end_watch(reactor& loop, joinable_task& main) noexcept : loop_(loop), main_(main) {
        main.add_watcher(*this);
    }
    ~end_watch() {
        if (is_linked())
            main_.remove_watcher(*this);
    }

  private:
    void task_ended() noexcept override { loop_.set(reactor::duty::return_soon); }

    reactor& loop_;
    joinable_task& main_;
};

} // namespace detail

/// Keeps a loop for several runs: asyncio's Runner. The destructor closes the loop, which cancels
/// and awaits what is left.
class runner {
  public:
    /// Throws `io_uring_error`, which says what is wrong and what to do.
    explicit runner(const runner_options& options = {})
        : runner(std::make_unique<event_loop>(options.ring), options) {}
    /// Takes a loop that was made otherwise.
    explicit runner(std::unique_ptr<event_loop> loop, const runner_options& options = {})
        : loop_(std::move(loop)), handle_interrupt_(options.handle_interrupt) {
        loop_->set_debug(options.debug);
    }

    /// Runs `main` as a task until it ends; returns its value or throws its exception. Other tasks
    /// go on in the next call. Throws `interrupted_error` after Ctrl-C has cancelled the task and
    /// it has cleaned up (a second Ctrl-C ends the process), `cancelled_error` if something else
    /// cancelled it, `deadlock_error` if nothing can ever wake it, and `usage_error` inside a
    /// running loop.
    template <class T> T run(task<T> main) {
        event_loop& loop = *loop_;
        loop.require_startable();
        detail::task_record<T>& record =
            detail::spawn<detail::task_record<T>>(loop, loop, loop.tasks(), main, false);
        // Keeps the record. A fatal error or a deadlock leaves the task alive in its loop.
        const task_handle<T> handle(record, detail::adopt_reference);
        record.mark_retrieved();
        const bool interrupted = run_to_end(record);
        if (handle.cancelled()) {
            if (interrupted)
                throw interrupted_error();
            throw cancelled_error(handle.name());
        }
        record.rethrow();
        return record.take();
    }

    [[nodiscard]] event_loop& loop() noexcept { return *loop_; }
    /// Cancels and awaits what is left. Idempotent.
    void close() { loop_->close(); }

  private:
    /// Returns whether Ctrl-C cancelled the task.
    bool run_to_end(detail::joinable_task& main) {
        const auto ended = [&main] { return main.is_done(); };
        detail::end_watch watch(*loop_, main);
        if (!handle_interrupt_) {
            loop_->run_until(ended, true);
            return false;
        }
        const detail::interrupt_guard guard(*loop_->get_inbox(), main);
        loop_->run_until(ended, true);
        return guard.was_interrupted();
    }

    std::unique_ptr<event_loop> loop_;
    bool handle_interrupt_;
};

/// Makes a loop, runs `main` in it, cancels and awaits the tasks that are left, and closes the
/// loop: asyncio.run. Returns the task's value or throws its exception; see `runner::run`.
template <class T> T run(task<T> main, const runner_options& options = {}) {
    runner scope(options);
    return scope.run(std::move(main));
}

/// The same for a task without a value, made for `return hob::run(...)` in `main`: returns 0, or
/// 130, which is a shell's word for "ended by Ctrl-C".
inline int run(task<void> main, const runner_options& options = {}) {
    runner scope(options);
    try {
        scope.run(std::move(main));
    } catch (const interrupted_error&) {
        return 130;
    }
    return 0;
}

} // namespace hob
