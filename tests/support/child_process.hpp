// SPDX-License-Identifier: MIT
// Runs a function in a forked child.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <utility>

namespace test {

/// How a child process ended.
class child_result {
  public:
    int code = -1;      ///< of `_exit`; -1 if a signal ended it
    int signal = 0;     ///< that ended it
    std::string errors; ///< what it wrote to standard error
};

/// Waits for a child, and tells its exit code; -1 if a signal ended it.
inline int exit_code_of(pid_t child) {
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// Runs `function()`, which returns the exit code, in a child, and waits for its end. The child
/// never returns into the test framework.
template <class Function> child_result in_child(Function&& function) {
    int ends[2];
    if (::pipe(ends) != 0)
        return {};
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
        // The framework's handlers would report a signal as a failure of the whole program.
        for (const int each : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGTERM, SIGINT})
            std::signal(each, SIG_DFL);
        ::alarm(30);
        ::dup2(ends[1], 2);
        ::close(ends[0]);
        ::close(ends[1]);
        int code = 99;
        try {
            code = function();
        } catch (const std::exception& unexpected) {
            std::fprintf(stderr, "unexpected: %s\n", unexpected.what());
        } catch (...) {
        }
        std::fflush(stderr);
        ::_exit(code);
    }
    ::close(ends[1]);
    child_result result;
    char buffer[4096];
    for (;;) {
        const ssize_t count = ::read(ends[0], buffer, sizeof buffer);
        if (count <= 0)
            break;
        result.errors.append(buffer, static_cast<std::size_t>(count));
    }
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (WIFEXITED(status))
        result.code = WEXITSTATUS(status);
    else if (WIFSIGNALED(status))
        result.signal = WTERMSIG(status);
    return result;
}

} // namespace test
