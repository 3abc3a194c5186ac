// SPDX-License-Identifier: MIT
// The ring of the kernel, through liburing.
#pragma once

#include <hob/core/error.hpp>
#include <hob/core/ring.hpp>
#include <hob/core/ring_message.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <bitset>
#include <cerrno>
#include <string>

namespace hob {

/// How the kernel runs completions for a ring.
enum class ring_mode : unsigned char {
    automatic,     ///< the best that the kernel offers
    defer_taskrun, ///< SINGLE_ISSUER and DEFER_TASKRUN (Linux 6.1)
    coop_taskrun,  ///< COOP_TASKRUN (Linux 5.19)
    plain,         ///< no flags
};

/// How other threads wake a loop that sleeps.
enum class wake_method : unsigned char {
    eventfd, ///< a write to an eventfd that the ring polls
    message  ///< IORING_OP_MSG_RING (Linux 6.13); the eventfd where the kernel does not offer it
};

/// The size and mode of a loop's ring, and how it is woken.
class ring_options {
  public:
    ring_options() = default;

    ring_mode mode = ring_mode::automatic;
    /// Entries of the submission queue: 1 to 32768, rounded up to a power of two by the kernel.
    /// A full queue is not an error: it is submitted early.
    unsigned submission_entries = 1024;
    /// Entries of the completion queue; 0: four times the submission entries. The kernel keeps
    /// what does not fit.
    unsigned completion_entries = 0;
    /// Which one is faster depends on the machine: `bench_wake` tells.
    wake_method wake = wake_method::eventfd;
};

namespace detail {

class kernel_ring final : public ring {
  public:
    /// Throws `io_uring_error`, which says what is wrong and what to do.
    explicit kernel_ring(const ring_options& options) {
        int error = -EINVAL;
        for (const candidate& each : candidates) {
            if (options.mode != ring_mode::automatic && options.mode != each.mode)
                continue;
            if ((each.flags & setup_no_sqarray) != 0 && !library_knows_no_sqarray)
                continue;
            error = set_up(options, each.flags);
            if (error == 0) {
                description_ = each.description;
                break;
            }
            // Only an unknown flag is worth another try with fewer of them.
            if (error != -EINVAL)
                break;
        }
        if (error != 0)
            throw_setup_error(-error);
        try {
            require_features();
        } catch (...) {
            tear_down();
            throw;
        }
        probe();
        takes_messages_ = options.wake == wake_method::message && can_send_to_rings();
        // Saves the look-up of the descriptor in every call; without it all works the same.
        if (io_uring_register_ring_fd(&queues_) == 1)
            enter_flags_ |= IORING_ENTER_REGISTERED_RING;
    }
    ~kernel_ring() override { tear_down(); }

    [[nodiscard]] int enter(enter_mode mode, time_point deadline) noexcept override {
        const unsigned submitted = queued();
        __atomic_store_n(queues_.sq.ktail, queues_.sq.sqe_tail, __ATOMIC_RELEASE);
        const bool wait = waits(mode);
        const unsigned flags =
            mode == enter_mode::submit ? enter_flags_ : enter_flags_ | IORING_ENTER_GETEVENTS;
        const int result =
            wait && deadline != time_point::max()
                ? enter_until(deadline, submitted)
                : io_uring_enter2(static_cast<unsigned>(queues_.enter_ring_fd), submitted,
                                  wait ? 1 : 0, flags, nullptr, _NSIG / 8);
        // The end of the wait is no failure of the submission.
        return result >= 0 || result == -ETIME || result == -EINTR ? 0 : result;
    }

    [[nodiscard]] time_point now() const noexcept override { return clock::now(); }
    [[nodiscard]] bool supports(unsigned opcode) const noexcept override {
        return opcode < supported_.size() && supported_[opcode];
    }
    [[nodiscard]] int message_descriptor() const noexcept override {
        return takes_messages_ ? queues_.ring_fd : -1;
    }
    [[nodiscard]] const char* describe() const noexcept override { return description_; }

  private:
    // Newer than the headers of liburing 2.3.
    static constexpr unsigned setup_no_sqarray = 1U << 16;
    // Without it, an older liburing writes the index array over the head of the ring.
#if defined(IO_URING_VERSION_MAJOR) && defined(IO_URING_VERSION_MINOR)
    static constexpr bool library_knows_no_sqarray = IO_URING_VERSION_MAJOR > 2 ||
                                                     (IO_URING_VERSION_MAJOR == 2 &&
                                                      IO_URING_VERSION_MINOR >= 5);
#else
    static constexpr bool library_knows_no_sqarray = false;
#endif

    struct candidate {
        ring_mode mode;
        unsigned flags;
        const char* description;
    };
    static constexpr unsigned defer_flags =
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    static constexpr std::array<candidate, 4> candidates{{
        {ring_mode::defer_taskrun, defer_flags | IORING_SETUP_SUBMIT_ALL | setup_no_sqarray,
         "io_uring, DEFER_TASKRUN, NO_SQARRAY"},
        {ring_mode::defer_taskrun, defer_flags | IORING_SETUP_SUBMIT_ALL,
         "io_uring, DEFER_TASKRUN"},
        {ring_mode::coop_taskrun,
         IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
         "io_uring, COOP_TASKRUN"},
        {ring_mode::plain, 0, "io_uring, plain"},
    }};

    /// The kernel may give the memory of a closed ring to the next one, of another thread. It
    /// orders the two, but a race detector sees only this counter do so.
    static inline std::atomic<unsigned> rings_closed_ = 0;

    [[gnu::noinline]] int enter_until(time_point deadline, unsigned submitted) noexcept {
        const auto left = std::max(deadline - now(), std::chrono::nanoseconds(0)).count();
        __kernel_timespec limit{};
        limit.tv_sec = left / 1'000'000'000;
        limit.tv_nsec = left % 1'000'000'000;
        io_uring_getevents_arg argument{};
        argument.ts = reinterpret_cast<std::uintptr_t>(&limit);
        return io_uring_enter2(static_cast<unsigned>(queues_.enter_ring_fd), submitted, 1,
                               enter_flags_ | IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG,
                               reinterpret_cast<sigset_t*>(&argument), sizeof argument);
    }

    void tear_down() noexcept {
        rings_closed_.fetch_add(1, std::memory_order_release);
        io_uring_queue_exit(&queues_);
    }

    int set_up(const ring_options& options, unsigned flags) noexcept {
        io_uring_params parameters{};
        parameters.flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
        parameters.cq_entries = options.completion_entries != 0 ? options.completion_entries
                                                                : options.submission_entries * 4;
        const int error =
            io_uring_queue_init_params(options.submission_entries, &queues_, &parameters);
        if (error != 0)
            return error;
        static_cast<void>(rings_closed_.load(std::memory_order_acquire));
        if ((flags & setup_no_sqarray) == 0)
            for (unsigned index = 0; index != queues_.sq.ring_entries; ++index)
                queues_.sq.array[index] = index;
        if ((flags & IORING_SETUP_TASKRUN_FLAG) != 0)
            hidden_flags_ |= IORING_SQ_TASKRUN;
        return 0;
    }

    void require_features() const {
        constexpr unsigned needed =
            IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_EXT_ARG;
        if ((queues_.features & needed) != needed)
            throw io_uring_error(ENOSYS, std::system_category(),
                                 "io_uring of this kernel is too old for hob: Linux 5.11 or newer "
                                 "is needed");
    }

    void probe() noexcept {
        io_uring_probe* const found = io_uring_get_probe_ring(&queues_);
        if (found == nullptr)
            return;
        for (unsigned opcode = 0; opcode < supported_.size(); ++opcode)
            supported_[opcode] = io_uring_opcode_supported(found, static_cast<int>(opcode)) != 0;
        io_uring_free_probe(found);
    }

    [[noreturn, gnu::cold]] static void throw_setup_error(int error) {
        throw io_uring_error(error, std::system_category(), setup_advice(error));
    }

    unsigned enter_flags_ = 0;
    std::bitset<256> supported_;
    bool takes_messages_ = false;
    const char* description_ = "";

  public:
    /// What a failed io_uring_setup means, and what to do about it.
    [[nodiscard]] static std::string setup_advice(int error) {
        const std::string head = "cannot set up io_uring: ";
        switch (error) {
        case ENOSYS:
            return head + "this kernel has no io_uring, or a sandbox hides it. hob needs Linux "
                          "5.11 or newer; in gVisor and similar sandboxes io_uring is missing";
        case EPERM:
        case EACCES:
            return head +
                   "it is forbidden here. See `sysctl kernel.io_uring_disabled` (0 allows it to "
                   "all, 1 to the group kernel.io_uring_group, 2 to nobody). In a container, the "
                   "seccomp profile must allow io_uring_setup, io_uring_enter and "
                   "io_uring_register: Docker's default profile does not (try "
                   "--security-opt seccomp=unconfined, or a profile of your own)";
        case ENOMEM:
            return head + "out of memory, or over the limit of locked memory: raise `ulimit -l` "
                          "(LimitMEMLOCK= in systemd), or ask for fewer ring entries";
        case EMFILE:
            return head + "the process has no free file descriptor: raise `ulimit -n`, or close "
                          "some";
        case ENFILE:
            return head + "the system has no free file descriptor: see fs.file-max";
        case EINVAL:
            return head + "the kernel does not know the mode that was asked for, or the number of "
                          "entries is out of range (1 to 32768): use ring_mode::automatic";
        default:
            return head + "io_uring_setup failed";
        }
    }
};

} // namespace detail
} // namespace hob
