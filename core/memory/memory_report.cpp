#include "core/base/format.hpp"
#include "miniinfer/pool_allocator.hpp"
#include "miniinfer/text.hpp"

namespace miniinfer {
namespace {

std::string list(const std::vector<MemoryReport::Share>& shares) {
  std::string text;
  for (const MemoryReport::Share& share : shares) {
    text += (text.empty() ? "" : ", ") + printable(share.name) + " " + format_bytes(share.bytes);
  }
  return text;
}

std::string duration(std::uint64_t nanoseconds) {
  const double us = static_cast<double>(nanoseconds) / 1000;
  return us < 1000 ? format("%.1f us", us) : format("%.1f ms", us / 1000);
}

}  // namespace

std::vector<std::string> to_lines(const MemoryReport& report) {
  std::vector<std::string> lines;
  const auto add = [&](const char* name, const std::string& text) {
    lines.push_back(format("%-9s  %s", name, text.c_str()));
  };
  add("asked", format_bytes(report.asked_bytes) +
                   (report.tag.empty() ? "" : " for " + printable(report.tag)) + " on " +
                   report.device);
  if (!report.limit.empty()) {
    add("refused", format("by the limit of %s: %s of %s in use", report.limit.c_str(),
                          format_bytes(report.limit_used_bytes).c_str(),
                          format_bytes(report.limit_bytes).c_str()));
  }
  if (report.device_total_bytes != 0) {
    add("device", format_bytes(report.device_free_bytes) + " of " +
                      format_bytes(report.device_total_bytes) + " free");
  }
  if (report.reserved_bytes != 0) {
    std::string text = format("%s reserved, %s in use", format_bytes(report.reserved_bytes).c_str(),
                              format_bytes(report.allocated_bytes).c_str());
    if (report.cached_bytes != 0) {
      text += " (" + format_bytes(report.cached_bytes) + " kept by threads)";
    }
    add("pool",
        text + format("; the largest free block has %s, %.0f%% of what is free lies elsewhere",
                      format_bytes(report.largest_free_bytes).c_str(), 100 * report.fragmentation));
  }
  if (!report.held_back.empty()) add("held back", list(report.held_back));
  if (!report.tags.empty()) add("in use", list(report.tags));
  std::string tried;
  for (const MemoryReport::Step& step : report.steps) {
    tried += (tried.empty() ? "" : ", ") + step.name + " " + duration(step.nanoseconds);
  }
  if (!tried.empty()) add("tried", tried);
  return lines;
}

}  // namespace miniinfer
