// SPDX-License-Identifier: MIT
// An open socket, pipe or file, shared by its owner and the operations in flight on it.
#pragma once

#include <hob/core/frame_pool.hpp>
#include <hob/core/pushed_back_bytes.hpp>
#include <hob/core/reactor.hpp>
#include <hob/core/ring_operation.hpp>
#include <hob/core/stream_error.hpp>

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace hob::detail {

/// Each side of a descriptor serves one operation at a time.
enum class side : unsigned char { reading, writing };

/// An operation in flight on a descriptor.
class descriptor_user : public ring_operation {
  public:
    /// The descriptor is being closed: end soon, by a completion.
    virtual void interrupt() noexcept { reactor::here().cancel(*this); }

  protected:
    descriptor_user() = default;
    ~descriptor_user() = default;
};

/// The kernel keeps a file alive while an operation is in flight on it: closing its number then
/// sends no FIN, and the number would be reused while the operation still uses it. So `close` asks
/// the operations to end, and the last one to complete closes the number.
///
/// Counted by `descriptor_ref`; all of it belongs to the loop's thread.
class descriptor {
  public:
    descriptor(const descriptor&) = delete;
    descriptor& operator=(const descriptor&) = delete;

    /// What error messages call it: an address, a path.
    [[nodiscard]] virtual std::string name() const = 0;

    /// The number; -1 once it is closed.
    [[nodiscard]] int fd() const noexcept { return fd_; }
    [[nodiscard]] bool is_closed() const noexcept { return closed_; }
    [[nodiscard]] bool is_in_use(side which) const noexcept { return user(which) != nullptr; }

    /// Refuses all use from now on, and ends the operations in flight with EBADF. Idempotent.
    void close() noexcept {
        if (closed_)
            return;
        closed_ = true;
        for (descriptor_user* const each : users_)
            if (each != nullptr)
                each->interrupt();
        close_if_unused();
    }

    /// Makes `newcomer` the only operation of a side. Returns 0, or the negative errno or stream
    /// error that keeps it from starting.
    template <side Which> [[nodiscard]] int acquire(descriptor_user& newcomer) noexcept {
        if (closed_ || user(Which) != nullptr || errors_[index(Which)] != 0) [[unlikely]]
            return closed_ ? -EBADF : user(Which) != nullptr ? -EBUSY : errors_[index(Which)];
        users_[index(Which)] = &newcomer;
        return 0;
    }
    /// The operation has completed.
    template <side Which> void release() noexcept {
        users_[index(Which)] = nullptr;
        if (closed_) [[unlikely]]
            close_if_unused();
    }

    [[nodiscard]] bool has_pushed_back() const noexcept { return !pushed_back_.empty(); }
    [[nodiscard]] std::size_t take_pushed_back(std::span<std::byte> target) noexcept {
        return pushed_back_.take(target);
    }
    /// For a read that was cancelled after it had taken bytes. Without memory to keep them in, the
    /// reading side fails from now on: better than a gap that nobody knows of.
    void push_back(std::span<const std::byte> bytes) noexcept {
        try {
            pushed_back_.put(bytes);
        } catch (...) {
            errors_[index(side::reading)] = -ENOMEM;
        }
    }

    /// For a write that was cancelled when the kernel had taken `taken` of its bytes.
    void break_writing(std::size_t taken) noexcept {
        errors_[index(side::writing)] = broken_write;
        taken_ = taken;
    }
    [[nodiscard]] bool is_writing_broken() const noexcept {
        return errors_[index(side::writing)] == broken_write;
    }
    /// See `break_writing`.
    [[nodiscard]] std::size_t taken() const noexcept { return taken_; }

    static void* operator new(std::size_t size) { return frame_pool::allocate(size); }
    static void operator delete(void* memory, std::size_t size) noexcept {
        frame_pool::deallocate(memory, size);
    }

  protected:
    explicit descriptor(int fd) noexcept : fd_(fd) {}
    virtual ~descriptor() { check(fd_ < 0, "an open descriptor was forgotten"); }

  private:
    friend class descriptor_ref;

    static constexpr std::size_t index(side which) noexcept {
        return static_cast<std::size_t>(which);
    }
    [[nodiscard]] descriptor_user* user(side which) const noexcept { return users_[index(which)]; }

    void close_if_unused() noexcept {
        if (fd_ < 0 || is_in_use(side::reading) || is_in_use(side::writing))
            return;
        const int fd = std::exchange(fd_, -1);
        if (current_scheduler != nullptr)
            reactor::here().close_descriptor(fd);
        else
            ::close(fd);
    }

    std::array<descriptor_user*, 2> users_{};
    int fd_;
    std::uint32_t references_ = 0;
    std::array<int, 2> errors_{}; ///< that each side ends with at once
    bool closed_ = false;
    pushed_back_bytes pushed_back_;
    std::size_t taken_ = 0;
};

/// A counted pointer to a descriptor; may be null.
class descriptor_ref {
  public:
    descriptor_ref() = default;
    explicit descriptor_ref(descriptor& target) noexcept : target_(&target) { keep(); }
    descriptor_ref(const descriptor_ref& other) noexcept : target_(other.target_) { keep(); }
    descriptor_ref(descriptor_ref&& other) noexcept
        : target_(std::exchange(other.target_, nullptr)) {}
    descriptor_ref& operator=(descriptor_ref other) noexcept {
        std::swap(target_, other.target_);
        return *this;
    }
    ~descriptor_ref() {
        if (target_ != nullptr && --target_->references_ == 0) [[unlikely]]
            destroy();
    }

    [[nodiscard]] explicit operator bool() const noexcept { return target_ != nullptr; }
    [[nodiscard]] descriptor& operator*() const noexcept { return *target_; }
    [[nodiscard]] descriptor* operator->() const noexcept { return target_; }

  private:
    void keep() noexcept {
        if (target_ != nullptr)
            ++target_->references_;
    }
    // Apart, so that the compiler finds the rest small enough to inline.
    [[gnu::noinline]] void destroy() noexcept { delete target_; }

    descriptor* target_ = nullptr;
};

} // namespace hob::detail
