#pragma once

// What gpu_memory.py compares, asked of any allocator. The C++ library alone, since some of the
// programs are compiled where a peer's libraries are.
//
// An allocator has
//
//   using Handle = ..;                          what it gives
//   Handle take(std::uint64_t bytes, int on);   ends the program where it cannot
//   void give(Handle block, int on);
//   void reset();                               all is free: gives the memory to the driver
//   double grow_ns(std::uint64_t bytes);        of the first request on a pool that has nothing
//   std::uint64_t driver_calls();               so far; only where it is counted
//   std::uint64_t reserved_peak();              since the last reset
//
// `on` is a stream: 0 is the main thread's, those from 1 on are those of a thread each.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

namespace allocator_rows {

constexpr int kThreads = 8;
constexpr int kBatch = 256;  // pairs from one look at the clock to the next

[[noreturn]] inline void fail(const std::string& what) {
  std::fprintf(stderr, "error: %s\n", what.c_str());
  std::exit(1);
}

struct Options {
  std::string device = "cuda:0";
  std::string peer;      // which, of a program that has several
  double seconds = 0.3;  // of each row
  std::string trace;     // replay this instead
};

inline Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (i + 1 == argc) fail(name + " needs a value");
    const char* const value = argv[++i];
    if (name == "--device") {
      options.device = value;
    } else if (name == "--peer") {
      options.peer = value;
    } else if (name == "--seconds") {
      options.seconds = std::atof(value);
    } else if (name == "--trace") {
      options.trace = value;
    } else {
      fail("no option " + name);
    }
  }
  return options;
}

using Clock = std::chrono::steady_clock;

inline double nanoseconds(Clock::time_point from) {
  return std::chrono::duration<double, std::nano>(Clock::now() - from).count();
}

inline double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// A line of JSON, in the order in which values were added.
class Line {
 public:
  void add(const char* name, double value) {
    if (std::isnan(value)) return;
    char text[64];
    std::snprintf(text, sizeof text, "%.17g", value);
    text_ += (text_.empty() ? "{\"" : ", \"") + std::string(name) + "\": " + text;
  }
  void print() const { std::printf("%s}\n", text_.c_str()); }

 private:
  std::string text_;
};

// Blocks that come and go at random, the same for whoever asks: sizes are as likely to be between
// 1 and 2 KiB as between 1 and 2 MiB.
template <class Allocator>
class Churn {
 public:
  Churn(Allocator& allocator, int on, int live, int least_log2, int most_log2, unsigned seed)
      : allocator_(allocator), on_(on) {
    std::mt19937_64 random(seed);
    for (Step& step : steps_) {
      const double unit = static_cast<double>(random() >> 11) * 0x1p-53;
      step.bytes =
          static_cast<std::uint64_t>(std::exp2(least_log2 + unit * (most_log2 - least_log2)));
      step.block = static_cast<int>(random() % static_cast<unsigned>(live));
    }
    for (int i = 0; i < live; ++i) {
      blocks_.push_back(allocator.take(steps_[static_cast<std::size_t>(i)].bytes, on));
    }
  }
  ~Churn() {
    for (const auto& block : blocks_) allocator_.give(block, on_);
  }
  Churn(const Churn&) = delete;
  Churn& operator=(const Churn&) = delete;

  void step() {
    const Step& step = steps_[next_++ % steps_.size()];
    auto& block = blocks_[static_cast<std::size_t>(step.block)];
    allocator_.give(block, on_);
    block = allocator_.take(step.bytes, on_);
  }

 private:
  struct Step {
    std::uint64_t bytes = 0;
    int block = 0;
  };
  Allocator& allocator_;
  int on_;
  std::vector<Step> steps_{1 << 16};
  std::vector<typename Allocator::Handle> blocks_;
  std::size_t next_ = 0;
};

// The median of batches, five at least; the first one only warms up.
template <class Pair>
double pair_ns(double seconds, Pair&& pair) {
  std::vector<double> times;
  Clock::time_point end{};
  while (times.size() < 6 || Clock::now() < end) {
    if (times.size() == 1) {
      end = Clock::now() + std::chrono::nanoseconds(static_cast<long long>(seconds * 1e9));
    }
    const auto begin = Clock::now();
    for (int i = 0; i < kBatch; ++i) pair();
    times.push_back(nanoseconds(begin) / kBatch);
  }
  times.erase(times.begin());
  return median(std::move(times));
}

// Pairs in a second of all threads together. make(thread) gives what a thread repeats.
template <class Make>
double pairs_per_second(double seconds, Make&& make) {
  std::atomic<int> ready{0};
  std::atomic<bool> go{false}, stop{false};
  std::atomic<std::uint64_t> pairs{0};
  std::vector<std::thread> threads;
  for (int thread = 1; thread <= kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      auto pair = make(thread);
      for (int i = 0; i < kBatch; ++i) pair();
      ready.fetch_add(1);
      while (!go.load()) std::this_thread::yield();
      std::uint64_t count = 0;
      while (!stop.load(std::memory_order_relaxed)) {
        for (int i = 0; i < 16; ++i) pair();
        count += 16;
      }
      pairs.fetch_add(count);
    });
  }
  while (ready.load() < kThreads) std::this_thread::yield();
  const auto begin = Clock::now();
  go = true;
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  stop = true;
  // What a slow call still had to do counts, and so does its time.
  for (std::thread& thread : threads) thread.join();
  return static_cast<double>(pairs.load()) / nanoseconds(begin) * 1e9;
}

// Not a number where they are not counted, which is no value of a line.
template <class Allocator>
double driver_calls(const Allocator& allocator) {
  if constexpr (requires { allocator.driver_calls(); }) {
    return static_cast<double>(allocator.driver_calls());
  } else {
    return std::nan("");
  }
}

template <class Allocator>
void measure_rows(Allocator& allocator, const Options& options) {
  Line line;
  double pair_calls = 0;
  for (const auto& [name, bytes] :
       {std::pair{"pair_512B_ns", 9}, {"pair_1MiB_ns", 20}, {"pair_32MiB_ns", 25}}) {
    const auto pair = [&] { allocator.give(allocator.take(std::uint64_t{1} << bytes, 0), 0); };
    for (int i = 0; i < kBatch; ++i) pair();
    pair_calls -= driver_calls(allocator);
    line.add(name, pair_ns(options.seconds, pair));
    pair_calls += driver_calls(allocator);
    allocator.reset();
  }
  {
    Churn<Allocator> churn(allocator, 0, 512, 8, 24, 1);
    for (int i = 0; i < 4096; ++i) churn.step();
    const double before = driver_calls(allocator);
    line.add("churn_ns", pair_ns(options.seconds, [&] { churn.step(); }));
    line.add("churn_driver_calls", driver_calls(allocator) - before);
  }
  line.add("pair_driver_calls", pair_calls);
  allocator.reset();
  line.add("threads_pairs_per_s", pairs_per_second(options.seconds, [&](int thread) {
             return [&allocator, thread] { allocator.give(allocator.take(512, thread), thread); };
           }));
  allocator.reset();
  line.add("threads_churn_pairs_per_s", pairs_per_second(options.seconds, [&](int thread) {
             auto churn = std::make_unique<Churn<Allocator>>(allocator, thread, 64, 8, 16,
                                                             static_cast<unsigned>(thread));
             return [churn = std::move(churn)] { churn->step(); };
           }));
  allocator.reset();
  std::vector<double> times;
  for (int i = 0; i < 9; ++i) times.push_back(allocator.grow_ns(std::uint64_t{1} << 30));
  line.add("grow_1GiB_ns", median(std::move(times)));
  line.print();
}

// A trace of `a ID BYTES STREAM` and `f ID` lines, of one stream.
template <class Allocator>
void replay_trace(Allocator& allocator, const std::string& path) {
  struct Event {
    std::uint64_t bytes = 0;
    std::size_t block = 0;
  };
  std::vector<Event> events;  // of no bytes: gives back
  std::size_t count = 0;
  std::uint64_t live = 0, live_peak = 0;
  std::unordered_map<unsigned long, Event> known;
  std::ifstream file(path);
  for (std::string text; std::getline(file, text);) {
    unsigned long id = 0, bytes = 0;
    int stream = 0;
    if (std::sscanf(text.c_str(), "a %lu %lu %d", &id, &bytes, &stream) == 3) {
      if (stream != 0 || bytes == 0) fail(path + ": an empty block, or a second stream: " + text);
      events.push_back({bytes, count++});
      known[id] = events.back();
      live_peak = std::max(live_peak, live += bytes);
    } else if (std::sscanf(text.c_str(), "f %lu", &id) == 1) {
      events.push_back({0, known.at(id).block});
      live -= known.at(id).bytes;
    } else {
      fail(path + ": " + text);
    }
  }
  if (events.empty()) fail(path + ": no trace");
  std::vector<typename Allocator::Handle> blocks(count);
  const auto begin = Clock::now();
  for (const Event& event : events) {
    if (event.bytes != 0) {
      blocks[event.block] = allocator.take(event.bytes, 0);
    } else {
      allocator.give(blocks[event.block], 0);
    }
  }
  const double ns = nanoseconds(begin) / static_cast<double>(events.size());
  Line line;
  line.add("ns_per_op", ns);
  line.add("reserved_peak", static_cast<double>(allocator.reserved_peak()));
  line.add("live_peak", static_cast<double>(live_peak));
  line.print();
  // What is live at the end goes with the process.
}

template <class Allocator>
int run(Allocator& allocator, const Options& options) {
  if (options.trace.empty()) {
    measure_rows(allocator, options);
  } else {
    replay_trace(allocator, options.trace);
  }
  std::fflush(stdout);
  return 0;
}

}  // namespace allocator_rows
