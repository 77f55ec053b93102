#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <string>

#include "plugins/fake/ledger.h"

namespace miniinfer::fake {

// The books of one device. Kept by ordinal for the life of the process. [any-thread]
class Ledger {
 public:
  static Ledger& of(std::uint32_t ordinal);
  static const miniinfer_fake_ledger_api* api();

  void reopen();  // everything back to 0
  void add(std::uint64_t miniinfer_fake_ledger::* counter, std::uint64_t amount = 1);
  void subtract(std::uint64_t miniinfer_fake_ledger::* counter, std::uint64_t amount = 1);
  void allocated(std::uint64_t bytes);
  void freed(std::uint64_t bytes);
  void made_piece(std::uint64_t bytes);
  void destroyed_piece(std::uint64_t bytes);
  void violation(std::string text);

  miniinfer_fake_ledger counts() const;
  // Why the books do not balance, or empty.
  std::string imbalance() const;
  const char* violation_text(std::uint64_t index) const;

 private:
  mutable std::mutex mutex_;
  miniinfer_fake_ledger counts_{};
  std::deque<std::string> violations_;
};

}  // namespace miniinfer::fake
