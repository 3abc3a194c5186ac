// SPDX-License-Identifier: MIT
// Runs a few tasks in every order, with a cancellation at every point.
#pragma once

#include "support/program.hpp"

#include <hob/core/intrusive_list.hpp>
#include <hob/core/operation.hpp>
#include <hob/sleep.hpp>
#include <hob/task.hpp>
#include <hob/task_handle.hpp>

#include <algorithm>
#include <array>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace test {

/// Makes every sequence of decisions, depth first. A run asks for one decision after the other, and
/// must be determined by them; `next` prepares the run that differs in the last one.
class decisions {
  public:
    [[nodiscard]] std::size_t pick(std::size_t count) {
        if (depth_ == path_.size())
            path_.push_back({0, count});
        const decision& made = path_[depth_++];
        if (made.count != count)
            throw std::logic_error("a run is not determined by its decisions");
        return made.taken;
    }
    /// False when all have been made.
    [[nodiscard]] bool next() {
        depth_ = 0;
        while (!path_.empty() && ++path_.back().taken == path_.back().count)
            path_.pop_back();
        return !path_.empty();
    }
    [[nodiscard]] std::string text() const {
        std::string made;
        for (const decision& each : path_)
            made += std::to_string(each.taken) + "/" + std::to_string(each.count) + " ";
        return made;
    }

  private:
    struct decision {
        std::size_t taken;
        std::size_t count;
    };
    std::vector<decision> path_;
    std::size_t depth_ = 0;
};

/// Throws what the explorer reports as a failure, with the decisions that led to it.
inline void expect(bool condition, const char* what) {
    if (!condition)
        throw std::runtime_error(what);
}

/// One task of an exploration. Its script awaits `step()` before each thing that it does.
class actor {
    class pause final : public hob::detail::operation, public hob::detail::list_node {
      public:
        explicit pause(actor& self) noexcept : self_(self) {}
        static constexpr bool await_ready() noexcept { return false; }
        template <hob::detail::hob_promise Promise>
        bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
            if (begin(awaiting.promise()))
                self_.pause_.push_back(*this);
            return true;
        }
        static void await_resume() noexcept {}
        void go_on() noexcept { complete(); }

      private:
        void cancel() noexcept override {
            hob::detail::intrusive_list<pause>::remove(*this);
            stop();
        }
        [[nodiscard]] std::string describe() const override { return "the explorer"; }
        actor& self_;
    };

  public:
    [[nodiscard]] auto step() noexcept { return hob::detail::deferred<pause, actor&>(*this); }

    /// Says that the script is inside an operation while it lives.
    class operating {
      public:
        explicit operating(actor& self) noexcept : self_(self) { self_.operating_ = true; }
        ~operating() { self_.operating_ = false; }
        operating(const operating&) = delete;
        operating& operator=(const operating&) = delete;

      private:
        actor& self_;
    };
    [[nodiscard]] bool is_operating() const noexcept { return operating_; }
    [[nodiscard]] bool is_cancelled() const noexcept { return cancelled_; }

  private:
    template <class Scenario> friend class exploration;

    hob::detail::intrusive_list<pause> pause_;
    hob::task_handle<> task_;
    bool operating_ = false;
    bool cancelled_ = false;
};

/// How far an exploration goes.
class bounds {
  public:
    std::size_t cancels = 1; ///< at most so many in a schedule
    /// Under a sanitizer, only so many schedules.
    std::size_t sanitized_limit = 3'000;
};

/// Runs the tasks of a `Scenario` in every order of their steps, each followed by no turn of the
/// loop or by as many as it takes to come to rest, and cancels any of them at every point. A
/// scenario is made afresh for each schedule and has
///   `actors`             how many tasks there are;
///   `script(who, self)`  what one of them does;
///   `check_at_rest()`    what holds when nothing is ready to run;
///   `let_end()`          awaited when no step is left: wakes who waits with good reason;
///   `check_end()`        what holds when all tasks have ended.
template <class Scenario> class exploration {
  public:
    /// Returns how many schedules there were. Throws `std::runtime_error` at the first failure.
    template <class... Arguments>
    static std::size_t explore(const bounds& limits, const Arguments&... arguments) {
        program program;
        std::size_t schedules = 0;
        auto all = [&]() -> hob::task<> {
            decisions choices;
            do {
                try {
                    exploration run(limits, choices, arguments...);
                    co_await run.run_schedule();
                } catch (const std::exception& failure) {
                    throw std::runtime_error(failure.what() +
                                             (" after the decisions " + choices.text()));
                }
                ++schedules;
            } while (choices.next() && !(sanitized && schedules == limits.sanitized_limit));
        };
        program.run(all());
        return schedules;
    }

  private:
    template <class... Arguments>
    exploration(const bounds& limits, decisions& choices, const Arguments&... arguments)
        : scenario_(arguments...), choices_(choices), cancels_left_(limits.cancels) {}

    hob::task<> run_schedule() {
        for (std::size_t who = 0; who != Scenario::actors; ++who)
            actors_[who].task_ = hob::create_task(scenario_.script(who, actors_[who]));
        std::exception_ptr failure;
        try {
            co_await take_steps();
            co_await scenario_.let_end();
            co_await take_last_steps();
            for (const actor& each : actors_) {
                expect(each.task_.done(), "a task never ends");
                if (!each.task_.cancelled())
                    co_await each.task_;
            }
            scenario_.check_end();
        } catch (...) {
            failure = std::current_exception();
        }
        if (failure) {
            // The tasks use the scenario, so they have to go first.
            for (const actor& each : actors_)
                each.task_.cancel();
            co_await settle();
            std::rethrow_exception(failure);
        }
    }

    hob::task<> take_steps() {
        co_await rest();
        do {
            while (act())
                if (choices_.pick(2) == 1)
                    co_await rest();
            co_await rest();
        } while (has_steps());
    }
    /// What comes behind `let_end` is no longer explored.
    hob::task<> take_last_steps() {
        co_await rest();
        while (has_steps()) {
            for (actor& each : actors_)
                if (!each.pause_.empty())
                    each.pause_.pop_front().go_on();
            co_await rest();
        }
    }
    [[nodiscard]] bool has_steps() const {
        return std::any_of(actors_.begin(), actors_.end(),
                           [](const actor& each) { return !each.pause_.empty(); });
    }

    /// Lets a task take a step, or cancels one. False when no step is left and no more is to be
    /// cancelled.
    bool act() {
        std::vector<std::size_t> steps;
        std::vector<std::size_t> victims;
        for (std::size_t who = 0; who != Scenario::actors; ++who) {
            if (!actors_[who].pause_.empty())
                steps.push_back(who);
            if (cancels_left_ != 0 && !actors_[who].cancelled_ && !actors_[who].task_.done())
                victims.push_back(who);
        }
        const bool may_end = steps.empty();
        const std::size_t count = steps.size() + victims.size() + (may_end ? 1 : 0);
        const std::size_t choice = choices_.pick(count);
        if (choice < steps.size()) {
            actors_[steps[choice]].pause_.pop_front().go_on();
        } else if (choice < steps.size() + victims.size()) {
            actor& victim = actors_[victims[choice - steps.size()]];
            victim.cancelled_ = true;
            --cancels_left_;
            victim.task_.cancel();
        } else {
            return false;
        }
        return true;
    }

    hob::task<> rest() {
        co_await settle();
        scenario_.check_at_rest(actors_);
    }

    Scenario scenario_;
    decisions& choices_;
    std::array<actor, Scenario::actors> actors_;
    std::size_t cancels_left_;
};

} // namespace test
