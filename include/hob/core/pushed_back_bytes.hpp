// SPDX-License-Identifier: MIT
// Bytes that were read from a stream and given back.
#pragma once

#include <hob/core/check.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>

namespace hob::detail {

/// The next read of the stream gets them first.
class pushed_back_bytes {
  public:
    [[nodiscard]] bool empty() const noexcept { return bytes_ == nullptr; }
    [[nodiscard]] std::size_t size() const noexcept { return end_ - begin_; }

    /// Copies `bytes`. Only while empty. Throws `std::bad_alloc`.
    void put(std::span<const std::byte> bytes) {
        check(empty(), "bytes were pushed back before others had been read again");
        if (bytes.empty())
            return;
        bytes_ = std::make_unique_for_overwrite<std::byte[]>(bytes.size());
        std::memcpy(bytes_.get(), bytes.data(), bytes.size());
        begin_ = 0;
        end_ = bytes.size();
    }

    /// Moves as many as there are, or as fit, to the front of `target`. Returns how many.
    std::size_t take(std::span<std::byte> target) noexcept {
        const std::size_t count = std::min(target.size(), size());
        if (count == 0)
            return 0;
        std::memcpy(target.data(), bytes_.get() + begin_, count);
        begin_ += count;
        if (begin_ == end_)
            bytes_.reset();
        return count;
    }

  private:
    std::unique_ptr<std::byte[]> bytes_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

} // namespace hob::detail
