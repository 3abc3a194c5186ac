// SPDX-License-Identifier: MIT
// hob::run_on_threads: many cores, one loop on each thread.
#pragma once

#include <hob/current_task.hpp>
#include <hob/run.hpp>
#include <hob/sync/event.hpp>

#include <concepts>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace hob {
namespace detail {

/// The loops that run, each with a way to cancel its main task, and the first error.
class loop_team {
  public:
    explicit loop_team(std::size_t size) : members_(size), others_(size - 1) {}

    /// The main task of a member, for its own thread; emptied there before its loop closes.
    class member {
      public:
        explicit member(any_task_handle main) noexcept : main_(std::move(main)) {}
        void cancel() const {
            if (main_)
                main_.cancel();
        }
        void leave() noexcept { main_ = {}; }
        /// Of the first member: set when the threads of the others have ended.
        event others_ended;

      private:
        any_task_handle main_;
    };

    /// Stands for the main task of the thread that calls it, which runs now.
    void join(std::size_t index) {
        const auto joined = std::make_shared<member>(current_task());
        bool is_late = false;
        {
            const std::lock_guard lock(mutex_);
            members_[index].emplace(event_loop::current().get_handle(), joined);
            is_late = error_ != nullptr;
        }
        if (is_late)
            joined->cancel();
    }
    void leave(std::size_t index) noexcept {
        std::optional<entry> left;
        const std::lock_guard lock(mutex_);
        if (members_[index])
            members_[index]->second->leave();
        left.swap(members_[index]);
    }

    /// The thread of a member other than the first has ended.
    void end_other() noexcept {
        const std::lock_guard lock(mutex_);
        if (--others_ == 0 && members_[0])
            tell_first(*members_[0]);
    }
    /// In the main task of the first member, whose thread is the one that listens to Ctrl-C: waits
    /// until the threads of the others have ended.
    task<> wait_for_others() {
        const std::shared_ptr<member> first = first_member();
        if (first == nullptr)
            co_return;
        auto ended = first->others_ended.wait();
        co_await ended;
    }

    /// Notes the first error, and cancels the others.
    void fail(std::exception_ptr error) noexcept {
        const std::lock_guard lock(mutex_);
        if (error_ != nullptr)
            return;
        error_ = std::move(error);
        for (const std::optional<entry>& each : members_)
            if (each)
                cancel(*each);
    }
    [[nodiscard]] bool has_failed() const noexcept {
        const std::lock_guard lock(mutex_);
        return error_ != nullptr;
    }
    void rethrow() const {
        if (error_)
            std::rethrow_exception(error_);
    }

  private:
    using entry = std::pair<loop_handle, std::shared_ptr<member>>;

    static void cancel(const entry& target) noexcept {
        try {
            // A loop that has closed has no main task any more.
            static_cast<void>(
                target.first.call_soon_threadsafe([member = target.second] { member->cancel(); }));
        } catch (const std::bad_alloc&) {
            // It ends by itself, later.
        }
    }

    /// Null when nobody has to be waited for.
    [[nodiscard]] std::shared_ptr<member> first_member() const {
        const std::lock_guard lock(mutex_);
        return others_ == 0 ? nullptr : members_[0]->second;
    }
    static void tell_first(const entry& first) noexcept {
        for (;;) {
            try {
                static_cast<void>(first.first.call_soon_threadsafe(
                    [member = first.second] { member->others_ended.set(); }));
                return;
            } catch (const std::bad_alloc&) {
                // It would wait for ever.
                std::this_thread::yield();
            }
        }
    }

    mutable std::mutex mutex_;
    std::vector<std::optional<entry>> members_;
    std::size_t others_; ///< threads that have not ended
    std::exception_ptr error_;
};

template <class Main> auto call_member(Main& main, [[maybe_unused]] std::size_t index) {
    if constexpr (std::invocable<Main&, std::size_t>)
        return main(index);
    else
        return main();
}

template <class Main> task<> run_member(loop_team& team, std::size_t index, Main& main) {
    class membership {
      public:
        membership(loop_team& joined, std::size_t place) : team_(joined), index_(place) {
            team_.join(index_);
        }
        membership(const membership&) = delete;
        membership& operator=(const membership&) = delete;
        ~membership() { team_.leave(index_); }

      private:
        loop_team& team_;
        std::size_t index_;
    };
    const membership here(team, index);
    auto work = call_member(main, index);
    co_await std::move(work);
    if (index == 0) {
        auto others = team.wait_for_others();
        co_await std::move(others);
    }
}

template <class Main>
void run_thread(loop_team& team, std::size_t index, Main& main, const runner_options& options) {
    try {
        runner scope(options);
        scope.run(run_member(team, index, main));
    } catch (const cancelled_error&) {
        // By the error of another thread, which is told.
        if (!team.has_failed())
            team.fail(std::current_exception());
    } catch (...) {
        team.fail(std::current_exception());
    }
}

} // namespace detail

/// Runs `threads` loops, each on a thread of its own, the calling one being the first: awaits
/// `main(index)`, or `main()`, in each of them, and returns when all have ended. `main` is called
/// on every thread, at once, and must be safe for that; what the loops share is up to it, for
/// example one listening port with `reuse_port`.
///
/// The first exception cancels the main tasks of the other threads and is thrown when they have
/// ended. Ctrl-C cancels all of them, as in `run`, and throws `interrupted_error`. Throws
/// `usage_error` for no thread and inside a running loop, and `std::system_error` if a thread
/// cannot be made.
template <class Main>
void run_on_threads(std::size_t threads, Main main, runner_options options = {}) {
    if (threads == 0)
        throw usage_error("run_on_threads needs at least one thread");
    if (detail::current_scheduler != nullptr)
        throw usage_error("run_on_threads was called in a running loop");
    detail::loop_team team(threads);
    {
        runner_options without_signals = options;
        without_signals.handle_interrupt = false;
        std::vector<std::jthread> others;
        others.reserve(threads - 1);
        try {
            for (std::size_t index = 1; index != threads; ++index)
                others.emplace_back([&team, &main, &without_signals, index] {
                    detail::run_thread(team, index, main, without_signals);
                    team.end_other();
                });
            detail::run_thread(team, 0, main, options);
        } catch (...) {
            team.fail(std::current_exception());
        }
    }
    team.rethrow();
}

} // namespace hob
