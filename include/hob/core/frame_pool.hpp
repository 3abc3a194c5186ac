// SPDX-License-Identifier: MIT
// Recycled memory for coroutine frames and task records.
#pragma once

#include <hob/core/fork_handlers.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <new>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#define HOB_DETAIL_PLAIN_FRAMES 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define HOB_DETAIL_PLAIN_FRAMES 1
#endif
#endif

namespace hob::detail {

/// A per-thread pool with one free list for each size class. Memory moves between threads freely:
/// a block joins the pool of the thread that frees it, which hands some of its blocks to the others
/// when one of them lacks blocks and `give_wanted` is called; and an ending thread leaves all that
/// it has. Chunks are never returned to the system while the process lives, so that no block can
/// outlive its chunk. Under ASan and MSan the pool steps aside, because recycling would hide a use
/// after free.
class frame_pool {
  public:
    static constexpr std::size_t granularity = 16;
    static constexpr std::size_t largest_pooled = 2048;
    static constexpr std::size_t chunk_size = 64 * 1024;

    // Inlined always, here and below: GCC makes calls of them otherwise, which every coroutine
    // would notice.

    /// Returns `size` bytes aligned to 16. Throws `std::bad_alloc`.
    [[nodiscard, gnu::always_inline]] static void* allocate(std::size_t size) {
#if !defined(HOB_DETAIL_PLAIN_FRAMES)
        if (size <= largest_pooled) [[likely]] {
            const std::size_t index = class_of(size);
            frame_pool& pool = local();
            if (free_block* block = pool.free_[index]) [[likely]] {
                pool.free_[index] = block->next;
                return block;
            }
            return refill(index);
        }
#endif
        return ::operator new(size);
    }

    /// Takes back what `allocate(size)` returned, on any thread.
    [[gnu::always_inline]] static void deallocate(void* memory,
                                                  [[maybe_unused]] std::size_t size) noexcept {
#if !defined(HOB_DETAIL_PLAIN_FRAMES)
        if (size <= largest_pooled) [[likely]] {
            if (!local().registered_) [[unlikely]]
                return deallocate_first(memory, class_of(size));
            return local().put(memory, class_of(size));
        }
#endif
        deallocate_large(memory);
    }

    /// Where a thread comes by that frees what others have allocated: hands over some of the blocks
    /// that others lack.
    static void give_wanted() noexcept {
        const unsigned wants = wants_.load(std::memory_order_relaxed);
        if (wants != local().wants_seen_) [[unlikely]]
            local().give_batches(wants);
    }

  private:
    struct free_block {
        // Left alone: here a coroutine keeps what resumes it.
        void* first_word;
        free_block* next;
        free_block* next_batch; ///< of the first one of a batch
    };
    static constexpr std::size_t smallest_block = 2 * granularity;
    static_assert(sizeof(free_block) <= smallest_block);
    /// Blocks that move between threads together.
    static constexpr int batch_size = 32;
    /// So that handing them over takes no turn of a loop noticeably longer.
    static constexpr int batches_at_once = 8;
    /// Where counting ends.
    static constexpr int most_lacking = 1 << 20;
    static constexpr std::size_t class_count = largest_pooled / granularity + 1;
    using free_lists = std::array<free_block*, class_count>;

    struct chunk_header {
        chunk_header* next;
    };
    /// What threads took from the depot or from a chunk, and others have not handed over since.
    struct lack {
        int blocks = 0;
        const frame_pool* pool = nullptr; ///< of the last one who took some
    };
    /// The unused end of a chunk, which it begins with.
    struct chunk_rest {
        chunk_rest* next;
        std::byte* end;
    };

    /// What threads left behind or handed over. Leaked on purpose: threads may end after static
    /// destructors.
    struct depot {
        std::mutex mutex;
        free_lists batches{};
        std::array<lack, class_count> lacking{};
        unsigned pools = 0; ///< of threads that have not ended
        chunk_header* chunks = nullptr;
        chunk_rest* rests = nullptr; ///< each with room for a block of any class
    };
    /// How often a thread has taken some, while there were others.
    static inline constinit std::atomic<unsigned> wants_ = 0;

    /// Hands the ending thread's lists to the depot. Separate from the pool, so that reaching the
    /// pool needs no guard against an unconstructed thread-local.
    struct thread_exit {
        frame_pool* pool = nullptr;
        ~thread_exit() {
            if (pool != nullptr)
                pool->donate();
        }
    };

    static constexpr std::size_t class_of(std::size_t size) noexcept {
        return (size + granularity - 1) / granularity;
    }

    static frame_pool& local() noexcept {
        static constinit thread_local frame_pool pool;
        return pool;
    }

    static depot& shared() {
        static depot* const instance = new depot;
        return *instance;
    }
    // Before `main`, so that no fork meets it half made.
    static inline const depot& made_early_ = shared();
    // A child must not inherit the lock of a thread that it does not have.
    static inline const fork_handlers at_fork_{[] { shared().mutex.lock(); },
                                               [] { shared().mutex.unlock(); },
                                               [] { shared().mutex.unlock(); }};

    // Apart from the rest, and without the pool, which then need not be at hand for it.
    [[gnu::cold, gnu::noinline]] static void* refill(std::size_t index) {
        return local().take(index);
    }

    // Not inlined: GCC without optimization, which does not inline the way in either, would warn of
    // a delete that does not match its new.
    [[gnu::cold, gnu::noinline]] static void deallocate_large(void* memory) noexcept {
        ::operator delete(memory);
    }

    [[gnu::always_inline]] void put(void* memory, std::size_t index) noexcept {
        free_block* const block = ::new (memory) free_block;
        block->next = free_[index];
        free_[index] = block;
    }
    /// Also a thread that only frees leaves its lists to the others.
    [[gnu::cold, gnu::noinline]] static void deallocate_first(void* memory,
                                                              std::size_t index) noexcept {
        {
            const std::lock_guard lock(shared().mutex);
            local().enroll(shared());
        }
        local().put(memory, index);
    }

    void* take(std::size_t index) {
        depot& common = shared();
        const std::lock_guard lock(common.mutex);
        enroll(common);
        free_block* const batch = common.batches[index];
        if (common.pools > 1) {
            lack& lacking = common.lacking[index];
            lacking.pool = this;
            lacking.blocks =
                std::min(lacking.blocks + (batch != nullptr ? batch_size : 1), most_lacking);
            wants_.fetch_add(1, std::memory_order_relaxed);
        }
        if (batch != nullptr) {
            common.batches[index] = batch->next_batch;
            free_[index] = batch->next;
            return batch;
        }
        return take_from_chunk(common, std::max(index * granularity, smallest_block));
    }

    [[gnu::cold, gnu::noinline]] void give_batches(unsigned wants) noexcept {
        depot& common = shared();
        const std::unique_lock lock(common.mutex, std::try_to_lock);
        if (!lock)
            return;
        int left = batches_at_once;
        for (std::size_t index = 0; index != class_count; ++index) {
            lack& lacking = common.lacking[index];
            if (lacking.blocks <= 0 || lacking.pool == this || free_[index] == nullptr)
                continue;
            // This thread may soon need the first batch itself.
            free_block*& list = end_of_batch(*free_[index]).next;
            while (lacking.blocks > 0 && list != nullptr) {
                free_block& last = end_of_batch(*list);
                if (last.next == nullptr)
                    break;
                if (left-- == 0)
                    return;
                hand_over(common, index, list, last);
                lacking.blocks -= batch_size;
            }
        }
        wants_seen_ = wants;
    }

    void donate() noexcept {
        depot& common = shared();
        const std::lock_guard lock(common.mutex);
        --common.pools;
        for (std::size_t index = 0; index != class_count; ++index)
            while (free_[index] != nullptr)
                hand_over(common, index, free_[index], end_of_batch(*free_[index]));
        if (end_ - begin_ >= static_cast<std::ptrdiff_t>(largest_pooled))
            common.rests = ::new (begin_) chunk_rest{common.rests, end_};
        begin_ = end_ = nullptr;
    }

    // With the depot locked, from here on.

    void enroll(depot& common) noexcept {
        static thread_local thread_exit at_exit;
        at_exit.pool = this;
        if (!std::exchange(registered_, true))
            ++common.pools;
    }

    void* take_from_chunk(depot& common, std::size_t size) {
        if (static_cast<std::size_t>(end_ - begin_) < size)
            new_chunk(common);
        return std::exchange(begin_, begin_ + size);
    }

    void new_chunk(depot& common) {
        if (chunk_rest* const rest = common.rests) {
            common.rests = rest->next;
            end_ = rest->end;
            begin_ = reinterpret_cast<std::byte*>(rest);
            return;
        }
        auto* const chunk = static_cast<std::byte*>(::operator new(chunk_size));
        // Keeps the chunk reachable, so that leak checkers see it as in use.
        common.chunks = ::new (chunk) chunk_header{common.chunks};
        begin_ = chunk + granularity;
        end_ = chunk + chunk_size;
    }

    [[nodiscard]] static free_block& end_of_batch(free_block& first) noexcept {
        free_block* last = &first;
        for (int count = 1; count != batch_size && last->next != nullptr; ++count)
            last = last->next;
        return *last;
    }

    /// Leaves the first batch of `list`, which is of the class `index` and ends with `last`, to the
    /// others.
    static void hand_over(depot& common, std::size_t index, free_block*& list,
                          free_block& last) noexcept {
        free_block* const rest = std::exchange(last.next, nullptr);
        list->next_batch = std::exchange(common.batches[index], list);
        list = rest;
    }

    free_lists free_{};
    bool registered_ = false;
    unsigned wants_seen_ = 0;
    std::byte* begin_ = nullptr;
    std::byte* end_ = nullptr;
};

} // namespace hob::detail

#undef HOB_DETAIL_PLAIN_FRAMES
