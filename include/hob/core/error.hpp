// SPDX-License-Identifier: MIT
// The exceptions that hob throws of its own accord. Failed system calls are std::system_error.
#pragma once

#include <cerrno>
#include <exception>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace hob {

/// Thrown where a task is joined that was cancelled: the joiner itself was not.
class cancelled_error : public std::runtime_error {
  public:
    explicit cancelled_error(const std::string& task)
        : std::runtime_error("the awaited task was cancelled: " + task) {}
};

/// Thrown by `timeout` and `timeout_at` once the body has been unwound.
class timeout_error : public std::runtime_error {
  public:
    timeout_error() : std::runtime_error("the time limit expired") {}
};

/// Thrown by `run` when nothing can ever wake the waiting tasks, which the message names.
class deadlock_error : public std::logic_error {
  public:
    explicit deadlock_error(const std::string& tasks)
        : std::logic_error("deadlock: every task waits, and no timer, operation, executor job or "
                           "thread-safe handle is left to wake one of them\n" +
                           tasks) {}
};

/// Thrown by `run` after Ctrl-C, when the main task has been cancelled and has cleaned up.
class interrupted_error : public std::runtime_error {
  public:
    interrupted_error() : std::runtime_error("interrupted by SIGINT") {}
};

/// Thrown when the rules of the library were broken: the message says which, and the cure.
class usage_error : public std::logic_error {
    using std::logic_error::logic_error;
};

/// Thrown by what needs a running loop on this thread when there is none.
class no_running_loop_error : public usage_error {
  public:
    no_running_loop_error()
        : usage_error("no hob event loop is running on this thread: call this from a task under "
                      "hob::run, or use call_soon_threadsafe from another thread") {}
};

/// Thrown when an event loop is used on a thread other than its own.
class wrong_thread_error : public usage_error {
  public:
    wrong_thread_error()
        : usage_error("this event loop belongs to another thread: only call_soon_threadsafe and "
                      "what is built on it may be called from here") {}
};

/// Thrown in a forked child that uses its parent's loop.
class fork_error : public usage_error {
  public:
    fork_error()
        : usage_error("this event loop belongs to the parent process: a forked child must make "
                      "its own with hob::run or hob::runner, outside the parent's tasks") {}
};

/// Thrown when an event loop is used after `close`.
class loop_closed_error : public usage_error {
  public:
    loop_closed_error() : usage_error("this event loop is closed") {}
};

/// Thrown when a stream, listener or file is used after it was closed, and in the tasks that were
/// waiting on it. Its code is EBADF.
class closed_error : public std::system_error {
  public:
    explicit closed_error(const std::string& what)
        : std::system_error(EBADF, std::system_category(), what + ": closed") {}
};

/// Thrown when a second task reads (or writes) a stream while another one does. Its code is EBUSY.
class busy_error : public std::system_error {
  public:
    explicit busy_error(const std::string& what)
        : std::system_error(EBUSY, std::system_category(),
                            what + ": another task is already doing this") {}
};

/// Thrown when io_uring is missing, forbidden or out of resources. The message says what to do.
class io_uring_error : public std::system_error {
  public:
    using std::system_error::system_error;
};

/// Derive from this for an exception that must leave `run` at once: no group collects it, and no
/// task goes on after it.
class fatal_error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// Several exceptions at once: what a task group throws, and a race in which everyone failed.
class exception_group : public std::exception {
  public:
    exception_group(std::string message, std::vector<std::exception_ptr> exceptions)
        : exceptions_(std::move(exceptions)), message_(std::move(message)) {
        message_ += " (" + std::to_string(exceptions_.size()) +
                    (exceptions_.size() == 1 ? " exception)" : " exceptions)");
        for (const std::exception_ptr& each : exceptions_)
            message_ += "\n  - " + describe(each);
    }

    [[nodiscard]] const char* what() const noexcept override { return message_.c_str(); }
    /// In the order in which they were thrown; never empty.
    [[nodiscard]] const std::vector<std::exception_ptr>& exceptions() const noexcept {
        return exceptions_;
    }

    /// The message of an exception of any type.
    [[nodiscard]] static std::string describe(const std::exception_ptr& error) {
        try {
            std::rethrow_exception(error);
        } catch (const std::exception& known) {
            return known.what();
        } catch (...) {
            return "an exception that is no std::exception";
        }
    }

  private:
    std::vector<std::exception_ptr> exceptions_;
    std::string message_;
};

namespace detail {

[[noreturn, gnu::cold]] inline void throw_errno(int error, const std::string& what) {
    throw std::system_error(error, std::system_category(), what);
}

/// Whether that is an exception of the class `Error`.
template <class Error> [[nodiscard]] bool holds(const std::exception_ptr& exception) noexcept {
    if (!exception)
        return false;
    try {
        std::rethrow_exception(exception);
    } catch (const Error&) {
        return true;
    } catch (...) {
        return false;
    }
}
[[nodiscard]] inline bool is_fatal(const std::exception_ptr& error) noexcept {
    return holds<fatal_error>(error);
}

} // namespace detail
} // namespace hob
