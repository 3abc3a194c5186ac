// SPDX-License-Identifier: MIT
// hob::race: several awaitables at once, the result of the first.
#pragma once

#include <hob/core/combinator.hpp>

#include <cstddef>
#include <deque>
#include <exception>
#include <limits>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace hob {
namespace detail {

/// What the two forms of `race` share: who won, and the errors of the others.
class race_base : public combinator {
  protected:
    static constexpr std::size_t nobody = std::numeric_limits<std::size_t>::max();

    race_base() = default;
    ~race_base() = default;

    virtual void cancel_all() noexcept = 0;

    void ended(std::size_t index, bool was_stopped, std::exception_ptr error) noexcept {
        if (was_stopped) {
            any_stopped_ = true;
        } else if (error) {
            if (winner_ == nobody)
                keep(std::move(error));
            else
                scheduler::here().report("the loser of a race failed after it was cancelled",
                                         &waiter_->owner(), std::move(error));
        } else if (winner_ == nobody) {
            winner_ = index;
            cancel_all();
        }
        one_ended();
    }

    [[nodiscard]] std::size_t winner() const noexcept { return winner_; }
    [[nodiscard]] bool is_decided() const noexcept { return winner_ != nobody; }

    void throw_if_all_failed() {
        if (winner_ == nobody)
            throw exception_group("every branch of a race failed", std::move(errors_));
    }

    void cancel() noexcept override { cancel_all(); }
    [[nodiscard]] bool must_stop() noexcept override {
        if (is_decided() || !any_stopped_)
            return false;
        for (std::exception_ptr& each : errors_)
            scheduler::here().report("a branch of a race failed while it was being cancelled",
                                     &waiter_->owner(), std::move(each));
        return true;
    }
    [[nodiscard]] std::string describe() const override {
        return "race (" + std::to_string(pending()) + " running)";
    }

  private:
    void keep(std::exception_ptr error) noexcept {
        try {
            errors_.push_back(error);
        } catch (...) {
            scheduler::here().report("out of memory for an error of a race", &waiter_->owner(),
                                     std::move(error));
        }
    }

    std::vector<std::exception_ptr> errors_;
    std::size_t winner_ = nobody;
    bool any_stopped_ = false;
};

template <class... Ts> class race_operation final : public race_base {
  public:
    using result_type = std::variant<value_or_monostate<Ts>...>;

    explicit race_operation(task<Ts>... coroutines)
        : branches_(owner_of<Ts>()...), coroutines_(std::move(coroutines)...) {}

    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        std::apply([](auto&... each) { (require_root(each), ...); }, coroutines_);
        return run_branches(awaiting.promise(),
                            [this] { start_each(std::index_sequence_for<Ts...>()); });
    }

    result_type await_resume() {
        throw_if_all_failed();
        return take(std::index_sequence_for<Ts...>());
    }

    void branch_ended(branch_base& ended_branch) noexcept override {
        tell(ended_branch, std::index_sequence_for<Ts...>());
    }

  private:
    template <class> combinator& owner_of() noexcept { return *this; }

    template <std::size_t... Index> void start_each(std::index_sequence<Index...>) noexcept {
        (start_one<Index>(), ...);
    }
    template <std::size_t Index> void start_one() noexcept {
        // Whoever finishes without suspending has won before the next one starts.
        if (is_decided()) {
            std::get<Index>(coroutines_).discard();
            return;
        }
        one_more();
        std::get<Index>(branches_).start_now(*std::get<Index>(coroutines_).release(),
                                             is_waiter_cancelled());
    }

    template <std::size_t... Index>
    void tell(branch_base& ended_branch, std::index_sequence<Index...>) noexcept {
        std::size_t index = nobody;
        std::exception_ptr error;
        ((&std::get<Index>(branches_) == &ended_branch
              ? void((index = Index, error = std::get<Index>(branches_).error()))
              : void()),
         ...);
        ended(index, ended_branch.was_stopped(), std::move(error));
    }

    template <std::size_t First, std::size_t... Rest>
    result_type take(std::index_sequence<First, Rest...>) {
        if (winner() == First)
            return result_type(std::in_place_index<First>, std::get<First>(branches_).take());
        if constexpr (sizeof...(Rest) != 0)
            return take(std::index_sequence<Rest...>());
        else
            internal_error("a race without a winner", std::source_location::current());
    }

    void cancel_all() noexcept override {
        std::apply([](auto&... each) { (each.cancel(), ...); }, branches_);
    }
    void visit_children(scope_visitor& visitor) override {
        std::apply([&](auto&... each) { (visit_live(visitor, each), ...); }, branches_);
    }

    std::tuple<branch<Ts>...> branches_;
    std::tuple<task<Ts>...> coroutines_;
};

} // namespace detail

/// Which task of a range won a race, and its value.
template <class T> class race_winner {
  public:
    race_winner(std::size_t winning_index, T winning_value)
        : index(winning_index), value(std::move(winning_value)) {}
    std::size_t index;
    T value;
};

namespace detail {

/// The form for a range.
template <class T> class race_range_operation final : public race_base {
  public:
    explicit race_range_operation(std::vector<task<T>> coroutines)
        : coroutines_(std::move(coroutines)) {}

    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        if (coroutines_.empty())
            throw usage_error("a race needs at least one task");
        for (task<T>& each : coroutines_) {
            require_root(each);
            branches_.emplace_back(*this);
        }
        return run_branches(awaiting.promise(), [this] {
            for (std::size_t index = 0; index != branches_.size(); ++index) {
                if (is_decided()) {
                    coroutines_[index].discard();
                    continue;
                }
                one_more();
                branches_[index].start_now(*coroutines_[index].release(), is_waiter_cancelled());
            }
        });
    }

    race_winner<value_or_monostate<T>> await_resume() {
        throw_if_all_failed();
        return {winner(), branches_[winner()].take()};
    }

    void branch_ended(branch_base& ended_branch) noexcept override {
        auto& typed = static_cast<branch<T>&>(ended_branch);
        std::size_t index = 0;
        while (&branches_[index] != &typed)
            ++index;
        ended(index, typed.was_stopped(), typed.error());
    }

  private:
    void cancel_all() noexcept override {
        for (branch<T>& each : branches_)
            each.cancel();
    }
    void visit_children(scope_visitor& visitor) override {
        for (branch<T>& each : branches_)
            visit_live(visitor, each);
    }

    std::deque<branch<T>> branches_;
    std::vector<task<T>> coroutines_;
};

} // namespace detail

/// Awaits all of its arguments at once, takes the first that gives a value, and cancels the
/// others; returns after all of them have ended. Gives a `std::variant` whose `index()` tells who
/// won, `std::monostate` standing for void; of a handle with a name, a copy of the value. Among
/// those that one event wakes, the lower index wins; one that finishes without suspending keeps the
/// ones behind it from starting.
///
/// A branch that fails leaves the race; if all do, an `exception_group` with their exceptions is
/// thrown. Cancelling the awaiting task cancels every branch; a value that was there first is
/// delivered.
template <class... Awaitables>
    requires(sizeof...(Awaitables) != 0 && (detail::taskable<Awaitables> && ...))
auto race(Awaitables&&... awaitables) {
    return detail::deferred<detail::race_operation<detail::kept_task_result_t<Awaitables>...>,
                            task<detail::kept_task_result_t<Awaitables>>...>(
        detail::as_kept_task(std::forward<Awaitables>(awaitables))...);
}

/// The same for a number of tasks known only at run time; gives a `race_winner`. Throws
/// `usage_error` when there is no task.
template <class T> auto race(std::vector<task<T>> tasks) {
    return detail::deferred<detail::race_range_operation<T>, std::vector<task<T>>>(
        std::move(tasks));
}
/// The same for a vector of handles or other awaitables. The value is copied; moved, if the vector
/// is given away.
template <detail::spawnable_range Range> auto race(Range&& awaitables) {
    return race(detail::as_spawned_tasks(std::forward<Range>(awaitables)));
}

} // namespace hob
