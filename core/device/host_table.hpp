#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "miniinfer/abi/host.h"
#include "miniinfer/allocator.hpp"
#include "miniinfer/status.hpp"

namespace miniinfer {

// The miniinfer_host that one plugin sees: its log lines, options and cache entries carry its name.
// Lives as long as the process.
class HostTable {
 public:
  explicit HostTable(std::string plugin);
  HostTable(const HostTable&) = delete;
  HostTable& operator=(const HostTable&) = delete;

  const miniinfer_host* table() const noexcept { return &table_; }
  const std::string& plugin() const noexcept { return plugin_; }

  // Around device_open: what the plugin registers in between is handed out at the end, as whole
  // tables (slots the plugin does not know are null). [loader]
  void begin_open(std::uint32_t ordinal);
  std::vector<miniinfer_allocator> end_open();

  // register_allocator, as a Status.
  Status add_allocator(std::uint32_t ordinal, const miniinfer_allocator* allocator);

 private:
  const std::string plugin_;
  miniinfer_host table_;
  std::mutex mutex_;
  std::optional<std::uint32_t> opening_;
  std::vector<miniinfer_allocator> allocators_;
};

}  // namespace miniinfer
