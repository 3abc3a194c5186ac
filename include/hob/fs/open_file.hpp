// SPDX-License-Identifier: MIT
// An open file, shared by its owner and the operations in flight on it.
#pragma once

#include <hob/core/frame_pool.hpp>
#include <hob/core/reactor.hpp>
#include <hob/core/unique_fd.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace hob::detail {

/// Unlike a socket, a file needs no operation to be ended before it is closed: none waits for
/// anybody. What is in flight when its number is closed holds the file itself, and completes.
///
/// Counted by `file_ref`; all of it belongs to the loop's thread.
class open_file {
  public:
    open_file(unique_fd fd, std::string path) noexcept
        : fd_(std::move(fd)), path_(std::move(path)) {}
    open_file(const open_file&) = delete;
    open_file& operator=(const open_file&) = delete;
    ~open_file() { close(); }

    /// The number; -1 once it is closed.
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

    /// Gives up the number, for whoever closes it.
    [[nodiscard]] unique_fd release() noexcept { return std::move(fd_); }

    void close() noexcept {
        // Through the ring, behind the operations that the kernel has not seen yet: they know the
        // file only by its number, which could be another file's by then.
        if (fd_ && current_scheduler != nullptr)
            reactor::here().close_descriptor(fd_.release());
        else
            fd_.reset();
    }

    static void* operator new(std::size_t size) { return frame_pool::allocate(size); }
    static void operator delete(void* memory, std::size_t size) noexcept {
        frame_pool::deallocate(memory, size);
    }

  private:
    friend class file_ref;
    unique_fd fd_;
    std::uint32_t references_ = 0;
    std::string path_;
};

/// A counted pointer to an open file; may be null.
class file_ref {
  public:
    file_ref() = default;
    explicit file_ref(open_file& target) noexcept : target_(&target) { keep(); }
    file_ref(const file_ref& other) noexcept : target_(other.target_) { keep(); }
    file_ref(file_ref&& other) noexcept : target_(std::exchange(other.target_, nullptr)) {}
    file_ref& operator=(file_ref other) noexcept {
        std::swap(target_, other.target_);
        return *this;
    }
    ~file_ref() {
        if (target_ != nullptr && --target_->references_ == 0) [[unlikely]]
            destroy(target_);
    }

    [[nodiscard]] explicit operator bool() const noexcept { return target_ != nullptr; }
    [[nodiscard]] open_file* operator->() const noexcept { return target_; }

    [[nodiscard]] bool is_open() const noexcept { return target_ != nullptr && target_->fd() >= 0; }
    /// For error messages.
    [[nodiscard]] std::string path() const {
        return target_ != nullptr ? target_->path() : "a file";
    }

  private:
    void keep() noexcept {
        if (target_ != nullptr)
            ++target_->references_;
    }
    // Apart from the count, which is what most operations see of it.
    [[gnu::noinline]] static void destroy(open_file* target) noexcept { delete target; }

    open_file* target_ = nullptr;
};

} // namespace hob::detail
