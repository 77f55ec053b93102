#pragma once

// Random use of an allocator by streams and threads, judged by an Oracle: right is what no order of
// progress can turn into a use of one place by two streams at once, leaks nothing, counts what it
// gave, and never gives a byte twice. A failure names its seed, which repeats it (with one thread).

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "miniinfer/allocator.hpp"
#include "tests/support/oracle.hpp"

namespace miniinfer::testing {

// An allocator under test. What is left empty is not asked of it.
struct FuzzSubject {
  std::function<AllocatorPtr(Oracle&)> make;
  std::function<void(Allocator&, Stream)> add_stream{};     // before the stream is used
  std::function<void(Allocator&, Stream)> remove_stream{};  // its work is done
  std::function<void(Allocator&, Stream)> synced{};         // the host has waited for the stream
  // Another stream uses the block, too, and is not ordered before what frees it.
  std::function<void(Allocator&, const Block&, Stream)> record_use{};
  std::function<std::string(Allocator&)> check{};  // what is wrong with its books; empty: nothing
  std::function<void(Allocator&)> trim{};          // gives back what it can
};

struct FuzzOptions {
  OracleOptions oracle{};  // its seed is the seed of everything
  std::uint64_t operations = 10000;
  std::uint32_t streams = 4;  // of each thread
  std::uint32_t threads = 1;
  std::uint32_t live = 64;  // blocks that a thread holds, at most
  std::uint64_t max_bytes = std::uint64_t{1} << 20;
  std::vector<std::string> plans{};  // of failures; one of them is followed now and then
};

struct FuzzResult {
  std::string failure;  // empty: the allocator is right
  std::uint64_t operations = 0;
  std::uint64_t refused = 0;  // requests for which there was no room, or that failed by plan
};

class AllocatorFuzz {
 public:
  AllocatorFuzz(const FuzzSubject& subject, const FuzzOptions& options)
      : subject_(subject), options_(options), oracle_(options.oracle) {}

  FuzzResult run() {
    allocator_ = subject_.make(oracle_);
    std::vector<std::thread> others;
    for (std::uint32_t t = 1; t < options_.threads; ++t) {
      others.emplace_back([this, t] { Walker(*this, t).walk(); });
    }
    Walker(*this, 0).walk();
    for (std::thread& other : others) other.join();
    oracle_.follow("");
    free_passed_on();
    if (allocator_->stats().allocated_bytes != 0) {
      fail("all blocks were freed, " + std::to_string(allocator_->stats().allocated_bytes) +
           " bytes are counted as given out");
    }
    look(true);
    if (subject_.trim) subject_.trim(*allocator_);
    for (const Stream stream : streams_) {
      oracle_.sync(stream);
      if (subject_.remove_stream) subject_.remove_stream(*allocator_, stream);
    }
    allocator_.reset();
    look(false);
    const std::string leaks = oracle_.leaks();
    if (!leaks.empty()) fail(leaks);
    return std::move(result_);
  }

 private:
  // A block in use. All uses of it are before what `stream` has now, but those in `others`.
  struct Held {
    Block block;
    Stream stream;
    std::vector<Stream> others;
  };

  // What one thread does.
  class Walker {
   public:
    Walker(AllocatorFuzz& fuzz, std::uint32_t thread)
        : fuzz_(fuzz), random_(fuzz.options_.oracle.seed * 1000003 + thread) {
      const std::uint32_t count = fuzz.oracle_.is_inline() ? 1 : fuzz.options_.streams;
      for (std::uint32_t i = 0; i < count; ++i) streams_.push_back(fuzz_.open_stream());
    }

    void walk() {
      const std::uint64_t share = fuzz_.options_.operations / fuzz_.options_.threads;
      for (std::uint64_t i = 0; i < share && fuzz_.going(); ++i) {
        step();
        fuzz_.look(i % 1024 == 1023);
      }
      while (!held_.empty()) free_one();
      const std::lock_guard lock(fuzz_.mutex_);
      fuzz_.streams_.insert(fuzz_.streams_.end(), streams_.begin(), streams_.end());
    }

   private:
    std::uint64_t below(std::uint64_t n) { return random_() % n; }
    Stream any_stream() { return streams_[below(streams_.size())]; }

    void step() {
      const std::uint64_t choice = below(1000);
      if (choice < 330) return allocate();
      if (choice < 620) return held_.empty() ? allocate() : free_one();
      if (choice < 820) return touch();
      if (choice < 900) {
        fuzz_.oracle_.advance(below(8));
      } else if (choice < 940) {
        fuzz_.oracle_.order(any_stream(), any_stream());
      } else if (choice < 960) {
        sync(any_stream());
      } else if (choice < 970) {
        pass_on();
      } else if (choice < 985) {
        take_over();
      } else if (choice < 992) {
        replace_stream();
      } else if (choice < 995 && fuzz_.subject_.trim) {
        fuzz_.subject_.trim(*fuzz_.allocator_);
      } else if (!fuzz_.options_.plans.empty()) {
        const auto& plans = fuzz_.options_.plans;
        fuzz_.oracle_.follow(below(2) == 0 ? "" : plans[below(plans.size())]);
      }
    }

    void allocate() {
      if (held_.size() >= fuzz_.options_.live) return free_one();
      // As many small ones as large ones, by the power of two.
      const auto most = static_cast<std::uint64_t>(64 - __builtin_clzll(fuzz_.options_.max_bytes));
      const std::uint64_t power = below(most);
      const std::uint64_t bytes =
          std::min(fuzz_.options_.max_bytes, (std::uint64_t{1} << power) + below(1ull << power));
      const std::uint64_t alignment = below(8) == 0 ? std::uint64_t{1} << below(13) : 64;
      const Stream stream = any_stream();
      const Result<Block> block = fuzz_.allocator_->allocate(
          {.bytes = bytes, .alignment = alignment, .stream = stream, .tag = "fuzz"});
      if (!block) return fuzz_.refused(block.status());
      fuzz_.given(*block, bytes, alignment, stream);
      held_.push_back({*block, stream, {}});
      if (below(10) != 0) use(held_.back(), true);
    }

    void use(Held& held, bool writes) {
      if (writes) join(held);
      const Status status = writes ? fuzz_.oracle_.write(held.stream, held.block)
                                   : fuzz_.oracle_.read(held.stream, held.block);
      if (!status.ok()) fuzz_.fail(status.to_string());
    }

    // Makes the block's stream wait for all that others do with it.
    void join(Held& held) {
      for (const Stream other : held.others) fuzz_.oracle_.order(other, held.stream);
      held.others.clear();
    }

    // Moves a block to another stream.
    void move(Held& held, Stream stream) {
      join(held);
      if (held.stream.handle != stream.handle) fuzz_.oracle_.order(held.stream, stream);
      held.stream = stream;
    }

    void touch() {
      if (held_.empty()) return;
      Held& held = held_[below(held_.size())];
      const Stream stream = any_stream();
      if (fuzz_.subject_.record_use && below(3) == 0 && stream.handle != held.stream.handle) {
        fuzz_.oracle_.order(held.stream, stream);
        const Status status = fuzz_.oracle_.read(stream, held.block);
        if (!status.ok()) fuzz_.fail(status.to_string());
        fuzz_.subject_.record_use(*fuzz_.allocator_, held.block, stream);
        held.others.push_back(stream);
        return;
      }
      if (below(2) == 0) move(held, stream);
      use(held, below(2) == 0);
    }

    void free_one() {
      const std::size_t which = below(held_.size());
      std::swap(held_[which], held_.back());
      Held held = std::move(held_.back());
      held_.pop_back();
      if (below(16) == 0) {
        join(held);
        sync(held.stream);
        held.stream = {};
      } else if (!fuzz_.subject_.record_use) {
        join(held);
      }
      fuzz_.give_back(held);
    }

    void sync(Stream stream) {
      fuzz_.oracle_.sync(stream);
      if (fuzz_.subject_.synced) fuzz_.subject_.synced(*fuzz_.allocator_, stream);
    }

    void pass_on() {
      if (held_.empty() || fuzz_.options_.threads == 1) return;
      join(held_.back());
      // Its stream may be destroyed meanwhile: nothing is left to wait for.
      sync(held_.back().stream);
      const std::lock_guard lock(fuzz_.mutex_);
      fuzz_.passed_on_.push_back(std::move(held_.back()));
      held_.pop_back();
    }

    void take_over() {
      const std::lock_guard lock(fuzz_.mutex_);
      if (fuzz_.passed_on_.empty()) return;
      held_.push_back(std::move(fuzz_.passed_on_.front()));
      fuzz_.passed_on_.pop_front();
      held_.back().stream = any_stream();
    }

    void replace_stream() {
      if (streams_[0].handle == nullptr) return;
      Stream& old = streams_[below(streams_.size())];
      const Stream made = fuzz_.open_stream();
      for (Held& held : held_) {
        join(held);
        if (held.stream.handle == old.handle) move(held, made);
      }
      sync(old);
      if (fuzz_.subject_.remove_stream) fuzz_.subject_.remove_stream(*fuzz_.allocator_, old);
      fuzz_.oracle_.destroy_stream(old);
      old = made;
    }

    AllocatorFuzz& fuzz_;
    std::mt19937_64 random_;
    std::vector<Stream> streams_;
    std::vector<Held> held_;
  };

  bool going() {
    const std::lock_guard lock(mutex_);
    ++result_.operations;
    return result_.failure.empty();
  }

  void fail(const std::string& what) {
    const std::lock_guard lock(mutex_);
    if (!result_.failure.empty()) return;
    result_.failure = "seed " + std::to_string(options_.oracle.seed) + ", operation " +
                      std::to_string(result_.operations) + ": " + what;
  }

  // Looks for what went wrong; `deep`: in the allocator's books, too.
  void look(bool deep) {
    if (oracle_.counts().violations != 0) fail(oracle_.violations());
    if (!deep || !subject_.check) return;
    const std::string wrong = subject_.check(*allocator_);
    if (!wrong.empty()) fail(wrong);
  }

  Stream open_stream() {
    const Stream stream = oracle_.make_stream();
    if (subject_.add_stream) subject_.add_stream(*allocator_, stream);
    return stream;
  }

  void refused(const Status& status) {
    const bool allowed = status.code() == Code::OutOfMemory ||
                         status.code() == Code::LimitExceeded || !options_.plans.empty();
    if (!allowed) fail("a request failed: " + status.to_string());
    const std::lock_guard lock(mutex_);
    ++result_.refused;
  }

  void given(const Block& block, std::uint64_t bytes, std::uint64_t alignment, Stream stream) {
    oracle_.note(block, "given", stream);
    const std::uint64_t begin = block.handle + block.offset;
    const bool flat = oracle_.upstream().properties().flat_address;
    // Where the host reaches it, its address is what is aligned.
    const std::uint64_t place = block.host != nullptr ? reinterpret_cast<std::uintptr_t>(block.host)
                                                      : (flat ? begin : block.offset);
    std::string wrong;
    if (block.bytes != bytes) wrong = "its size is not what was asked for";
    if ((place & (alignment - 1)) != 0) wrong = "it is not aligned";
    {
      const std::lock_guard lock(mutex_);
      const auto after = live_.lower_bound(begin);
      if (after != live_.end() && after->first < begin + bytes) wrong = "it is in use";
      if (after != live_.begin() && std::prev(after)->second > begin) wrong = "it is in use";
      live_[begin] = begin + bytes;
      live_bytes_ += bytes;
    }
    if (!wrong.empty()) {
      fail("a block of " + std::to_string(bytes) + " bytes aligned to " +
           std::to_string(alignment) + " is wrong: " + wrong);
    }
  }

  void give_back(const Held& held) {
    oracle_.note(held.block, "given back", held.stream);
    {
      const std::lock_guard lock(mutex_);
      live_.erase(held.block.handle + held.block.offset);
      live_bytes_ -= held.block.bytes;
    }
    allocator_->deallocate(held.block, held.stream);
    if (options_.threads != 1) return;
    const std::uint64_t counted = allocator_->stats().allocated_bytes;
    if (counted != live_bytes_) {
      fail(std::to_string(live_bytes_) + " bytes are in use, " + std::to_string(counted) +
           " are counted");
    }
  }

  void free_passed_on() {
    for (Held& held : passed_on_) {
      held.stream = {};
      give_back(held);
    }
  }

  const FuzzSubject& subject_;
  const FuzzOptions options_;
  Oracle oracle_;
  AllocatorPtr allocator_;
  std::mutex mutex_;
  FuzzResult result_;
  std::map<std::uint64_t, std::uint64_t> live_;  // blocks in use: begin, end
  std::uint64_t live_bytes_ = 0;
  std::deque<Held> passed_on_;   // between threads; the host has waited for all that was done there
  std::vector<Stream> streams_;  // of threads that are done
};

inline FuzzResult fuzz(const FuzzSubject& subject, const FuzzOptions& options) {
  return AllocatorFuzz(subject, options).run();
}

}  // namespace miniinfer::testing
