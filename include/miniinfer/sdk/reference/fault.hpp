#pragma once

// Where a kernel reports what it finds in the data.

#include <atomic>
#include <cstdint>

#include "miniinfer/abi/op.h"

namespace miniinfer::sdk::reference {

// A miniinfer_fault in memory the host can write, or nothing. [any-thread]
class FaultSink {
 public:
  FaultSink() = default;
  FaultSink(miniinfer_fault* fault, std::uint32_t step) : fault_(fault), step_(step) {}

  // The first report of a run wins.
  void report(std::int32_t code, std::int64_t first, std::int64_t second) const noexcept {
    if (fault_ == nullptr) return;
    std::int32_t none = MINIINFER_FAULT_NONE;
    if (!std::atomic_ref(fault_->code).compare_exchange_strong(none, code)) return;
    fault_->step = step_;
    fault_->detail[0] = first;
    fault_->detail[1] = second;
  }

 private:
  miniinfer_fault* fault_ = nullptr;
  std::uint32_t step_ = 0;
};

}  // namespace miniinfer::sdk::reference
