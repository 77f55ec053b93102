#include "core/memory/budget.hpp"

#include "core/base/format.hpp"
#include "miniinfer/pool_allocator.hpp"

namespace miniinfer {

Status refusal(const Budget& budget, std::uint64_t bytes, const std::string& device) {
  MemoryReport report;
  report.device = device;
  report.asked_bytes = bytes;
  report.limit = budget.name();
  report.limit_bytes = budget.limit();
  report.limit_used_bytes = budget.used();
  return Status(Code::LimitExceeded,
                format("%s more on %s: %s are in use of the %s that %s may have",
                       format_bytes(bytes).c_str(), device.c_str(),
                       format_bytes(report.limit_used_bytes).c_str(),
                       format_bytes(report.limit_bytes).c_str(), report.limit.c_str()),
                "raise the memory limit or use a smaller batch")
      .with_memory_report(std::make_shared<const MemoryReport>(std::move(report)));
}

}  // namespace miniinfer
