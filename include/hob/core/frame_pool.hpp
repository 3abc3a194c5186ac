// SPDX-License-Identifier: MIT
// Recycled memory for coroutine frames and task records.
#pragma once

#include <pthread.h>

#include <array>
#include <cstddef>
#include <mutex>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#define HOB_DETAIL_PLAIN_FRAMES 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define HOB_DETAIL_PLAIN_FRAMES 1
#endif
#endif

namespace hob::detail {

/// A per-thread pool with one free list for each size class. Memory moves between threads freely:
/// a block joins the pool of the thread that frees it, and an ending thread leaves what it has to
/// the others. While one thread goes on allocating what another one frees, the pool grows. Chunks
/// are never returned to the system while the process lives, so that no block can outlive its
/// chunk. Under ASan and MSan the pool steps aside, because recycling would hide a use after free.
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

  private:
    struct free_block {
        // Left alone: here a coroutine keeps what resumes it.
        void* first_word;
        free_block* next;
    };
    static constexpr std::size_t class_count = largest_pooled / granularity + 1;
    using free_lists = std::array<free_block*, class_count>;

    /// The unused end of a chunk, which it begins with.
    struct chunk_rest {
        chunk_rest* next;
        std::byte* end;
    };

    /// What threads left behind. Leaked on purpose: threads may end after static destructors.
    struct depot {
        std::mutex mutex;
        free_lists free{};
        free_block* chunks = nullptr;
        chunk_rest* rests = nullptr; ///< each with room for a block of any class
    };

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
        static depot* const instance = [] {
            auto* const made = new depot;
            // A child must not inherit the lock of a thread that it does not have.
            ::pthread_atfork([] { shared().mutex.lock(); }, [] { shared().mutex.unlock(); },
                             [] { shared().mutex.unlock(); });
            return made;
        }();
        return *instance;
    }

    // Apart from the rest, and without the pool, which then need not be at hand for it.
    [[gnu::cold, gnu::noinline]] static void* refill(std::size_t index) {
        return local().take_from_chunk(index);
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
        local().register_exit();
        local().put(memory, index);
    }
    void register_exit() noexcept {
        static thread_local thread_exit at_exit;
        at_exit.pool = this;
        registered_ = true;
    }

    void* take_from_chunk(std::size_t index) {
        register_exit();
        const std::size_t block_size = (index == 0 ? 1 : index) * granularity;
        depot& common = shared();
        {
            const std::lock_guard lock(common.mutex);
            if (free_block* left = common.free[index]) {
                common.free[index] = nullptr;
                free_[index] = left->next;
                return left;
            }
        }
        if (static_cast<std::size_t>(end_ - begin_) < block_size)
            new_chunk(common);
        void* block = begin_;
        begin_ += block_size;
        return block;
    }

    void new_chunk(depot& common) {
        {
            const std::lock_guard lock(common.mutex);
            if (chunk_rest* const rest = common.rests) {
                common.rests = rest->next;
                end_ = rest->end;
                begin_ = reinterpret_cast<std::byte*>(rest);
                return;
            }
        }
        auto* chunk = static_cast<std::byte*>(::operator new(chunk_size));
        {
            // Keeps the chunk reachable, so that leak checkers see it as in use.
            const std::lock_guard lock(common.mutex);
            auto* const block = ::new (chunk) free_block;
            block->next = common.chunks;
            common.chunks = block;
        }
        begin_ = chunk + granularity;
        end_ = chunk + chunk_size;
    }

    void donate() noexcept {
        depot& common = shared();
        const std::lock_guard lock(common.mutex);
        for (std::size_t index = 0; index != class_count; ++index) {
            free_block* first = free_[index];
            if (first == nullptr)
                continue;
            free_block* last = first;
            while (last->next != nullptr)
                last = last->next;
            last->next = common.free[index];
            common.free[index] = first;
            free_[index] = nullptr;
        }
        if (end_ - begin_ >= static_cast<std::ptrdiff_t>(largest_pooled))
            common.rests = ::new (begin_) chunk_rest{common.rests, end_};
        begin_ = end_ = nullptr;
    }

    free_lists free_{};
    bool registered_ = false;
    std::byte* begin_ = nullptr;
    std::byte* end_ = nullptr;
};

} // namespace hob::detail

#undef HOB_DETAIL_PLAIN_FRAMES
