// SPDX-License-Identifier: MIT
// The values of context variables that a task carries.
#pragma once

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

namespace hob::detail {

/// A small map from variables to values. Copies share what they hold until one of them changes, so
/// handing it to a new task costs next to nothing.
class context {
  public:
    /// True once any variable was set on any thread: before that, no task need look for a context.
    [[nodiscard]] static bool is_used() noexcept { return used_.load(std::memory_order_relaxed); }

    [[nodiscard]] bool empty() const noexcept { return entries_ == nullptr; }
    /// The value of the variable that `key` stands for, or null.
    [[nodiscard]] std::shared_ptr<const void> find(const void* key) const noexcept {
        if (entries_ != nullptr)
            for (const entry& each : *entries_)
                if (each.first == key)
                    return each.second;
        return nullptr;
    }
    /// A null value removes the variable. Throws `std::bad_alloc`.
    void set(const void* key, std::shared_ptr<const void> value) {
        auto changed =
            entries_ ? std::make_shared<entries>(*entries_) : std::make_shared<entries>();
        std::erase_if(*changed, [key](const entry& each) { return each.first == key; });
        if (value)
            changed->emplace_back(key, std::move(value));
        entries_ = std::move(changed);
        used_.store(true, std::memory_order_relaxed);
    }

  private:
    using entry = std::pair<const void*, std::shared_ptr<const void>>;
    using entries = std::vector<entry>;

    static inline std::atomic<bool> used_ = false;

    std::shared_ptr<const entries> entries_;
};

} // namespace hob::detail
