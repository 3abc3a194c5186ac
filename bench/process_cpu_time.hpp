// SPDX-License-Identifier: MIT
// How long another process has run on a CPU so far, in nanoseconds.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace bench {

// Sums over all threads, the kernel's workers for the process included, because /proc/PID/schedstat
// counts the first thread alone. Returns 0 if there is no such process.
inline std::uint64_t process_cpu_nanoseconds(pid_t process) {
    std::uint64_t total = 0;
    std::error_code error;
    const std::filesystem::path tasks = "/proc/" + std::to_string(process) + "/task";
    for (const auto& task : std::filesystem::directory_iterator{tasks, error}) {
        std::uint64_t nanoseconds = 0;
        if (std::ifstream{task.path() / "schedstat"} >> nanoseconds)
            total += nanoseconds;
    }
    return total;
}

} // namespace bench
