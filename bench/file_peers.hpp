// SPDX-License-Identifier: MIT
// What hob's file reads are compared with: pread, and a raw ring with one io_uring_enter per batch.
#pragma once

#include <fcntl.h>
#include <liburing.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif

namespace bench {

inline constexpr std::size_t file_block_size = 4096;
inline constexpr std::uint64_t default_file_size = std::uint64_t{1} << 30;

// The same sequence of block offsets for everyone who is measured.
class random_offsets {
  public:
    explicit random_offsets(std::uint64_t file_size) : blocks_{file_size / file_block_size} {
        if (blocks_ == 0)
            throw std::invalid_argument{"the file is smaller than a block"};
    }

    std::uint64_t next() { // xorshift64*: costs little beside a read
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return (state_ * 0x2545F4914F6CDD1DULL >> 16) % blocks_ * file_block_size;
    }

  private:
    std::uint64_t blocks_;
    std::uint64_t state_ = 0x9E3779B97F4A7C15ULL;
};

inline std::system_error file_failure(int error_number, const char* what) {
    return std::system_error{error_number, std::system_category(), what};
}

// The first word of each block is its own offset: a reader can tell that it got what it asked for.
inline void check_block(const std::byte* block, std::uint64_t offset) {
    std::uint64_t found = 0;
    std::memcpy(&found, block, sizeof found);
    if (found != offset)
        throw std::runtime_error{"read the wrong block at " + std::to_string(offset)};
}

// A file of checkable blocks, in the page cache, gone when this object is.
class cached_file {
  public:
    explicit cached_file(std::string path, std::uint64_t size = default_file_size)
        : path_{std::move(path)}, size_{size} {
        descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (descriptor_ < 0)
            throw file_failure(errno, "open");
        try {
            fill();
        } catch (...) {
            remove();
            throw;
        }
    }
    cached_file(const cached_file&) = delete;
    cached_file& operator=(const cached_file&) = delete;
    ~cached_file() { remove(); }

    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] int descriptor() const { return descriptor_; }
    [[nodiscard]] std::uint64_t size() const { return size_; }

  private:
    void fill() const {
        std::vector<std::byte> chunk(std::size_t{1} << 20);
        for (std::uint64_t start = 0; start < size_; start += chunk.size()) {
            for (std::size_t block = 0; block < chunk.size(); block += file_block_size) {
                const std::uint64_t offset = start + block;
                std::memcpy(chunk.data() + block, &offset, sizeof offset);
            }
            const auto count =
                static_cast<std::size_t>(std::min<std::uint64_t>(chunk.size(), size_ - start));
            std::size_t written = 0;
            while (written < count) {
                const ssize_t result =
                    ::pwrite(descriptor_, chunk.data() + written, count - written,
                             static_cast<off_t>(start + written));
                if (result < 0)
                    throw file_failure(errno, "pwrite");
                written += static_cast<std::size_t>(result);
            }
        }
        if (::fsync(descriptor_) != 0)
            throw file_failure(errno, "fsync"); // no write-back while others measure
    }

    void remove() const {
        ::close(descriptor_);
        ::unlink(path_.c_str());
    }

    std::string path_;
    std::uint64_t size_;
    int descriptor_ = -1;
};

class rate_clock {
  public:
    [[nodiscard]] double per_second(std::uint64_t count) const {
        const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin_;
        return static_cast<double>(count) / elapsed.count();
    }

  private:
    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

inline void check_read(ssize_t result, const std::byte* block, std::uint64_t offset) {
    if (result < 0)
        throw file_failure(static_cast<int>(-result), "read");
    if (result != static_cast<ssize_t>(file_block_size))
        throw std::runtime_error{"a short read"};
    check_block(block, offset);
}

// One read after the other.
inline double pread_reads_per_second(int descriptor, std::uint64_t file_size, std::uint64_t count) {
    alignas(file_block_size) std::array<std::byte, file_block_size> block;
    random_offsets offsets{file_size};
    const rate_clock clock;
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t offset = offsets.next();
        const ssize_t result =
            ::pread(descriptor, block.data(), block.size(), static_cast<off_t>(offset));
        check_read(result < 0 ? -errno : result, block.data(), offset);
    }
    return clock.per_second(count);
}

namespace file_detail {

class ring {
  public:
    explicit ring(unsigned entries) {
        int result = io_uring_queue_init(entries, &ring_,
                                         IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
        if (result == -EINVAL)
            result = io_uring_queue_init(entries, &ring_, 0);
        if (result < 0)
            throw file_failure(-result, "io_uring_setup");
        io_uring_register_ring_fd(&ring_);
    }
    ring(const ring&) = delete;
    ring& operator=(const ring&) = delete;
    ~ring() { io_uring_queue_exit(&ring_); }

    io_uring* operator*() { return &ring_; }

  private:
    io_uring ring_{};
};

struct alignas(file_block_size) block {
    std::array<std::byte, file_block_size> bytes;
};

} // namespace file_detail

// `depth` reads under way at once; each completion of a batch starts the next read, and one call
// submits them all.
inline double raw_ring_reads_per_second(int descriptor, std::uint64_t file_size, unsigned depth,
                                        std::uint64_t count) {
    // The blocks outlive the ring, so that an error never frees memory the kernel still writes to.
    const auto blocks = std::make_unique<file_detail::block[]>(depth);
    std::vector<std::uint64_t> wanted(depth);
    file_detail::ring ring{depth};
    random_offsets offsets{file_size};
    std::uint64_t started = 0;
    const auto start = [&](unsigned slot) {
        wanted[slot] = offsets.next();
        io_uring_sqe* sqe = io_uring_get_sqe(*ring);
        io_uring_prep_read(sqe, descriptor, blocks[slot].bytes.data(), file_block_size,
                           wanted[slot]);
        io_uring_sqe_set_data64(sqe, slot);
        ++started;
    };

    const rate_clock clock;
    for (unsigned slot = 0; slot < depth && started < count; ++slot)
        start(slot);
    std::uint64_t finished = 0;
    while (finished < count) {
        const int result = io_uring_submit_and_wait(*ring, 1);
        if (result < 0 && result != -EINTR)
            throw file_failure(-result, "io_uring_enter");
        std::array<io_uring_cqe*, 64> batch;
        const unsigned ready =
            io_uring_peek_batch_cqe(*ring, batch.data(), static_cast<unsigned>(batch.size()));
        for (unsigned i = 0; i < ready; ++i) {
            const auto slot = static_cast<unsigned>(batch[i]->user_data);
            check_read(batch[i]->res, blocks[slot].bytes.data(), wanted[slot]);
            if (started < count)
                start(slot);
        }
        io_uring_cq_advance(*ring, ready);
        finished += ready;
    }
    return clock.per_second(count);
}

} // namespace bench
