// SPDX-License-Identifier: MIT
// Random 4 KiB reads of a cached file, one and 32 at a time: hob beside pread and a raw ring.
//   bench_file [DIRECTORY]   where the file of 1 GiB is made; /tmp without it
#include "file_peers.hpp"

#include <hob/fs/file.hpp>
#include <hob/run.hpp>
#include <hob/task_group.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace {

constexpr unsigned deep = 32;
constexpr std::uint64_t reads_per_round = 200'000;
constexpr int rounds = 5;

/// What the readers of one measurement share.
class workload {
  public:
    explicit workload(std::uint64_t file_size, std::uint64_t count)
        : offsets_{file_size}, left_{count} {}

    [[nodiscard]] bool next(std::uint64_t& offset) {
        if (left_ == 0)
            return false;
        --left_;
        offset = offsets_.next();
        return true;
    }

  private:
    bench::random_offsets offsets_;
    std::uint64_t left_;
};

hob::task<> read_blocks(const hob::file& file, std::span<std::byte> block, workload& work) {
    std::uint64_t offset = 0;
    while (work.next(offset)) {
        const std::size_t count = co_await file.read_at(block, offset);
        bench::check_read(static_cast<ssize_t>(count), block.data(), offset);
    }
}

hob::task<double> read_file(const std::string& path, std::uint64_t size, unsigned depth) {
    const hob::file file = co_await hob::file::open(path);
    const auto blocks = std::make_unique<bench::file_detail::block[]>(depth);
    workload work(size, reads_per_round);
    const bench::rate_clock clock;
    const auto body = [&](hob::task_group& readers) -> hob::task<> {
        for (unsigned slot = 0; slot != depth; ++slot)
            readers.start(read_blocks(file, blocks[slot].bytes, work));
        co_return;
    };
    co_await hob::with_task_group(body);
    co_return clock.per_second(reads_per_round);
}

double hob_reads_per_second(const bench::cached_file& file, unsigned depth) {
    hob::runner_options options;
    options.handle_interrupt = false;
    return hob::run(read_file(file.path(), file.size(), depth), options);
}

/// The rates of one variant, a round each.
class measurement {
  public:
    measurement(const char* name, unsigned depth) : name_{name}, depth_{depth} {}
    void add(double rate) { rates_.push_back(rate); }
    void print() {
        const auto middle = rates_.begin() + static_cast<std::ptrdiff_t>(rates_.size() / 2);
        std::nth_element(rates_.begin(), middle, rates_.end());
        std::printf("%s %u %.0f\n", name_, depth_, *middle);
    }

  private:
    const char* name_;
    unsigned depth_;
    std::vector<double> rates_;
};

} // namespace

int main(int argc, char** argv) {
    try {
        const std::string directory = argc > 1 ? argv[1] : "/tmp";
        const bench::cached_file file{directory + "/hob_bench_file"};
        const int descriptor = file.descriptor();
        const std::uint64_t size = file.size();

        measurement pread{"pread", 1};
        measurement raw[] = {{"raw_ring", 1}, {"raw_ring", deep}};
        measurement hob_ring[] = {{"hob", 1}, {"hob", deep}};
        // Interleaved, so that a disturbance of the machine meets everyone alike.
        for (int round = 0; round != rounds; ++round) {
            pread.add(bench::pread_reads_per_second(descriptor, size, reads_per_round));
            for (const unsigned depth : {1U, deep}) {
                const std::size_t index = depth == 1 ? 0 : 1;
                raw[index].add(
                    bench::raw_ring_reads_per_second(descriptor, size, depth, reads_per_round));
                hob_ring[index].add(hob_reads_per_second(file, depth));
            }
        }
        pread.print();
        for (const std::size_t index : {0U, 1U}) {
            raw[index].print();
            hob_ring[index].print();
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench_file: %s\n", error.what());
        return 1;
    }
    return 0;
}
