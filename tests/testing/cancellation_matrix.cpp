// SPDX-License-Identifier: MIT
// Each kind of operation, cancelled at each point of its life: its awaiter is resumed or stopped
// exactly once, and what the operation did not take is left for the next one.
#include "testing/simulated_pair.hpp"
#include "testing/simulated_program.hpp"

#include <hob/hob.hpp>
#include <hob/testing/simulation.hpp>

#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>

using namespace std::chrono_literals;

namespace {

enum class source;

/// When the cancellation comes.
enum class point {
    unflushed, ///< p1: the kernel has not seen the operation
    pending,   ///< p2: it waits in the kernel
    racing,    ///< p3: while it completes
    reaped,    ///< p4: its completion is here, its awaiter has not been resumed
    answered,  ///< p5: what it waits for happens while the cancellation is on its way
    twice,     ///< p6: pending, and cancelled again and again
    closing,   ///< p7: the loop closes
};

/// One kind of operation, and the stage for it.
class scenario {
  public:
    scenario() = default;
    scenario(const scenario&) = delete;
    scenario& operator=(const scenario&) = delete;
    virtual ~scenario() = default;

    /// Sets the stage on which `operate` has to wait.
    virtual hob::task<> prepare() = 0;
    virtual hob::task<> operate() = 0;
    /// Makes what it waits for happen.
    virtual hob::task<> trigger() = 0;
    /// Checks, after it was triggered, that nothing was lost.
    virtual hob::task<> verify(bool resumed) = 0;
    /// Whether the completion is here; asked only between `trigger` and the end.
    virtual bool is_reaped(const hob::testing::simulation& world) const = 0;
    /// Whether it waits until it is triggered.
    virtual bool waits() const { return true; }
};

/// A scenario whose operation the trace knows by name.
class traced_scenario : public scenario {
  public:
    explicit traced_scenario(std::string_view name) : line_(" " + std::string(name) + " ") {}
    bool is_reaped(const hob::testing::simulation& world) const override {
        return world.trace().rfind(line_) != last_;
    }

  protected:
    /// Forgets what the trace says so far.
    void note(const hob::testing::simulation& world) { last_ = world.trace().rfind(line_); }

  private:
    friend hob::task<> cell(hob::testing::simulation&, scenario&, point, source);
    std::string line_;
    std::size_t last_ = std::string::npos;
};

class accepting final : public traced_scenario {
  public:
    accepting() : traced_scenario("accept") {}
    hob::task<> prepare() override {
        listener_ = hob::tcp_listener::bind("127.0.0.1", 0);
        co_return;
    }
    hob::task<> operate() override { accepted_ = co_await listener_.accept(); }
    hob::task<> trigger() override {
        client_ = co_await hob::tcp_stream::connect(listener_.local_address());
    }
    hob::task<> verify(bool resumed) override {
        CHECK(accepted_.is_open() == resumed);
        if (!resumed)
            accepted_ = co_await listener_.accept();
        CHECK(accepted_.peer_address() == client_.local_address());
    }

  private:
    hob::tcp_listener listener_;
    hob::tcp_stream client_;
    hob::tcp_stream accepted_;
};

class connecting final : public traced_scenario {
  public:
    connecting() : traced_scenario("connect") {}
    hob::task<> prepare() override {
        listener_ = hob::tcp_listener::bind("127.0.0.1", 0);
        co_return;
    }
    hob::task<> operate() override {
        stream_ = co_await hob::tcp_stream::connect(listener_.local_address());
    }
    hob::task<> trigger() override { co_return; }
    hob::task<> verify(bool resumed) override {
        CHECK(stream_.is_open() == resumed);
        const auto other = co_await hob::tcp_stream::connect(listener_.local_address());
        hob::tcp_stream accepted;
        do
            accepted = co_await listener_.accept();
        while (accepted.peer_address() != other.local_address());
    }
    bool waits() const override { return false; }

  private:
    hob::tcp_listener listener_;
    hob::tcp_stream stream_;
};

class reading : public traced_scenario {
  public:
    reading() : traced_scenario("recv") {}
    hob::task<> prepare() override { co_await test::connect_pair(pair_); }
    hob::task<> operate() override {
        std::array<std::byte, 3> buffer;
        const std::size_t count = co_await pair_.server.read_some(buffer);
        take(std::span(buffer).first(count));
    }
    hob::task<> trigger() override { co_await pair_.client.write_all(text); }
    hob::task<> verify(bool resumed) override {
        CHECK(received_.empty() != resumed);
        pair_.client.shutdown_write();
        received_ += co_await test::read_to_end(pair_.server);
        CHECK(received_ == text);
    }

  protected:
    static constexpr std::string_view text = "every byte once";

    void take(std::span<const std::byte> bytes) {
        received_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    test::simulated_pair pair_;

  private:
    std::string received_;
};

/// Takes several completions, so that the first one does not end it.
class reading_exactly final : public reading {
    hob::task<> operate() override {
        std::array<std::byte, text.size() - 1> buffer;
        co_await pair_.server.read_exactly(buffer);
        take(buffer);
    }
    bool is_reaped(const hob::testing::simulation&) const override { return false; }
};

class writing final : public traced_scenario {
  public:
    writing() : traced_scenario("send") {}
    hob::task<> prepare() override {
        co_await test::connect_pair(pair_);
        co_await pair_.client.write_all(filling_);
    }
    hob::task<> operate() override { count_ = co_await pair_.client.write_some("written"); }
    hob::task<> trigger() override {
        std::array<std::byte, 100> buffer;
        co_await pair_.server.read_exactly(buffer);
    }
    hob::task<> verify(bool resumed) override {
        CHECK((count_ != 0) == resumed);
        pair_.client.shutdown_write();
        const std::string received = co_await test::read_to_end(pair_.server);
        CHECK(received == filling_.substr(100) + std::string("written").substr(0, count_));
    }

  private:
    test::simulated_pair pair_;
    std::string filling_ = test::distinct_bytes(hob::testing::simulation_options().stream_capacity);
    std::size_t count_ = 0;
};

class writing_all final : public scenario {
  public:
    hob::task<> prepare() override { co_await test::connect_pair(pair_); }
    hob::task<> operate() override { co_await pair_.client.write_all(text_); }
    hob::task<> trigger() override {
        // To the end, or to where the writer was stopped.
        while (received_.size() != text_.size()) {
            std::array<std::byte, 5000> buffer;
            const auto count = co_await hob::try_timeout(1ms, pair_.server.read_some(buffer));
            if (!count)
                break;
            received_.append(reinterpret_cast<const char*>(buffer.data()), *count);
        }
    }
    hob::task<> verify(bool resumed) override {
        const auto taken = pair_.client.broken_write();
        pair_.client.shutdown_write();
        received_ += co_await test::read_to_end(pair_.server);
        CHECK(received_ == text_.substr(0, resumed ? text_.size() : taken.value_or(0)));
    }
    bool is_reaped(const hob::testing::simulation&) const override { return false; }

  private:
    test::simulated_pair pair_;
    std::string text_ = test::distinct_bytes(40'000);
    std::string received_;
};

class sleeping final : public scenario {
  public:
    hob::task<> prepare() override { co_return; }
    hob::task<> operate() override {
        deadline_ = hob::event_loop::current().time() + 3ms;
        co_await hob::sleep_until(deadline_);
    }
    hob::task<> trigger() override { co_await hob::sleep_until(deadline_ - 1us); }
    hob::task<> verify(bool resumed) override {
        if (resumed)
            CHECK(hob::event_loop::current().time() >= deadline_);
        co_return;
    }
    bool is_reaped(const hob::testing::simulation& world) const override {
        // The turn after the one whose end saw the deadline pass has fired the timer.
        return world.now() >= deadline_ + 1us;
    }

  private:
    hob::detail::time_point deadline_;
};

class polling final : public traced_scenario {
  public:
    polling() : traced_scenario("poll"), fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
    hob::task<> prepare() override { co_return; }
    hob::task<> operate() override { result_ = co_await test::readable(fd_.get()); }
    hob::task<> trigger() override {
        CHECK(::eventfd_write(fd_.get(), 1) == 0);
        co_return;
    }
    hob::task<> verify(bool resumed) override {
        CHECK(result_ == (resumed ? POLLIN : 0));
        const int result = co_await test::readable(fd_.get());
        CHECK(result == POLLIN);
    }

  private:
    hob::detail::unique_fd fd_;
    int result_ = 0;
};

class doing_nothing final : public traced_scenario {
  public:
    doing_nothing() : traced_scenario("nop") {}
    hob::task<> prepare() override { co_return; }
    hob::task<> operate() override { co_await test::nop(); }
    hob::task<> trigger() override { co_return; }
    hob::task<> verify(bool) override { co_return; }
    bool waits() const override { return false; }
};

/// How often the awaiting coroutine got to which place.
struct record {
    unsigned resumed = 0;
    unsigned ended = 0;
};

class end_counter {
  public:
    explicit end_counter(record& seen) noexcept : seen_(seen) {}
    end_counter(const end_counter&) = delete;
    end_counter& operator=(const end_counter&) = delete;
    ~end_counter() { ++seen_.ended; }

  private:
    record& seen_;
};

hob::task<> await_operation(scenario& stage, record& seen) {
    const end_counter counter(seen);
    co_await stage.operate();
    ++seen.resumed;
}

/// What ends the operation: its task is cancelled, or a timeout around it expires.
enum class source { cancel, timeout };

class ending {
  public:
    explicit ending(source from) noexcept : from_(from) {}

    /// Starts the task that awaits the operation.
    void start(scenario& stage, record& seen) {
        task_ = hob::create_task(from_ == source::cancel ? await_operation(stage, seen)
                                                         : await_in_time(stage, seen));
    }
    void operator()() {
        if (from_ == source::cancel)
            task_.cancel();
        else if (limit_ != nullptr && !limit_->expired())
            limit_->reschedule(hob::event_loop::current().time());
    }
    [[nodiscard]] bool is_over() const noexcept { return task_.done(); }
    /// Whether the operation was stopped.
    hob::task<bool> wait() {
        const bool cancelled = co_await test::end_of(task_);
        co_return cancelled || timed_out_;
    }

  private:
    hob::task<> await_in_time(scenario& stage, record& seen) {
        auto body = [&](hob::timeout_scope& limit) -> hob::task<> {
            limit_ = &limit;
            co_await await_operation(stage, seen);
            limit_ = nullptr;
        };
        try {
            co_await hob::timeout(1h, body);
        } catch (const hob::timeout_error&) {
            timed_out_ = true;
        }
        limit_ = nullptr;
    }

    source from_;
    hob::task_handle<> task_;
    hob::timeout_scope* limit_ = nullptr;
    bool timed_out_ = false;
};

hob::task<> cancel_at(point when, hob::testing::simulation& world, scenario& stage, ending& end) {
    // The operation is queued before this task goes on, and the kernel gets it at the turn's end.
    co_await hob::yield();
    if (when == point::unflushed) {
        end();
        co_return;
    }
    if (when == point::racing || when == point::answered) {
        for (auto turns = world.now().time_since_epoch().count() % 3; turns != 0; --turns)
            co_await hob::yield();
    } else if (stage.waits()) {
        co_await hob::sleep_for(1ms);
        CHECK_FALSE(end.is_over());
    }
    switch (when) {
    case point::racing: {
        const auto trigger = hob::create_task(stage.trigger());
        // Two latencies: of what is triggered, and of the operation.
        co_await hob::sleep_for(std::chrono::nanoseconds(world.trace_hash() % 300'000));
        end();
        co_await trigger;
        break;
    }
    case point::reaped: {
        const auto trigger = hob::create_task(stage.trigger());
        // This task is always queued before the turn's completions, so it sees them first.
        while (!stage.is_reaped(world) && !end.is_over())
            co_await hob::yield();
        end();
        co_await trigger;
        break;
    }
    case point::answered:
        end();
        co_await hob::yield();
        co_await stage.trigger();
        break;
    case point::twice:
        end();
        end();
        co_await hob::yield();
        end();
        break;
    default:
        end();
    }
}

hob::task<> cell(hob::testing::simulation& world, scenario& stage, point when, source from) {
    co_await stage.prepare();
    if (auto* const traced = dynamic_cast<traced_scenario*>(&stage))
        traced->note(world);
    const std::size_t in_flight = hob::event_loop::current().operations_in_flight();
    record seen;
    ending end(from);
    end.start(stage, seen);
    co_await cancel_at(when, world, stage, end);
    const bool stopped = co_await end.wait();
    CHECK(seen.ended == 1);
    CHECK(seen.resumed == (stopped ? 0 : 1));
    CHECK(hob::event_loop::current().operations_in_flight() == in_flight);
    if (when == point::unflushed ||
        (stage.waits() && (when == point::pending || when == point::twice)))
        CHECK(stopped);
    if (when == point::reaped)
        CHECK_FALSE(stopped);
    const bool triggered =
        when == point::racing || when == point::reaped || when == point::answered;
    if (!triggered)
        co_await stage.trigger();
    co_await stage.verify(!stopped);
}

hob::task<> start_and_leave(scenario& stage, record& seen) {
    co_await stage.prepare();
    hob::create_task(await_operation(stage, seen));
    co_await hob::sleep_for(stage.waits() ? 1ms : 0ms);
}

template <class Scenario>
void run_cell(point when, std::uint64_t seed, source from = source::cancel) {
    INFO("point p" << static_cast<int>(when) + 1 << ", seed " << seed);
    const auto descriptors = test::open_descriptors();
    hob::testing::simulation_options options(seed);
    options.keep_trace = true;
    hob::testing::simulation world(options);
    {
        record seen;
        Scenario stage;
        hob::runner program(world.make_loop(), test::without_interrupt());
        if (when == point::closing) {
            program.run(start_and_leave(stage, seen));
            CHECK(seen.ended == (stage.waits() ? 0 : seen.resumed));
            program.close();
            CHECK(seen.ended == 1);
            if (stage.waits())
                CHECK(seen.resumed == 0);
        } else {
            program.run(cell(world, stage, when, from));
        }
        CHECK(program.loop().operations_in_flight() == 0);
    }
    CHECK(test::open_descriptors() == descriptors);
}

} // namespace

TEMPLATE_TEST_CASE("an operation that is cancelled at any point ends exactly once",
                   "[testing][matrix][cancel-unflushed][cancel-twice][completion-wins]"
                   "[close-cancel][accept-cancel][recv-cancel][send-cancel][connect-cancel]"
                   "[sleep-cancel]",
                   accepting, connecting, reading, reading_exactly, writing, writing_all, sleeping,
                   polling, doing_nothing) {
    for (const point when : {point::unflushed, point::pending, point::racing, point::reaped,
                             point::answered, point::twice, point::closing})
        for (std::uint64_t seed = 0; seed != test::seeds; ++seed)
            run_cell<TestType>(when, seed);
}

TEMPLATE_TEST_CASE("an operation that a timeout ends at any point ends exactly once",
                   "[testing][to-io]", accepting, connecting, reading, reading_exactly, writing,
                   writing_all, sleeping, polling, doing_nothing) {
    for (const point when : {point::unflushed, point::pending, point::racing, point::reaped,
                             point::answered, point::twice})
        for (std::uint64_t seed = 0; seed != test::seeds; ++seed)
            run_cell<TestType>(when, seed, source::timeout);
}
