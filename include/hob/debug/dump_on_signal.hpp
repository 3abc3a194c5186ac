// SPDX-License-Identifier: MIT
// hob::dump_on_signal: a look into a running program from outside.
#pragma once

#include <hob/core/event_loop.hpp>
#include <hob/core/fork_handlers.hpp>
#include <hob/core/home_process.hpp>

#include <signal.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

namespace hob {

/// While it lives, a signal makes its loop write `dump_tasks()`: `kill -USR1 PID` shows what every
/// task waits for. Make it in a task or a callback of the loop, and destroy it on the same thread;
/// one at a time in a process.
///
///     hob::dump_on_signal dumps(SIGUSR1);
///
/// The dump is made in the loop's own turn, so a loop that is blocked answers when it is free
/// again: see `stall_watchdog` for that. Signals that come faster than they are answered are
/// answered once.
class dump_on_signal {
  public:
    using writer = std::function<void(const std::string&)>;

    /// Throws `no_running_loop_error`, `usage_error` if there is one already, `std::system_error`
    /// for a signal that cannot be handled, and `std::bad_alloc`.
    explicit dump_on_signal(int signal = SIGUSR1, writer write = print,
                            dump_format format = dump_format::text) {
        const std::shared_ptr<detail::inbox>& loop = detail::reactor::current().get_inbox();
        std::unique_ptr<request, deleter> made(new request(loop, std::move(write), format));
        request* nobody = nullptr;
        if (!installed_.compare_exchange_strong(nobody, made.get()))
            throw usage_error("there is a dump_on_signal already");
        struct sigaction action{};
        action.sa_handler = [](int) { signalled(); };
        action.sa_flags = SA_RESTART;
        ::sigemptyset(&action.sa_mask);
        handled_.signal = signal;
        if (::sigaction(signal, &action, &handled_.previous) != 0) {
            const int error = errno;
            installed_.store(nullptr);
            detail::throw_errno(error, "sigaction for a dump_on_signal");
        }
        request_ = made.release();
    }
    dump_on_signal(const dump_on_signal&) = delete;
    dump_on_signal& operator=(const dump_on_signal&) = delete;
    ~dump_on_signal() {
        // A forked child's copy of the loop runs nothing any more, whatever its inbox has.
        if (!process_.is_here()) {
            deleter{}(request_);
            return;
        }
        handled_.restore();
        installed_.store(nullptr);
        // Another thread may still be in the handler.
        while (handlers_running_.load() != 0)
            std::this_thread::yield();
        request_->forget();
    }

    /// The default writer: to standard error.
    static void print(const std::string& dump) { std::fputs(dump.c_str(), stderr); }

  private:
    /// Goes through the loop's inbox, and may be on its way there when its owner is gone: then it
    /// deletes itself.
    class request final : public detail::ready_callback {
      public:
        request(std::shared_ptr<detail::inbox> loop, writer write, dump_format format)
            : loop_(std::move(loop)), write_(std::move(write)), format_(format) {}

        /// In the signal handler: atomics and write(2) only.
        void post() noexcept {
            if (!posted_.exchange(true) && !loop_->post(*this))
                posted_.store(false);
        }
        void forget() noexcept {
            if (posted_.load())
                is_forgotten_ = true;
            else
                delete this;
        }

        void run() noexcept override {
            if (is_forgotten_) {
                delete this;
                return;
            }
            // Before the dump, so that a signal which comes meanwhile gets one of its own.
            posted_.store(false);
            try {
                write_(event_loop::current().dump(format_));
            } catch (...) {
                detail::scheduler::here().report("a dump on a signal failed", nullptr,
                                                 std::current_exception());
            }
        }
        void discard() noexcept override {
            if (is_forgotten_)
                delete this;
            else
                posted_.store(false);
        }

      private:
        friend class dump_on_signal;
        ~request() = default;

        std::shared_ptr<detail::inbox> loop_;
        writer write_;
        dump_format format_;
        std::atomic<bool> posted_ = false;
        bool is_forgotten_ = false;
    };
    struct deleter {
        void operator()(request* made) const noexcept { delete made; }
    };

    static void signalled() noexcept {
        const int saved = errno;
        handlers_running_.fetch_add(1);
        if (request* const target = installed_.load())
            target->post();
        handlers_running_.fetch_sub(1);
        errno = saved;
    }

    /// In a forked child, which does not run the loop of its parent: it is as if there had never
    /// been one, also for another one.
    static void forget() noexcept {
        if (installed_.exchange(nullptr) == nullptr)
            return;
        handlers_running_.store(0);
        handled_.restore();
    }
    static inline const detail::fork_handlers at_fork_{nullptr, nullptr, forget};

    struct handled_signal {
        int signal;
        struct sigaction previous;
        void restore() const noexcept { ::sigaction(signal, &previous, nullptr); }
    };

    static inline handled_signal handled_{};
    static inline std::atomic<request*> installed_ = nullptr;
    static inline std::atomic<int> handlers_running_ = 0;

    request* request_ = nullptr;
    const detail::home_process process_;
};

} // namespace hob
