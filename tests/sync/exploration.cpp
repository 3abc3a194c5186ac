// SPDX-License-Identifier: MIT
// The primitives under every order of steps and cancellations of a few tasks.
#include "../catch.hpp"
#include "explorer.hpp"

#include <hob/sync/barrier.hpp>
#include <hob/sync/channel.hpp>
#include <hob/sync/condition_variable.hpp>
#include <hob/sync/event.hpp>
#include <hob/sync/mutex.hpp>
#include <hob/sync/queue.hpp>
#include <hob/sync/semaphore.hpp>

#include <cstdio>
#include <optional>

using test::actor;
using test::expect;

namespace {

template <std::size_t Count> using actor_array = std::array<actor, Count>;

template <std::size_t Count> std::size_t count_operating(const actor_array<Count>& actors) {
    std::size_t count = 0;
    for (const actor& each : actors)
        count += each.is_operating() ? 1U : 0U;
    return count;
}

/// Numbers those who come, and sees that they are served in that order.
class line_of_tickets {
  public:
    [[nodiscard]] int come() noexcept { return ++last_come_; }
    void serve(int ticket) {
        expect(ticket > last_served_, "somebody got ahead in the line");
        last_served_ = ticket;
    }

  private:
    int last_come_ = 0;
    int last_served_ = 0;
};

/// In a critical section while it lives.
class visit {
  public:
    explicit visit(int& inside) : inside_(inside) {
        ++inside_;
        expect(inside_ == 1, "two tasks are in a critical section");
    }
    ~visit() { --inside_; }
    visit(const visit&) = delete;
    visit& operator=(const visit&) = delete;

  private:
    int& inside_;
};

template <std::size_t Actors, int Rounds> class mutex_scenario {
  public:
    static constexpr std::size_t actors = Actors;

    hob::task<> script(std::size_t, actor& self) {
        for (int round = 0; round != Rounds; ++round) {
            co_await self.step();
            const int ticket = line_.come();
            hob::mutex_guard guard = co_await lock(self);
            line_.serve(ticket);
            const visit inside(inside_);
            co_await self.step();
        }
    }
    void check_at_rest(const actor_array<Actors>& all) const {
        expect(mutex_.is_locked() == (inside_ == 1), "a mutex is locked by nobody");
        expect(mutex_.is_locked() || count_operating(all) == 0, "a task waits for a free mutex");
    }
    static hob::task<> let_end() { co_return; }
    void check_end() {
        expect(!mutex_.is_locked(), "a mutex stays locked");
        expect(mutex_.try_lock().owns_lock(), "a free mutex cannot be locked");
    }

  private:
    hob::task<hob::mutex_guard> lock(actor& self) {
        const actor::operating now(self);
        co_return co_await mutex_.lock();
    }

    hob::mutex mutex_;
    line_of_tickets line_;
    int inside_ = 0;
};

template <std::size_t Actors, int Rounds, std::ptrdiff_t Units> class semaphore_scenario {
  public:
    static constexpr std::size_t actors = Actors;

    hob::task<> script(std::size_t, actor& self) {
        for (int round = 0; round != Rounds; ++round) {
            co_await self.step();
            // Those who must wait are served in their order; others can be seen before them only
            // because a woken task runs later.
            const int ticket = semaphore_.value() == 0 ? line_.come() : 0;
            const hob::semaphore_permit permit = co_await acquire(self);
            if (ticket != 0)
                line_.serve(ticket);
            const holding now(held_);
            expect(held_ <= Units, "more units are held than there are");
            co_await self.step();
        }
    }
    void check_at_rest(const actor_array<Actors>& all) const {
        expect(semaphore_.value() + held_ == Units, "a unit was lost or made");
        expect(semaphore_.value() == 0 || count_operating(all) == 0,
               "a task waits for a free unit");
    }
    static hob::task<> let_end() { co_return; }
    void check_end() const { expect(semaphore_.value() == Units, "a unit was not given back"); }

  private:
    class holding {
      public:
        explicit holding(std::ptrdiff_t& held) noexcept : held_(held) { ++held_; }
        ~holding() { --held_; }
        holding(const holding&) = delete;
        holding& operator=(const holding&) = delete;

      private:
        std::ptrdiff_t& held_;
    };

    hob::task<hob::semaphore_permit> acquire(actor& self) {
        const actor::operating now(self);
        co_return co_await semaphore_.acquire();
    }

    hob::bounded_semaphore semaphore_{Units};
    line_of_tickets line_;
    std::ptrdiff_t held_ = 0;
};

class event_scenario {
  public:
    static constexpr std::size_t actors = 3;

    hob::task<> script(std::size_t who, actor& self) {
        if (who == 0) {
            co_await self.step();
            set();
            co_await self.step();
            event_.clear();
            co_await self.step();
            set();
            event_.clear();
            co_return;
        }
        for (int round = 0; round != 2; ++round) {
            co_await self.step();
            const actor::operating now(self);
            came_[who] = sets_;
            co_await event_.wait();
        }
    }
    void check_at_rest(const actor_array<actors>& all) const {
        for (std::size_t who = 1; who != actors; ++who)
            expect(!all[who].is_operating() || (came_[who] == sets_ && !event_.is_set()),
                   "a task waits for an event that was set");
    }
    hob::task<> let_end() {
        set();
        co_return;
    }
    void check_end() {
        event_.clear();
        event_.set();
    }

  private:
    void set() {
        ++sets_;
        event_.set();
    }

    hob::event event_;
    int sets_ = 0;
    std::array<int, actors> came_{};
};

/// Two waiters, and others that notify.
template <std::size_t Actors, int Notifies> class condition_scenario {
  public:
    static constexpr std::size_t actors = Actors;

    hob::task<> script(std::size_t who, actor& self) {
        co_await self.step();
        hob::mutex_guard guard = co_await mutex_.lock();
        std::optional<visit> inside(inside_);
        if (who < 2) {
            await_returns_[who] = returns_;
            await_notifies_[who] = notifies_;
            // While the task waits, others are inside; however it ends, the mutex is its own again.
            inside.reset();
            const mutex_is_ours ours(*this);
            {
                const actor::operating now(self);
                co_await condition_.wait(guard);
            }
            ++returns_;
            co_return;
        }
        for (int count = 0; count != Notifies; ++count) {
            co_await self.step();
            ++notifies_;
            condition_.notify_one();
        }
    }
    void check_at_rest(const actor_array<Actors>& all) const {
        // Each notify since the task came would have been for it, had nobody else returned.
        for (std::size_t who = 0; who != 2; ++who)
            expect(!all[who].is_operating() || all[who].is_cancelled() || mutex_.is_locked() ||
                       returns_ - await_returns_[who] >= notifies_ - await_notifies_[who],
                   "a notify was lost while a task waits");
    }
    hob::task<> let_end() {
        const auto guard = co_await mutex_.lock();
        condition_.notify_all();
    }
    void check_end() const { expect(!mutex_.is_locked(), "a mutex stays locked"); }

  private:
    class mutex_is_ours {
      public:
        explicit mutex_is_ours(condition_scenario& owner) noexcept : owner_(owner) {}
        ~mutex_is_ours() {
            if (!owner_.mutex_.is_locked() || owner_.inside_ != 0)
                owner_.inside_ = 100;
        }
        mutex_is_ours(const mutex_is_ours&) = delete;
        mutex_is_ours& operator=(const mutex_is_ours&) = delete;

      private:
        condition_scenario& owner_;
    };

    hob::mutex mutex_;
    hob::condition_variable condition_{mutex_};
    int inside_ = 0;
    int notifies_ = 0;
    int returns_ = 0;
    std::array<int, 2> await_returns_{};
    std::array<int, 2> await_notifies_{};
};

template <std::size_t Actors, int Rounds, std::size_t Parties> class barrier_scenario {
  public:
    static constexpr std::size_t actors = Actors;

    hob::task<> script(std::size_t, actor& self) {
        for (int round = 0; round != Rounds; ++round) {
            co_await self.step();
            const actor::operating now(self);
            try {
                numbers_ += co_await barrier_.arrive_and_wait();
                ++passed_;
            } catch (const hob::broken_barrier_error&) {
                expect(may_break_, "a barrier broke of itself");
            }
        }
    }
    void check_at_rest(const actor_array<Actors>& all) const {
        expect(passed_ % Parties == 0, "a barrier let a part of a round pass");
        expect(numbers_ == passed_ / Parties * (Parties * (Parties - 1) / 2),
               "a round was not numbered");
        expect(barrier_.waiting() == count_operating(all), "a barrier counts who is not there");
        expect(barrier_.waiting() < Parties, "a complete round waits");
    }
    hob::task<> let_end() {
        may_break_ = true;
        barrier_.abort();
        co_return;
    }
    void check_end() const { expect(barrier_.waiting() == 0, "a barrier counts who is gone"); }

  private:
    hob::barrier barrier_{Parties};
    std::size_t passed_ = 0;
    std::size_t numbers_ = 0;
    bool may_break_ = false;
};

/// What became of numbered items.
template <int Items> class item_ledger {
  public:
    void put(int item) { put_[index(item)] = true; }
    void got(int item) {
        expect(!got_[index(item)], "an item was got twice");
        got_[index(item)] = true;
    }
    void left(int item) { got(item); }
    void check() const {
        for (std::size_t item = 0; item != Items; ++item) {
            expect(!put_[item] || got_[item], "an item was lost");
            expect(put_[item] || !got_[item], "an item was got whose put was stopped");
        }
    }

  private:
    static std::size_t index(int item) { return static_cast<std::size_t>(item); }
    std::array<bool, Items> put_{};
    std::array<bool, Items> got_{};
};

template <std::size_t Putters, std::size_t Getters, int Rounds, std::size_t Capacity>
class queue_scenario {
  public:
    static constexpr std::size_t actors = Putters + Getters;

    hob::task<> script(std::size_t who, actor& self) {
        try {
            for (int round = 0; round != Rounds; ++round) {
                co_await self.step();
                const actor::operating now(self);
                if (who < Putters) {
                    const int item = static_cast<int>(who) * Rounds + round;
                    co_await queue_.put(item);
                    ledger_.put(item);
                } else {
                    const int item = co_await queue_.get();
                    ledger_.got(item);
                    if (Getters == 1) {
                        int& last = last_[static_cast<std::size_t>(item / Rounds)];
                        expect(item > last, "the items of a producer came out of order");
                        last = item;
                    }
                }
            }
        } catch (const hob::queue_shut_down&) {
            expect(queue_.is_shut_down(), "a queue shut down of itself");
        }
    }
    void check_at_rest(const actor_array<actors>& all) const {
        bool someone_puts = false;
        bool someone_gets = false;
        for (std::size_t who = 0; who != actors; ++who)
            (who < Putters ? someone_puts : someone_gets) |= all[who].is_operating();
        expect(queue_.size() <= Capacity, "a queue holds more than it may");
        expect(!someone_puts || queue_.size() == Capacity, "a task waits for room that is there");
        expect(!someone_gets || queue_.size() == 0, "a task waits for an item that is there");
        expect(!someone_gets || !someone_puts, "tasks wait for each other");
    }
    hob::task<> let_end() {
        queue_.shutdown();
        co_return;
    }
    void check_end() {
        const std::size_t accepted = queue_.unfinished();
        while (queue_.size() != 0)
            ledger_.left(*queue_.try_get());
        ledger_.check();
        expect(accepted == queue_.unfinished(), "a queue miscounts its items");
    }

  private:
    hob::queue<int> queue_{Capacity};
    item_ledger<static_cast<int>(Putters) * Rounds> ledger_;
    std::array<int, Putters> last_ = first_numbers();

    static std::array<int, Putters> first_numbers() {
        std::array<int, Putters> none{};
        none.fill(-1);
        return none;
    }
};

/// Two senders that drop their ends, and a receiver that waits for the end.
template <std::size_t Capacity> class channel_scenario {
  public:
    static constexpr std::size_t actors = 3;

    channel_scenario() {
        auto [sender, receiver] = hob::channel<int>(Capacity);
        senders_[0] = sender;
        senders_[1] = std::move(sender);
        receiver_ = std::move(receiver);
    }

    hob::task<> script(std::size_t who, actor& self) {
        return who == 2 ? receive(std::move(receiver_), self)
                        : send(std::move(senders_[who]), static_cast<int>(who), self);
    }
    static void check_at_rest(const actor_array<actors>&) {}
    static hob::task<> let_end() { co_return; }
    void check_end() const {
        if (received_all_)
            ledger_.check();
    }

  private:
    hob::task<> send(hob::channel_sender<int> sender, int item, actor& self) {
        co_await self.step();
        try {
            co_await sender.send(item);
            ledger_.put(item);
        } catch (const hob::channel_closed_error&) {
            expect(!received_all_, "a channel closed before its end");
        }
    }
    hob::task<> receive(hob::channel_receiver<int> receiver, actor& self) {
        for (;;) {
            co_await self.step();
            const std::optional<int> item = co_await receiver.receive();
            if (!item)
                break;
            ledger_.got(*item);
        }
        received_all_ = true;
    }

    std::array<hob::channel_sender<int>, 2> senders_;
    hob::channel_receiver<int> receiver_;
    item_ledger<2> ledger_;
    bool received_all_ = false;
};

/// Under every schedule with so many cancellations; there are at least so many schedules.
template <class Scenario> void explore(std::size_t least, std::size_t cancels = 1) {
    test::bounds limits;
    limits.cancels = cancels;
    const std::size_t schedules = test::exploration<Scenario>::explore(limits);
    std::printf("%zu schedules explored\n", schedules);
    if (!test::sanitized)
        CHECK(schedules >= least);
}

} // namespace

TEST_CASE("a mutex excludes, serves in order and is never lost, whatever the schedule",
          "[lock-mutex][lock-fifo][lock-cancel-race][lock-cancel-woken][lock-all-cancelled]") {
    explore<mutex_scenario<2, 1>>(1'000, 4);
    explore<mutex_scenario<2, 2>>(30'000);
    explore<mutex_scenario<2, 3>>(200'000, 0);
    explore<mutex_scenario<3, 1>>(100'000, 2);
    explore<mutex_scenario<4, 1>>(30'000, 0);
}

TEST_CASE("a semaphore keeps its units and its order, whatever the schedule",
          "[sem-fifo][sem-cancel][sem-bounds]") {
    explore<semaphore_scenario<3, 1, 1>>(10'000);
    explore<semaphore_scenario<3, 1, 2>>(100'000, 2);
    explore<semaphore_scenario<4, 1, 2>>(100'000, 0);
}

TEST_CASE("an event wakes all who wait, whatever the schedule", "[event-set][event-cancel]") {
    explore<event_scenario>(100'000);
}

TEST_CASE("a condition keeps its mutex and its notifies, whatever the schedule",
          "[cond-reacquire][cond-notify-lost]") {
    explore<condition_scenario<3, 1>>(20'000, 2);
    explore<condition_scenario<3, 2>>(50'000, 2);
    explore<condition_scenario<4, 1>>(100'000);
}

TEST_CASE("a barrier lets whole rounds pass, whatever the schedule", "[barrier]") {
    explore<barrier_scenario<3, 2, 2>>(30'000);
    explore<barrier_scenario<3, 2, 3>>(30'000);
    explore<barrier_scenario<4, 1, 2>>(50'000, 2);
}

TEST_CASE("a queue loses nothing and keeps nobody waiting, whatever the schedule",
          "[q-fifo][q-get-cancel][q-put-cancel][q-no-idle][q-cap]") {
    explore<queue_scenario<1, 1, 3, 0>>(10'000, 2);
    explore<queue_scenario<1, 1, 3, 1>>(10'000, 2);
    explore<queue_scenario<2, 1, 2, 1>>(40'000);
    explore<queue_scenario<2, 2, 1, 0>>(5'000);
    explore<queue_scenario<2, 2, 1, 1>>(50'000, 2);
}

TEST_CASE("a channel ends when its ends are gone, whatever the schedule",
          "[q-get-cancel][q-put-cancel][q-no-idle]") {
    explore<channel_scenario<0>>(10'000, 2);
    explore<channel_scenario<1>>(10'000, 2);
}
