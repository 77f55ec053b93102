#pragma once

// Two ways in which allocators that were used by thousands got the order of streams wrong. Each
// works on a fresh Oracle with kScenarioMemory bytes and gives what went wrong, or nothing.

#include <cstdint>
#include <string>

#include "tests/support/allocator_fuzz.hpp"

namespace miniinfer::testing {

inline constexpr std::uint64_t kScenarioMemory = std::uint64_t{16} << 20;

namespace detail {

// The scenarios' way of speaking: names for streams, failures as text.
class Scenario {
 public:
  Scenario(const FuzzSubject& subject, OracleOptions options)
      : subject_(subject), oracle_([&] {
          options.memory = kScenarioMemory;
          return options;
        }()) {
    allocator_ = subject.make(oracle_);
  }
  ~Scenario() {
    for (const Stream stream : streams_) {
      oracle_.sync(stream);
      if (subject_.remove_stream) subject_.remove_stream(*allocator_, stream);
    }
  }

  Stream stream() {
    const Stream made = oracle_.make_stream();
    if (subject_.add_stream) subject_.add_stream(*allocator_, made);
    streams_.push_back(made);
    return made;
  }
  Block take(Stream stream, std::uint64_t bytes, const char* what) {
    const Result<Block> block = allocator_->allocate({.bytes = bytes, .stream = stream});
    if (!block) {
      failure += std::string(what) + ": " + block.status().to_string() + "\n";
      return {};
    }
    oracle_.note(*block, what, stream);
    return *block;
  }
  void use(Stream stream, const Block& block) {
    if (block.handle != 0) static_cast<void>(oracle_.write(stream, block));
  }
  // Another stream than the block's own uses it.
  void use_beside(Stream own, Stream stream, const Block& block) {
    oracle_.order(own, stream);
    use(stream, block);
    if (subject_.record_use) {
      subject_.record_use(*allocator_, block, stream);
    } else {
      oracle_.order(stream, own);
    }
  }
  void give_back(Stream stream, const Block& block) {
    oracle_.note(block, "given back", stream);
    allocator_->deallocate(block, stream);
  }
  std::string verdict() { return failure + oracle_.violations(); }

  std::string failure;

 private:
  const FuzzSubject& subject_;
  Oracle oracle_;
  AllocatorPtr allocator_;
  std::vector<Stream> streams_;
};

}  // namespace detail

// rmm#2489: stream A takes memory that B gave back, waits for B, and keeps what it does not need
// among its own. C takes that from A and waits for what A had last given back, which was before A
// waited for B: nothing keeps C from writing what B still uses.
inline std::string third_stream_scenario(const FuzzSubject& subject, OracleOptions options) {
  constexpr std::uint64_t kQuarter = kScenarioMemory / 4;
  detail::Scenario scenario(subject, options);
  const Stream a = scenario.stream(), b = scenario.stream(), c = scenario.stream();
  const Block of_a = scenario.take(a, kQuarter, "a quarter on A");
  const Block of_b = scenario.take(b, 3 * kQuarter, "the rest on B");
  scenario.use(a, of_a);
  scenario.use(b, of_b);
  scenario.give_back(a, of_a);
  scenario.give_back(b, of_b);
  const Block stolen = scenario.take(a, 2 * kQuarter, "a half on A, from B");
  scenario.use(a, stolen);
  const Block first = scenario.take(c, kQuarter, "a quarter on C, from A");
  scenario.use(c, first);
  const Block second = scenario.take(c, kQuarter, "another on C, from A");
  scenario.use(c, second);
  scenario.give_back(a, stolen);
  scenario.give_back(c, first);
  scenario.give_back(c, second);
  return scenario.verdict();
}

// pytorch#189504: a block that fits was given back and waits for another stream. The driver has
// nothing more, and nothing whole can be given back to it: after waiting, the allocator must look
// again at what it has itself.
inline std::string look_again_scenario(const FuzzSubject& subject, OracleOptions options) {
  constexpr std::uint64_t kQuarter = kScenarioMemory / 4;
  detail::Scenario scenario(subject, options);
  const Stream a = scenario.stream(), b = scenario.stream();
  const Block kept = scenario.take(a, kQuarter / 8, "a little on A, kept");
  const Block block = scenario.take(a, 3 * kQuarter, "most of the memory on A");
  scenario.use(a, block);
  scenario.use_beside(a, b, block);
  scenario.give_back(a, block);
  const Block again = scenario.take(a, 3 * kQuarter, "as much again on A");
  scenario.use(a, again);
  if (again.handle != 0) scenario.give_back(a, again);
  const Block other = scenario.take(b, 3 * kQuarter, "as much again on B");
  scenario.use(b, other);
  if (other.handle != 0) scenario.give_back(b, other);
  scenario.give_back(a, kept);
  return scenario.verdict();
}

}  // namespace miniinfer::testing
