#include "plugins/fake/ledger.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "miniinfer/sdk/error.hpp"
#include "miniinfer/sdk/versioned.hpp"

namespace miniinfer::fake {
namespace {

constexpr std::size_t kViolationsKept = 64;

struct Books {
  std::mutex mutex;
  std::map<std::uint32_t, Ledger> by_ordinal;
};

Books& books() {
  static Books* const all = new Books;  // never destroyed: read after everything else is gone
  return *all;
}

Ledger* find(std::uint32_t ordinal) {
  std::lock_guard lock(books().mutex);
  const auto found = books().by_ordinal.find(ordinal);
  return found == books().by_ordinal.end() ? nullptr : &found->second;
}

miniinfer_code read(std::uint32_t ordinal, miniinfer_fake_ledger* out) noexcept {
  const Ledger* ledger = find(ordinal);
  if (ledger == nullptr) return MINIINFER_NOT_FOUND;
  sdk::write(ledger->counts(), out);
  return MINIINFER_OK;
}

const char* violation(std::uint32_t ordinal, std::uint64_t index) noexcept {
  const Ledger* ledger = find(ordinal);
  return ledger == nullptr ? nullptr : ledger->violation_text(index);
}

}  // namespace

Ledger& Ledger::of(std::uint32_t ordinal) {
  std::lock_guard lock(books().mutex);
  return books().by_ordinal[ordinal];
}

const miniinfer_fake_ledger_api* Ledger::api() {
  static const miniinfer_fake_ledger_api table = {MINIINFER_HEAD(miniinfer_fake_ledger_api),
                                                  fake::read, fake::violation};
  return &table;
}

void Ledger::reopen() {
  std::lock_guard lock(mutex_);
  counts_ = {};
  violations_.clear();
}

void Ledger::add(std::uint64_t miniinfer_fake_ledger::* counter, std::uint64_t amount) {
  std::lock_guard lock(mutex_);
  counts_.*counter += amount;
}

void Ledger::subtract(std::uint64_t miniinfer_fake_ledger::* counter, std::uint64_t amount) {
  std::lock_guard lock(mutex_);
  counts_.*counter -= amount;
}

void Ledger::allocated(std::uint64_t bytes) {
  std::lock_guard lock(mutex_);
  ++counts_.allocations;
  ++counts_.live_allocations;
  counts_.live_bytes += bytes;
  counts_.peak_bytes = std::max(counts_.peak_bytes, counts_.live_bytes);
}

void Ledger::freed(std::uint64_t bytes) {
  std::lock_guard lock(mutex_);
  --counts_.live_allocations;
  counts_.live_bytes -= bytes;
}

void Ledger::made_piece(std::uint64_t bytes) {
  std::lock_guard lock(mutex_);
  ++counts_.pieces;
  ++counts_.live_pieces;
  counts_.live_bytes += bytes;
  counts_.peak_bytes = std::max(counts_.peak_bytes, counts_.live_bytes);
}

void Ledger::destroyed_piece(std::uint64_t bytes) {
  std::lock_guard lock(mutex_);
  --counts_.live_pieces;
  counts_.live_bytes -= bytes;
}

void Ledger::violation(std::string text) {
  std::lock_guard lock(mutex_);
  ++counts_.violations;
  if (violations_.size() < kViolationsKept) violations_.push_back(std::move(text));
}

miniinfer_fake_ledger Ledger::counts() const {
  std::lock_guard lock(mutex_);
  return counts_;
}

std::string Ledger::imbalance() const {
  const miniinfer_fake_ledger now = counts();
  if (now.live_allocations == 0 && now.live_pieces == 0 && now.live_ranges == 0 &&
      now.live_streams == 0 && now.live_events == 0 && now.live_kernels == 0 &&
      now.live_graphs == 0 && now.violations == 0) {
    return {};
  }
  std::string text = sdk::format(
      "closed with %llu allocations and %llu pieces (%llu bytes), %llu ranges, %llu streams, %llu "
      "events, %llu kernels and %llu recordings left and %llu violations",
      static_cast<unsigned long long>(now.live_allocations),
      static_cast<unsigned long long>(now.live_pieces),
      static_cast<unsigned long long>(now.live_bytes),
      static_cast<unsigned long long>(now.live_ranges),
      static_cast<unsigned long long>(now.live_streams),
      static_cast<unsigned long long>(now.live_events),
      static_cast<unsigned long long>(now.live_kernels),
      static_cast<unsigned long long>(now.live_graphs),
      static_cast<unsigned long long>(now.violations));
  if (const char* first = violation_text(0)) text += std::string("; the first: ") + first;
  return text;
}

const char* Ledger::violation_text(std::uint64_t index) const {
  std::lock_guard lock(mutex_);
  return index < violations_.size() ? violations_[index].c_str() : nullptr;
}

}  // namespace miniinfer::fake
