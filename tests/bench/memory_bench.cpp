// How fast the pool is over a device that costs nothing: medians of interleaved repeats.
//
//   memory_bench [--json] [--repeats N] [TRACE..]
//
// A trace is text of `a ID BYTES STREAM` and `f ID` lines. Nanoseconds are of a pair, allocate and
// deallocate: the median of batches of 256, which a busy machine disturbs least, and for p99
// batches of 16, since a clock is dearer than a pair. Two threads are compared with two empty loops
// of the same run, since on such a machine two threads of anything do not get twice as far as one.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/memory/pool/make_pool.hpp"
#include "miniinfer/tracking_allocator.hpp"

namespace miniinfer {
namespace {

using Clock = std::chrono::steady_clock;

// Says yes to everything.
class FreeDevice final : public MemoryUpstream {
 public:
  explicit FreeDevice(bool maps) {
    properties_.min_alignment = 256;
    properties_.flat_address = true;
    properties_.ordered = true;
    properties_.granularity = maps ? kGranule : 0;
  }
  const Properties& properties() const noexcept override { return properties_; }
  Result<Block> allocate_raw(std::uint64_t bytes, std::uint64_t, Stream) noexcept override {
    return reserve_addresses(bytes);
  }
  void deallocate_raw(const Block&, Stream) noexcept override {}
  MemoryInfo info() const noexcept override { return {std::uint64_t{80} << 30, kTotal}; }
  Result<Block> reserve_addresses(std::uint64_t bytes) noexcept override {
    const std::uint64_t size = (bytes + kGranule - 1) / kGranule * kGranule;
    return Block{next_.fetch_add(size), 0, bytes, nullptr};
  }
  Result<Physical> create_physical(std::uint64_t) noexcept override { return Physical{this}; }
  void destroy_physical(Physical) noexcept override {}
  Status map(const Block&, std::uint64_t, Physical, std::uint64_t) noexcept override { return {}; }
  Status set_access(const Block&, std::uint64_t, std::uint64_t) noexcept override { return {}; }
  Status unmap(const Block&, std::uint64_t, std::uint64_t) noexcept override { return {}; }
  Result<Event> create_event() noexcept override { return Event{this}; }
  void destroy_event(Event) noexcept override {}
  Status record(Event, Stream) noexcept override { return {}; }
  Status wait(Event, Stream) noexcept override { return {}; }
  Result<bool> done(Event) noexcept override { return true; }
  Status sync(Event) noexcept override { return {}; }

 private:
  static constexpr std::uint64_t kGranule = 2 << 20, kTotal = std::uint64_t{80} << 30;
  Properties properties_;
  std::atomic<std::uint64_t> next_{std::uint64_t{1} << 40};
};

struct Bench {
  explicit Bench(bool caches = true, bool maps = true) {
    PoolOptions options;
    if (!caches) options.thread_cache_bytes = 0;
    pool = make_pool(std::make_shared<FreeDevice>(maps), "bench:0", options, nullptr);
    static_cast<void>(pool->add_stream(stream));
    allocator = pool;
  }
  Block take(std::uint64_t bytes, std::string_view tag = {}) {
    return *allocator->allocate({.bytes = bytes, .stream = stream, .tag = tag});
  }
  void pair(std::uint64_t bytes, std::string_view tag = {}) {
    const Result<Block> block = allocator->allocate({.bytes = bytes, .stream = stream, .tag = tag});
    allocator->deallocate(*block, stream);
  }

  Stream stream{this};
  std::shared_ptr<PoolAllocator> pool;
  AllocatorPtr allocator;  // the pool, or what is around it
};

double nanoseconds(Clock::time_point from) {
  return std::chrono::duration<double, std::nano>(Clock::now() - from).count();
}

double quantile(std::vector<double> values, double at) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(at * static_cast<double>(values.size() - 1))];
}

// Nanoseconds of a pair in each of many batches.
template <class Pair>
std::vector<double> time_batches(int batches, int pairs, Pair&& pair) {
  std::vector<double> times;
  for (int batch = 0; batch < batches; ++batch) {
    const auto begin = Clock::now();
    for (int i = 0; i < pairs; ++i) pair(batch * pairs + i);
    times.push_back(nanoseconds(begin) / pairs);
  }
  return times;
}

template <class Pair>
double time_pair(Pair&& pair) {
  return quantile(time_batches(800, 256, pair), 0.5);
}

// 20,000 blocks of random sizes, every other one given back.
void fragment(Bench& bench, std::mt19937_64& random) {
  std::vector<Block> blocks;
  for (int i = 0; i < 20'000; ++i) blocks.push_back(bench.take(512 + random() % (1 << 20)));
  for (std::size_t i = 0; i < blocks.size(); i += 2) {
    bench.pool->deallocate(blocks[i], bench.stream);
  }
}

// How much further two threads get than one.
double gain(const std::function<void()>& work) {
  const auto alone = Clock::now();
  work();
  const double one = nanoseconds(alone);
  const auto together = Clock::now();
  std::thread other(work);
  work();
  other.join();
  return 2 * one / nanoseconds(together);
}

struct Event {
  bool takes;
  std::uint64_t id, bytes;
};

std::vector<Event> read_trace(const char* path) {
  std::ifstream file(path);
  std::vector<Event> events;
  for (std::string line; std::getline(file, line);) {
    unsigned long id = 0, bytes = 0;
    if (std::sscanf(line.c_str(), "a %lu %lu", &id, &bytes) == 2) {
      events.push_back({true, id, bytes});
    } else if (std::sscanf(line.c_str(), "f %lu", &id) == 1) {
      events.push_back({false, id, 0});
    }
  }
  return events;
}

using Results = std::map<std::string, std::vector<double>>;

void replay(const std::vector<Event>& events, const std::string& name, Results& results) {
  for (const bool caches : {false, true}) {
    Bench bench(caches);
    std::vector<Block> blocks(events.size());
    std::uint64_t live = 0, peak = 0;
    const auto begin = Clock::now();
    for (const Event& event : events) {
      if (event.takes) {
        blocks[event.id] = bench.take(event.bytes);
        peak = std::max(peak, live += event.bytes);
      } else {
        bench.pool->deallocate(blocks[event.id], bench.stream);
        live -= blocks[event.id].bytes;
      }
    }
    const double time = nanoseconds(begin) / static_cast<double>(events.size());
    const std::string what = name + (caches ? "_caching" : "_pool");
    const PoolStats stats = bench.pool->pool_stats();
    results[what + "_ns_per_op"].push_back(time);
    results[what + "_reserved_to_live"].push_back(static_cast<double>(stats.reserved_bytes.peak) /
                                                  static_cast<double>(peak));
    results[what + "_driver_calls"].push_back(static_cast<double>(stats.num_driver_calls));
  }
}

void measure(Results& results) {
  for (const std::uint64_t bytes :
       {std::uint64_t{512}, std::uint64_t{1} << 20, std::uint64_t{32} << 20}) {
    Bench bench;
    const std::string name = "cached_pair_" + std::to_string(bytes);
    const auto pair = [&](int) { bench.pair(bytes); };
    results[name + "_ns"].push_back(time_pair(pair));
    results[name + "_p99_ns"].push_back(quantile(time_batches(20'000, 16, pair), 0.99));
  }
  // Beside the pair that is not tracked, which a busy machine makes slower by as much.
  for (const std::uint64_t bytes : {std::uint64_t{512}, std::uint64_t{1} << 20}) {
    const std::string name = "tracking_on_" + std::to_string(bytes);
    Bench bare, tracked, history;
    tracked.allocator = tracking_allocator(tracked.pool);
    history.allocator = tracking_allocator(history.pool, {.history = 4096, .name = {}});
    const double without = time_pair([&](int) { bare.pair(bytes); });
    const double with = time_pair([&](int) { tracked.pair(bytes); });
    const double tagged = time_pair([&](int) { tracked.pair(bytes, "activations"); });
    const double kept = time_pair([&](int) { history.pair(bytes); });
    results[name + "_costs_ns"].push_back(with - without);
    results[name + "_tagged_costs_ns"].push_back(tagged - without);
    results[name + "_history_costs_ns"].push_back(kept - without);
  }
  {
    std::mt19937_64 random(1);
    Bench bench(/*caches=*/false);
    fragment(bench, random);
    std::vector<std::uint64_t> sizes;
    for (int i = 0; i < 4096; ++i) sizes.push_back(512 + random() % (1 << 20));
    for (const std::uint64_t bytes : {std::uint64_t{512}, std::uint64_t{1} << 20}) {
      results["core_pair_10k_fragments_" + std::to_string(bytes) + "_ns"].push_back(
          time_pair([&](int) { bench.pair(bytes); }));
    }
    results["core_pair_10k_fragments_random_sizes_ns"].push_back(
        time_pair([&](int i) { bench.pair(sizes[i % 4096]); }));
  }
  {
    Bench bench;
    const double pool = gain([&] {
      for (int i = 0; i < 2'000'000; ++i) bench.pair(512);
    });
    const double loops = gain([] {
      std::atomic<int> sink{0};
      for (int i = 0; i < 20'000'000; ++i) sink.store(i, std::memory_order_relaxed);
    });
    results["two_threads_gain"].push_back(pool);
    results["two_empty_loops_gain"].push_back(loops);
    results["two_threads_to_two_loops"].push_back(pool / loops);
  }
}

}  // namespace
}  // namespace miniinfer

int main(int count, char** arguments) {
  bool json = false;
  int repeats = 7;
  std::vector<std::string> traces;
  for (int i = 1; i < count; ++i) {
    if (std::strcmp(arguments[i], "--json") == 0) {
      json = true;
    } else if (std::strcmp(arguments[i], "--repeats") == 0 && i + 1 < count) {
      repeats = std::max(1, std::atoi(arguments[++i]));
    } else {
      traces.emplace_back(arguments[i]);
    }
  }
  miniinfer::Results results;
  for (int i = 0; i < repeats; ++i) miniinfer::measure(results);
  for (const std::string& path : traces) {
    const auto events = miniinfer::read_trace(path.c_str());
    if (events.empty()) {
      std::fprintf(stderr, "memory_bench: %s: no trace\n", path.c_str());
      return 3;
    }
    const std::size_t slash = path.find_last_of('/') + 1;
    const std::string name = path.substr(slash, path.find('.', slash) - slash);
    for (int i = 0; i < repeats; ++i) miniinfer::replay(events, name, results);
  }
  const char* separator = json ? "{\n" : "";
  for (const auto& [name, values] : results) {
    std::printf(json ? "%s  \"%s\": %.4f" : "%s%-52s %12.4f", separator, name.c_str(),
                miniinfer::quantile(values, 0.5));
    separator = json ? ",\n" : "\n";
  }
  std::printf(json ? "\n}\n" : "\n");
  return 0;
}
