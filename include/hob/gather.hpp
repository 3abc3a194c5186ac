// SPDX-License-Identifier: MIT
// hob::gather: several awaitables at once, all of their results.
#pragma once

#include <hob/core/combinator.hpp>

#include <cstddef>
#include <deque>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace hob {
namespace detail {

/// What the two forms of `gather` share: the first error, and the way of a cancellation.
class gather_base : public combinator {
  public:
    void branch_ended(branch_base& ended) noexcept override {
        any_stopped_ = any_stopped_ || ended.was_stopped();
        if (!first_error_)
            first_error_ = error_of(ended);
        one_ended();
    }

  protected:
    gather_base() = default;
    ~gather_base() = default;

    [[nodiscard]] virtual std::exception_ptr error_of(branch_base& ended) noexcept = 0;

    [[nodiscard]] bool must_stop() noexcept override {
        if (!any_stopped_)
            return false;
        if (first_error_)
            scheduler::here().report("a branch of a gather failed while it was being cancelled",
                                     &waiter_->owner(), first_error_);
        return true;
    }
    void rethrow_first() {
        if (first_error_)
            std::rethrow_exception(std::exchange(first_error_, nullptr));
    }
    [[nodiscard]] std::string describe() const override {
        return "gather (" + std::to_string(pending()) + " to go)";
    }

  private:
    std::exception_ptr first_error_;
    bool any_stopped_ = false;
};

template <class... Ts> class gather_operation : public gather_base {
  public:
    explicit gather_operation(task<Ts>... coroutines)
        : branches_(owner_of<Ts>()...), coroutines_(std::move(coroutines)...) {}

    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        std::apply([](auto&... each) { (require_root(each), ...); }, coroutines_);
        return run_branches(awaiting.promise(),
                            [this] { start_each(std::index_sequence_for<Ts...>()); });
    }

    auto await_resume() {
        rethrow_first();
        if constexpr (!(std::is_void_v<Ts> && ...))
            return std::apply(
                [](auto&... each) { return std::tuple<value_or_monostate<Ts>...>(each.take()...); },
                branches_);
    }

  protected:
    [[nodiscard]] std::tuple<branch<Ts>...>& branches() noexcept { return branches_; }

  private:
    template <class> combinator& owner_of() noexcept { return *this; }

    template <std::size_t... Index> void start_each(std::index_sequence<Index...>) noexcept {
        (start_one(std::get<Index>(branches_), std::get<Index>(coroutines_)), ...);
    }
    template <class T> void start_one(branch<T>& each, task<T>& coroutine) noexcept {
        one_more();
        each.start_now(*coroutine.release(), is_waiter_cancelled());
    }

    void cancel() noexcept override {
        std::apply([](auto&... each) { (each.cancel(), ...); }, branches_);
    }
    void visit_children(scope_visitor& visitor) override {
        std::apply([&](auto&... each) { (visit_live(visitor, each), ...); }, branches_);
    }
    [[nodiscard]] std::exception_ptr error_of(branch_base& ended) noexcept override {
        std::exception_ptr error;
        std::apply(
            [&](auto&... each) { ((&each == &ended ? void(error = each.error()) : void()), ...); },
            branches_);
        return error;
    }

    std::tuple<branch<Ts>...> branches_;
    std::tuple<task<Ts>...> coroutines_;
};

/// The form for a range. Allocates once for all its branches.
template <class T> class gather_range_operation : public gather_base {
  public:
    explicit gather_range_operation(std::vector<task<T>> coroutines)
        : coroutines_(std::move(coroutines)) {}

    template <hob_promise Promise> bool await_suspend(std::coroutine_handle<Promise> awaiting) {
        for (task<T>& each : coroutines_) {
            require_root(each);
            branches_.emplace_back(*this);
        }
        return run_branches(awaiting.promise(), [this] {
            for (std::size_t index = 0; index != branches_.size(); ++index) {
                one_more();
                branches_[index].start_now(*coroutines_[index].release(), is_waiter_cancelled());
            }
        });
    }

    auto await_resume() {
        rethrow_first();
        if constexpr (!std::is_void_v<T>) {
            std::vector<T> values;
            values.reserve(branches_.size());
            for (branch<T>& each : branches_)
                values.push_back(each.take());
            return values;
        }
    }

  protected:
    [[nodiscard]] std::deque<branch<T>>& branches() noexcept { return branches_; }

  private:
    void cancel() noexcept override {
        for (branch<T>& each : branches_)
            each.cancel();
    }
    void visit_children(scope_visitor& visitor) override {
        for (branch<T>& each : branches_)
            visit_live(visitor, each);
    }
    [[nodiscard]] std::exception_ptr error_of(branch_base& ended) noexcept override {
        return static_cast<branch<T>&>(ended).error();
    }

    std::deque<branch<T>> branches_;
    std::vector<task<T>> coroutines_;
};

} // namespace detail

/// Awaits all of its arguments at once, which may be tasks, task handles and any other awaitables,
/// and gives a tuple of their values in the order of the arguments, `std::monostate` standing for
/// void; nothing, if all of them are void.
///
/// If some fail, the others still run to their end, and then the exception that came first is
/// thrown; the later ones are dropped. (`with_task_group` is the form that cancels the siblings.)
/// Cancelling the awaiting task cancels every branch and waits for all of them. A task behind a
/// handle is only joined, not owned: it is not cancelled.
template <class... Awaitables>
    requires(detail::taskable<Awaitables> && ...)
auto gather(Awaitables&&... awaitables) {
    return detail::deferred<detail::gather_operation<detail::task_result_t<Awaitables>...>,
                            task<detail::task_result_t<Awaitables>>...>(
        detail::as_task(std::forward<Awaitables>(awaitables))...);
}

/// The same for a number of tasks known only at run time; gives a vector of their values.
template <class T> auto gather(std::vector<task<T>> tasks) {
    return detail::deferred<detail::gather_range_operation<T>, std::vector<task<T>>>(
        std::move(tasks));
}
/// The same for a vector of handles or other awaitables. Their values are copied; moved, if the
/// vector is given away.
template <detail::spawnable_range Range> auto gather(Range&& awaitables) {
    return gather(detail::as_spawned_tasks(std::forward<Range>(awaitables)));
}

} // namespace hob
