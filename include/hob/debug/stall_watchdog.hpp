// SPDX-License-Identifier: MIT
// hob::stall_watchdog: who blocks the loop, told while it blocks.
#pragma once

#include <hob/core/event_loop.hpp>
#include <hob/core/home_process.hpp>
#include <hob/core/task_tree.hpp>
#include <hob/core/undestroyed.hpp>

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <source_location>
#include <string>
#include <thread>
#include <utility>

namespace hob {

/// What a `stall_watchdog` has found.
class stall_report {
  public:
    std::chrono::nanoseconds limit{}; ///< how long the step had lasted, at least
    std::string task;                 ///< its name; empty for a callback
    std::string async_stack;          ///< where the task stands, innermost await first, a line each
    std::string native_stack;         ///< the thread's calls as they stand, innermost first
};

namespace detail {

/// Filled by a signal handler on the blocked thread itself, which alone may look at its tasks.
/// Everything that the handler touches is here, and was made before.
class stall_capture {
  public:
    stall_capture() { ::sem_init(&taken_, 0, 0); }
    stall_capture(const stall_capture&) = delete;
    stall_capture& operator=(const stall_capture&) = delete;
    ~stall_capture() { ::sem_destroy(&taken_); }

    /// The capture of the calling thread, for its signal handler.
    static stall_capture*& of_this_thread() noexcept {
        static constinit thread_local stall_capture* mine = nullptr;
        return mine;
    }

    /// In the signal handler.
    void take() noexcept {
        const std::uint32_t request = asked_.load(std::memory_order_acquire);
        // A second signal may come late, while the watching thread reads the answer to the first.
        if (answered_.load(std::memory_order_relaxed) == request)
            return;
        const int saved = errno;
        native_count_ = ::backtrace(native_.data(), static_cast<int>(native_.size()));
        async_count_ = 0;
        name_[0] = '\0';
        promise_base* const running =
            current_scheduler == nullptr ? nullptr : current_scheduler->running();
        if (running != nullptr) {
            task_of(running->owner()).copy_name(name_.data(), name_.size());
            for (const scope* each = &running->owner(); each != nullptr; each = each->parent())
                add_frames(each == &running->owner() ? running : each->leaf());
        }
        answered_.store(request, std::memory_order_release);
        ::sem_post(&taken_);
        errno = saved;
    }
    /// On the watching thread, before each signal.
    void ask() noexcept {
        asked_.store(asked_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }
    /// On the watching thread. Returns false if the blocked one has not answered in a second.
    [[nodiscard]] bool wait() noexcept {
        timespec limit{};
        ::clock_gettime(CLOCK_REALTIME, &limit);
        ++limit.tv_sec;
        // What is posted may be an answer to an earlier request that came too late.
        while (answered_.load(std::memory_order_acquire) != asked_.load(std::memory_order_relaxed))
            if (::sem_timedwait(&taken_, &limit) != 0 && errno != EINTR)
                return false;
        return true;
    }

    [[nodiscard]] std::string task() const { return name_.data(); }
    [[nodiscard]] std::string async_stack() const {
        std::string text;
        for (std::size_t index = 0; index != async_count_; ++index)
            text += task_tree::line_of(async_[index]);
        return text;
    }
    [[nodiscard]] std::string native_stack() const {
        std::string text;
        // The first two are this handler and the kernel's way into it.
        for (int index = 2; index < native_count_; ++index)
            text += "  " + describe(native_[static_cast<std::size_t>(index)]) + "\n";
        return text;
    }

  private:
    void add_frames(const promise_base* innermost) noexcept {
        for (const promise_base* each = innermost; each != nullptr; each = each->caller())
            if (async_count_ != async_.size() && each->is_shown())
                async_[async_count_++] = each->position;
    }

    [[nodiscard]] static std::string describe(void* address) {
        std::array<char, 32> number{};
        std::snprintf(number.data(), number.size(), "%p", address);
        Dl_info found{};
        if (::dladdr(address, &found) == 0 || found.dli_fname == nullptr)
            return number.data();
        if (found.dli_sname == nullptr) {
            const auto offset =
                static_cast<const char*>(address) - static_cast<const char*>(found.dli_fbase);
            std::snprintf(number.data(), number.size(), "+0x%zx", static_cast<std::size_t>(offset));
            return std::string(found.dli_fname) + number.data();
        }
        int status = 0;
        char* const readable = abi::__cxa_demangle(found.dli_sname, nullptr, nullptr, &status);
        std::string name = readable != nullptr ? readable : found.dli_sname;
        std::free(readable);
        return name;
    }

    // They order what is below; the semaphore only wakes.
    std::atomic<std::uint32_t> asked_ = 0;
    std::atomic<std::uint32_t> answered_ = 0;
    sem_t taken_{};
    std::array<void*, 64> native_{};
    int native_count_ = 0;
    std::array<std::source_location, 32> async_{};
    std::size_t async_count_ = 0;
    std::array<char, 128> name_{};
};

} // namespace detail

/// While it lives, reports each step of its loop that lasts longer than a limit, while it lasts:
/// the task, where it stands, and what the thread is doing. Make it in a task or a callback of the
/// loop to watch, and destroy it on the same thread:
///
///     hob::stall_watchdog watchdog(100ms);
///
/// Costs the loop nothing but a store for each step, and a thread that looks four times in each
/// limit; made to be left on. Uses the signal `SIGRTMAX - 1`, which must not be blocked on the
/// loop's thread. Names of functions need a program linked with `-rdynamic`; without, the native
/// stack has the offsets that `addr2line` takes.
class stall_watchdog {
  public:
    using reporter = std::function<void(const stall_report&)>;

    /// `tell` is called on the watching thread, once for each stall; by default, it prints to
    /// standard error. If it throws, that is said there. Throws `no_running_loop_error`,
    /// `usage_error` if the thread has a watchdog already or `limit` is not positive, and
    /// `std::system_error`.
    explicit stall_watchdog(std::chrono::nanoseconds limit, reporter tell = print)
        : limit_(limit), tell_(std::move(tell)), loop_(detail::reactor::current()),
          blocked_(::pthread_self()) {
        if (limit <= std::chrono::nanoseconds(0))
            throw usage_error("the limit of a stall_watchdog has to be positive");
        if (detail::stall_capture::of_this_thread() != nullptr)
            throw usage_error("this thread has a stall_watchdog already");
        // The first call loads a library, which a signal handler must not.
        std::array<void*, 4> warm{};
        static_cast<void>(::backtrace(warm.data(), static_cast<int>(warm.size())));
        install_handler();
        detail::stall_capture::of_this_thread() = &capture_;
        try {
            *watcher_ = std::thread([this] { watch(); });
        } catch (...) {
            detail::stall_capture::of_this_thread() = nullptr;
            throw;
        }
    }
    stall_watchdog(const stall_watchdog&) = delete;
    stall_watchdog& operator=(const stall_watchdog&) = delete;
    ~stall_watchdog() {
        detail::stall_capture::of_this_thread() = nullptr;
        // A forked child has no watching thread, which may have held the mutex.
        if (!process_.is_here())
            return;
        {
            const std::lock_guard lock(mutex_);
            ended_ = true;
        }
        wake_->notify_one();
        watcher_->join();
    }

    /// The default reporter.
    static void print(const stall_report& report) {
        const auto milliseconds =
            std::chrono::duration_cast<std::chrono::milliseconds>(report.limit).count();
        std::fprintf(stderr,
                     "hob: a step has blocked the loop for more than %lld ms%s%s%s\n%sit does:\n%s",
                     static_cast<long long>(milliseconds), report.task.empty() ? "" : " (task '",
                     report.task.c_str(), report.task.empty() ? "" : "')",
                     report.async_stack.c_str(), report.native_stack.c_str());
    }

  private:
    static int signal_number() noexcept { return SIGRTMAX - 1; }

    static void install_handler() {
        struct sigaction action{};
        action.sa_handler = [](int) {
            if (detail::stall_capture* const mine = detail::stall_capture::of_this_thread())
                mine->take();
        };
        action.sa_flags = SA_RESTART;
        ::sigemptyset(&action.sa_mask);
        if (::sigaction(signal_number(), &action, nullptr) != 0)
            detail::throw_errno(errno, "sigaction for a stall_watchdog");
    }

    void watch() {
        sigset_t all;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
        constexpr int looks_per_limit = 4;
        std::uint64_t last = 0;
        int unchanged = 0;
        std::unique_lock lock(mutex_);
        while (!wake_->wait_for(lock, limit_ / looks_per_limit, [this] { return ended_; })) {
            const std::uint64_t now = loop_.progress();
            if (now == 0 || now != last) {
                last = now;
                unchanged = 0;
            } else if (++unchanged == looks_per_limit && !tell_stall()) {
                // The blocked thread did not even get to run: asked again after the next look.
                --unchanged;
            }
        }
    }

    /// Returns false if the blocked thread has not answered.
    [[nodiscard]] bool tell_stall() {
        capture_.ask();
        if (::pthread_kill(blocked_, signal_number()) != 0 || !capture_.wait())
            return false;
        try {
            stall_report report;
            report.limit = limit_;
            report.task = capture_.task();
            report.async_stack = capture_.async_stack();
            report.native_stack = capture_.native_stack();
            tell_(report);
        } catch (...) {
            std::fputs("hob: a stall could not be reported: its reporter threw\n", stderr);
        }
        return true;
    }

    std::chrono::nanoseconds limit_;
    reporter tell_;
    detail::reactor& loop_;
    pthread_t blocked_;
    detail::stall_capture capture_;
    std::mutex mutex_;
    detail::undestroyed<std::condition_variable> wake_;
    bool ended_ = false;
    detail::undestroyed<std::thread> watcher_;
    const detail::home_process process_;
};

} // namespace hob
