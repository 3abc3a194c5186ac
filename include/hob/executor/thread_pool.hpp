// SPDX-License-Identifier: MIT
// hob::thread_pool: threads for what would block the loop.
#pragma once

#include <hob/core/error.hpp>
#include <hob/core/frame_pool.hpp>
#include <hob/core/home_process.hpp>
#include <hob/core/intrusive_list.hpp>
#include <hob/core/spin_wait.hpp>
#include <hob/core/timer_queue.hpp>
#include <hob/core/undestroyed.hpp>
#include <hob/executor/pool_options.hpp>

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace hob {

class thread_pool;

namespace detail {

/// A node in the queue of a pool; lives with whoever awaits it.
class pool_job : public list_node {
  public:
    /// Runs the job, on a thread of the pool. The job may be gone afterwards.
    virtual void execute() noexcept = 0;
    /// In place of `execute`, on the thread that shuts the pool down.
    virtual void drop() noexcept = 0;

  protected:
    pool_job() = default;
    ~pool_job() = default;

  private:
    friend thread_pool;
    /// So that the pool, which may be gone by then, is not asked about a job that has left it.
    std::atomic<bool> queued_ = false;
};

} // namespace detail

/// A bounded number of threads that take jobs in the order of their coming. Idle threads stay until
/// the shutdown. All signals are blocked in them, so handlers run elsewhere.
///
/// Any thread, and any number of loops, may use a pool: see `hob::run_in_executor`. It outlives the
/// tasks that use it, and belongs to the process that made it: a forked child has none of its
/// threads.
class thread_pool {
  public:
    /// Starts no thread yet. Throws `usage_error` if `max_threads` is 0, and `std::bad_alloc`.
    explicit thread_pool(thread_pool_options options = {}) : options_(std::move(options)) {
        if (options_.max_threads == 0)
            throw usage_error("a thread pool needs at least one thread");
        threads_.reserve(options_.max_threads);
    }
    thread_pool(const thread_pool&) = delete;
    thread_pool& operator=(const thread_pool&) = delete;
    /// `shutdown()`: waits for every job, also for those in the queue.
    ~thread_pool() {
        if (!is_of_this_process())
            return;
        close(queued_jobs::run);
        join();
    }

    /// Refuses new jobs, and waits until every thread has ended. Idempotent. Blocks its caller: not
    /// for a loop's thread while jobs wait for that loop. Throws `usage_error` in a job of this
    /// pool.
    void shutdown(queued_jobs queued = queued_jobs::run) {
        require_outside();
        close(queued);
        join();
    }
    /// The same with a limit to the wait. Returns false if jobs were still running then; the
    /// destructor will wait for them.
    template <class Rep, class Period>
    [[nodiscard]] bool shutdown_for(std::chrono::duration<Rep, Period> limit,
                                    queued_jobs queued = queued_jobs::run) {
        require_outside();
        close(queued);
        {
            std::unique_lock lock(mutex_);
            const auto end = detail::saturating_add(std::chrono::steady_clock::now(),
                                                    detail::saturating_nanoseconds(limit));
            if (!ended_->wait_until(lock, end, [this] { return alive_ == 0; }))
                return false;
        }
        join();
        return true;
    }

    /// How many threads there are.
    [[nodiscard]] std::size_t size() const {
        const std::lock_guard lock(mutex_);
        return alive_;
    }
    /// False in a forked child of the process that made the pool.
    [[nodiscard]] bool is_of_this_process() const noexcept { return process_.is_here(); }

    // For operations.

    /// Appends a job, and makes a thread if no idle one can take it. Throws `pool_closed_error`,
    /// and `std::system_error` if there is no thread and none can be made.
    void submit(detail::pool_job& job) {
        if (!is_of_this_process())
            throw usage_error("this thread pool belongs to the parent process: a forked child must "
                              "make its own");
        bool wake = false;
        {
            const std::lock_guard lock(mutex_);
            if (closed_)
                throw pool_closed_error();
            const std::size_t length = length_.load(std::memory_order_relaxed) + 1;
            if (length > sleeping_ + watching_ && alive_ < options_.max_threads)
                add_thread();
            queue_.push_back(job);
            job.queued_.store(true, std::memory_order_relaxed);
            length_.store(length, std::memory_order_relaxed);
            wake = sleeping_ != 0 && length > watching_;
        }
        if (wake)
            work_->notify_one();
    }

    /// Takes a job back that has not started. Returns false if it has, or was dropped.
    [[nodiscard]] bool remove(detail::pool_job& job) noexcept {
        if (!job.queued_.load(std::memory_order_relaxed))
            return false;
        const std::lock_guard lock(mutex_);
        // Not whether it is linked: a job that is being dropped is, in another list.
        if (!job.queued_.load(std::memory_order_relaxed))
            return false;
        unlink(job);
        return true;
    }

  private:
    /// Called with the mutex held.
    void add_thread() {
        // A thread begins with its creator's mask.
        sigset_t all;
        sigset_t previous;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &previous);
        pthread_t thread{};
        const int error = ::pthread_create(
            &thread, nullptr,
            [](void* pool) -> void* {
                static_cast<thread_pool*>(pool)->work();
                return nullptr;
            },
            this);
        ::pthread_sigmask(SIG_SETMASK, &previous, nullptr);
        if (error == 0) {
            threads_.push_back(thread);
            ++alive_;
        } else if (alive_ == 0) {
            detail::throw_errno(error, "cannot start the first thread of a thread pool");
        }
        // Otherwise the job waits for one of the threads that there are.
    }

    void work() noexcept {
        of_this_thread_ = this;
        std::unique_lock lock(mutex_);
        set_name(++named_);
        while (!queue_.empty() || wait_for_work(lock)) {
            detail::pool_job& job = queue_.front();
            unlink(job);
            lock.unlock();
            job.execute();
            detail::frame_pool::give_wanted();
            lock.lock();
        }
        if (--alive_ == 0)
            ended_->notify_all();
    }

    /// Returns false when the pool is closed and there is nothing left to do. Before it sleeps, a
    /// thread watches the queue: the next job often comes soon.
    [[nodiscard]] bool wait_for_work(std::unique_lock<std::mutex>& lock) noexcept {
        if (watching_ == 0 && !closed_) {
            watching_ = 1;
            lock.unlock();
            // Whether there is one is asked again with the lock.
            static_cast<void>(
                detail::watch_for([this] { return length_.load(std::memory_order_relaxed) != 0; }));
            lock.lock();
            watching_ = 0;
        }
        ++sleeping_;
        work_->wait(lock, [this] { return !queue_.empty() || closed_; });
        --sleeping_;
        return !queue_.empty();
    }

    void unlink(detail::pool_job& job) noexcept {
        detail::intrusive_list<detail::pool_job>::remove(job);
        job.queued_.store(false, std::memory_order_relaxed);
        length_.store(length_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
    }

    void set_name(unsigned number) const noexcept {
        try {
            const std::string suffix = "-" + std::to_string(number);
            constexpr std::size_t most = 15;
            ::pthread_setname_np(::pthread_self(),
                                 (options_.name.substr(0, most - suffix.size()) + suffix).c_str());
        } catch (...) { // a thread without a name works as well
        }
    }

    void require_outside() const {
        if (of_this_thread_ == this)
            throw usage_error("a job of a thread pool cannot shut the pool down: it would wait for "
                              "itself");
    }

    void close(queued_jobs queued) noexcept {
        detail::intrusive_list<detail::pool_job> dropped;
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;
            while (queued == queued_jobs::drop && !queue_.empty()) {
                detail::pool_job& job = queue_.front();
                unlink(job);
                dropped.push_back(job);
            }
        }
        work_->notify_all();
        while (!dropped.empty())
            dropped.pop_front().drop();
    }

    void join() noexcept {
        std::vector<pthread_t> threads;
        {
            const std::lock_guard lock(mutex_);
            threads.swap(threads_);
        }
        for (const pthread_t each : threads) {
            // A job that calls `exit` brings the destructor of a static pool onto its own thread.
            if (::pthread_equal(each, ::pthread_self()) != 0)
                ::pthread_detach(each);
            else
                ::pthread_join(each, nullptr);
        }
        // Another caller may be waiting for the same threads, and has the list.
        if (of_this_thread_ != this) {
            std::unique_lock lock(mutex_);
            ended_->wait(lock, [this] { return alive_ == 0; });
        }
    }

    static inline constinit thread_local const thread_pool* of_this_thread_ = nullptr;

    const thread_pool_options options_;
    const detail::home_process process_;
    mutable std::mutex mutex_;
    detail::undestroyed<std::condition_variable> work_;
    detail::undestroyed<std::condition_variable> ended_;
    detail::intrusive_list<detail::pool_job> queue_;
    /// Of the queue. Changes with the mutex held; a watching thread reads it without.
    std::atomic<std::size_t> length_ = 0;
    std::size_t sleeping_ = 0;
    std::size_t watching_ = 0; ///< at most 1
    std::size_t alive_ = 0;
    unsigned named_ = 0;
    bool closed_ = false;
    std::vector<pthread_t> threads_;
};

namespace detail {

/// The default pool of this process, and what a forked child has inherited of its ancestors'.
class default_pool {
  public:
    /// Without a lock, which a fork could leave locked.
    [[nodiscard]] static thread_pool& get() {
        default_pool* newest = newest_.load();
        if (newest != nullptr && newest->pool_.is_of_this_process())
            return newest->pool_;
        auto made = std::make_unique<default_pool>(newest);
        // Now, so that the jobs end before what was made earlier is destroyed.
        if (std::atexit(shut_down) != 0)
            throw std::bad_alloc();
        if (newest_.compare_exchange_strong(newest, made.get()))
            newest = made.release();
        return newest->pool_;
    }

    explicit default_pool(default_pool* inherited) : inherited_(inherited) {}

  private:
    /// At the end of the process. The pool itself is left where it is: whoever uses it later is
    /// told that it is closed.
    static void shut_down() {
        default_pool* const newest = newest_.load();
        if (newest == nullptr || !newest->pool_.is_of_this_process())
            return;
        try {
            newest->pool_.shutdown();
        } catch (const usage_error&) {
            // A job ends the process: it cannot wait for itself.
        }
    }
    static inline std::atomic<default_pool*> newest_ = nullptr;

    thread_pool pool_;
    [[maybe_unused]] default_pool* inherited_; ///< for leak checkers
};

} // namespace detail

/// The pool of `hob::to_thread`, made at its first use: up to min(32, processors + 4) threads. The
/// end of the process waits for its jobs. A forked child gets another one.
[[nodiscard]] inline thread_pool& default_thread_pool() {
    return detail::default_pool::get();
}

} // namespace hob
