#include "core/memory/request.hpp"

#include <algorithm>
#include <cinttypes>

#include "core/base/checked_math.hpp"
#include "core/base/format.hpp"
#include "miniinfer/pool_allocator.hpp"

namespace miniinfer {

std::string_view to_string(MemoryKind kind) noexcept {
  switch (kind) {
    case MemoryKind::Device:
      return "device";
    case MemoryKind::Pinned:
      return "pinned";
    case MemoryKind::Host:
      return "host";
  }
  return "unknown";
}

Status check_request(const MemoryRequest& request, std::string_view owner,
                     std::initializer_list<MemoryKind> kinds) {
  if (!is_power_of_two(request.alignment)) {
    return {Code::InvalidArgument,
            format("allocation on %s: an alignment of %" PRIu64 " is no power of two",
                   std::string(owner).c_str(), request.alignment)};
  }
  if (std::find(kinds.begin(), kinds.end(), request.kind) == kinds.end()) {
    return {Code::InvalidArgument,
            format("allocation on %s: this allocator has no %s memory", std::string(owner).c_str(),
                   std::string(to_string(request.kind)).c_str()),
            "ask AllocatorFactory for the allocator of that kind"};
  }
  return {};
}

Status out_of_memory(const MemoryRequest& request, std::string_view owner, const MemoryInfo& info) {
  std::string text = "allocation of " + format_bytes(request.bytes);
  if (!request.tag.empty()) text += " for " + std::string(request.tag);
  text += " on " + std::string(owner) + " failed, ";
  text += info.total_bytes > 0
              ? format_bytes(info.free_bytes) + " of " + format_bytes(info.total_bytes) + " free"
              : "free memory unknown";
  MemoryReport report;
  report.device = owner;
  report.tag = request.tag;
  report.asked_bytes = request.bytes;
  report.device_free_bytes = info.free_bytes;
  report.device_total_bytes = info.total_bytes;
  return Status(Code::OutOfMemory, std::move(text),
                "use a smaller batch or free other memory first")
      .with_memory_report(std::make_shared<const MemoryReport>(std::move(report)));
}

}  // namespace miniinfer
