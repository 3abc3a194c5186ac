// SPDX-License-Identifier: MIT
// How fast this machine is without any library: a system call, a cache line sent to another core
// and back, and three ways to start and finish a child coroutine.
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <string_view>
#include <thread>
#include <utility>

namespace {

// Freed frames by size, so that the allocator is not what is measured.
class frame_pool {
  public:
    static void* allocate(std::size_t size) {
        const std::size_t index = class_of(size);
        if (index >= class_count)
            return ::operator new(size);
        if (free_frame* frame = free_[index]) {
            free_[index] = frame->next;
            return frame;
        }
        return ::operator new((index + 1) * class_width);
    }

    static void release(void* memory, std::size_t size) {
        const std::size_t index = class_of(size);
        if (index >= class_count) {
            ::operator delete(memory);
        } else {
            free_[index] = new (memory) free_frame{free_[index]};
        }
    }

  private:
    struct free_frame {
        free_frame* next;
    };
    static constexpr std::size_t class_width = 64;
    static constexpr std::size_t class_count = 16;
    static std::size_t class_of(std::size_t size) { return (size - 1) / class_width; }
    static inline thread_local std::array<free_frame*, class_count> free_{};
};

// Resumes one coroutine after the other from one place, so that the stack does not grow.
class trampoline {
  public:
    static void resume_next(std::coroutine_handle<> coroutine) { next_ = coroutine; }
    static void run() {
        while (next_)
            std::exchange(next_, {}).resume();
    }

  private:
    static inline thread_local std::coroutine_handle<> next_{};
};

// Each way says what happens when a caller awaits a child, and when a child has finished.

struct symmetric_transfer {
    static constexpr const char* name = "symmetric transfer";
    struct state {};

    template <class Promise>
    static std::coroutine_handle<> start(std::coroutine_handle<Promise> child) {
        return child;
    }
    template <class Promise> static std::coroutine_handle<> finish(Promise& promise) {
        if (!promise.caller)
            return std::noop_coroutine();
        return promise.caller;
    }
};

struct through_trampoline {
    static constexpr const char* name = "everything through a trampoline";
    struct state {};

    template <class Promise> static void start(std::coroutine_handle<Promise> child) {
        trampoline::resume_next(child);
    }
    template <class Promise> static void finish(Promise& promise) {
        trampoline::resume_next(promise.caller);
    }
};

struct resumed_in_place {
    static constexpr const char* name = "resumed in await_suspend, completion by a flag";
    static constexpr unsigned deepest = 64;
    struct state {
        bool starting = false;
        bool finished = false;
    };
    static inline thread_local unsigned depth = 0;

    // Returns whether the caller stays suspended.
    template <class Promise> static bool start(std::coroutine_handle<Promise> child) {
        if (depth == deepest) {
            trampoline::resume_next(child);
            return true;
        }
        state& started = child.promise().progress;
        started.starting = true;
        ++depth;
        child.resume();
        --depth;
        started.starting = false;
        return !started.finished;
    }
    template <class Promise> static void finish(Promise& promise) {
        if (promise.progress.starting) {
            promise.progress.finished = true;
        } else {
            trampoline::resume_next(promise.caller);
        }
    }
};

template <class Way> class [[nodiscard]] task {
  public:
    struct promise_type {
        std::coroutine_handle<> caller{};
        std::uint64_t value = 0;
        [[no_unique_address]] typename Way::state progress{};

        task get_return_object() {
            return task{std::coroutine_handle<promise_type>::from_promise(*this)};
        }
        std::suspend_always initial_suspend() noexcept { return {}; }
        auto final_suspend() noexcept {
            struct finished {
                bool await_ready() noexcept { return false; }
                auto await_suspend(std::coroutine_handle<promise_type> self) noexcept {
                    return Way::finish(self.promise());
                }
                void await_resume() noexcept {}
            };
            return finished{};
        }
        void return_value(std::uint64_t result) noexcept { value = result; }
        void unhandled_exception() noexcept { std::terminate(); }

        static void* operator new(std::size_t size) { return frame_pool::allocate(size); }
        static void operator delete(void* memory, std::size_t size) {
            frame_pool::release(memory, size);
        }
    };

    task(task&& other) noexcept : coroutine_{std::exchange(other.coroutine_, {})} {}
    task& operator=(task&&) = delete;
    ~task() {
        if (coroutine_)
            coroutine_.destroy();
    }

    auto operator co_await() && noexcept {
        struct awaiter {
            std::coroutine_handle<promise_type> child;
            bool await_ready() noexcept { return false; }
            auto await_suspend(std::coroutine_handle<> caller) noexcept {
                child.promise().caller = caller;
                return Way::start(child);
            }
            std::uint64_t await_resume() noexcept { return child.promise().value; }
        };
        return awaiter{coroutine_};
    }

    std::uint64_t run() && {
        trampoline::resume_next(coroutine_);
        trampoline::run();
        if (!coroutine_.done())
            std::abort();
        return coroutine_.promise().value;
    }

  private:
    explicit task(std::coroutine_handle<promise_type> coroutine) : coroutine_{coroutine} {}

    std::coroutine_handle<promise_type> coroutine_;
};

template <class Way> task<Way> nested(unsigned levels, std::uint64_t value) {
    if (levels == 1)
        co_return value;
    co_return co_await nested<Way>(levels - 1, value);
}

template <class Way> task<Way> await_often(std::uint64_t times, unsigned levels) {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < times; ++i)
        sum += co_await nested<Way>(levels, i);
    co_return sum;
}

double nanoseconds_since(std::chrono::steady_clock::time_point begin) {
    const std::chrono::duration<double, std::nano> elapsed =
        std::chrono::steady_clock::now() - begin;
    return elapsed.count();
}

// The best of several runs: anything else that ran on the machine only adds.
template <class Way> void measure(unsigned levels) {
    // Without tail calls, symmetric transfer needs stack for each await: few enough of them fit at
    // any level.
    constexpr std::uint64_t awaits_per_run = 20'000;
    constexpr unsigned runs_per_sample = 100;
    constexpr unsigned samples = 9;
    const std::uint64_t times = awaits_per_run / levels;
    const std::uint64_t expected = times * (times - 1) / 2;
    double best = 0;
    for (unsigned sample = 0; sample < samples; ++sample) {
        const auto begin = std::chrono::steady_clock::now();
        for (unsigned run = 0; run < runs_per_sample; ++run) {
            if (await_often<Way>(times, levels).run() != expected)
                std::abort();
        }
        const double each =
            nanoseconds_since(begin) / (static_cast<double>(times) * levels * runs_per_sample);
        best = sample == 0 ? each : std::min(best, each);
    }
    std::printf("%-47s %2u deep: %5.1f ns per await\n", Way::name, levels, best);
}

bool pin_to(unsigned core) {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(core, &cores);
    return ::sched_setaffinity(0, sizeof cores, &cores) == 0;
}

void measure_system_call() {
    constexpr unsigned times = 100'000;
    const auto begin = std::chrono::steady_clock::now();
    for (unsigned i = 0; i < times; ++i)
        ::syscall(SYS_getppid);
    std::printf("system call: %.0f ns\n", nanoseconds_since(begin) / times);
}

// A virtual machine's two cores may be one core's two threads or lie far apart, and may move while
// it runs.
void measure_core_round_trip(unsigned first_core, unsigned second_core) {
    constexpr unsigned times = 50'000;
    std::atomic<unsigned> turn{0};
    std::atomic<bool> pinned{false};
    std::atomic<bool> failed{false};
    const auto answer = [&] {
        if (!pin_to(second_core))
            failed = true;
        pinned = true;
        for (unsigned i = 0; i < times && !failed; ++i) {
            while (turn.load(std::memory_order_acquire) != 2 * i + 1 && !failed) {
            }
            turn.store(2 * i + 2, std::memory_order_release);
        }
    };
    std::thread other{answer};
    while (!pinned)
        std::this_thread::yield();
    if (!pin_to(first_core))
        failed = true;
    const auto begin = std::chrono::steady_clock::now();
    for (unsigned i = 0; i < times && !failed; ++i) {
        turn.store(2 * i + 1, std::memory_order_release);
        while (turn.load(std::memory_order_acquire) != 2 * i + 2 && !failed) {
        }
    }
    const double elapsed = nanoseconds_since(begin);
    other.join();
    if (failed) {
        std::printf("cores %u and %u: not both usable\n", first_core, second_core);
    } else {
        std::printf("cache line from core %u to %u and back: %.0f ns\n", first_core, second_core,
                    elapsed / times);
    }
}

} // namespace

// With `--machine`, measures no coroutines: quick enough to be run between rounds of another
// measurement.
int main(int argument_count, char** arguments) {
    const bool only_machine = argument_count >= 2 && std::string_view{arguments[1]} == "--machine";
    const bool has_cores = argument_count == 4;
    if (argument_count != 1 && !(only_machine && (argument_count == 2 || has_cores))) {
        std::fprintf(stderr, "usage: %s [--machine [CORE CORE]]\n", arguments[0]);
        return 2;
    }
    const auto core = [&](int position) {
        return static_cast<unsigned>(std::strtoul(arguments[position], nullptr, 10));
    };
    const unsigned first_core = has_cores ? core(2) : 0;
    const unsigned second_core = has_cores ? core(3) : 1;
    measure_core_round_trip(first_core, second_core);
    measure_system_call();
    if (only_machine)
        return 0;
    for (const unsigned levels : {1U, 10U}) {
        measure<symmetric_transfer>(levels);
        measure<through_trampoline>(levels);
        measure<resumed_in_place>(levels);
    }
}
