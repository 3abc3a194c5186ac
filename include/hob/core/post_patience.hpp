// SPDX-License-Identifier: MIT
// Whether a loop that has nothing to do watches for another thread's answer before it sleeps.
#pragma once

#include <hob/core/inbox.hpp>
#include <hob/core/ring.hpp>
#include <hob/core/spin_wait.hpp>

namespace hob::detail {

/// A short job on another thread ends sooner than the loop would fall asleep and wake up, so it is
/// watched for, for about as long as that takes. Long ones make the loop lose its patience, and it
/// watches only for one in so many of them.
class post_patience {
  public:
    /// For a loop that expects a post. Returns whether one has come; looks no longer when the
    /// kernel has completed something.
    [[nodiscard]] bool post_comes_soon(const inbox& posts, const ring& kernel) noexcept {
        if (patience_ == 0 && ++sleeps_since_watching_ % sleeps_between_watches != 0)
            return false;
        const bool has_come = watch_for([&] {
            return !posts.empty() || kernel.has_completions() || kernel.has_hidden_completions();
        });
        if (!has_come && patience_ != 0)
            --patience_;
        if (posts.empty())
            return false;
        patience_ = most_patience;
        return true;
    }

  private:
    static constexpr unsigned most_patience = 4;
    static constexpr unsigned sleeps_between_watches = 16;

    unsigned patience_ = most_patience;
    unsigned sleeps_since_watching_ = 0;
};

} // namespace hob::detail
