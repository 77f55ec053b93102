#pragma once

// A GPU opened through the plugin's tables, for tests that run where there is one. The programs
// need nothing but the plugin's file, which is looked for beside them.

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "miniinfer/abi/ext/draft/graph_capture.h"
#include "miniinfer/abi/plugin.h"
#include "tests/sdk/test_host.hpp"

namespace miniinfer::test {

// The plugin, loaded once, and what its probe said.
struct GpuPlugin {
  static GpuPlugin& instance();
  // Loads and probes. Empty, or why there is nothing to test.
  std::string load(const std::string& path);
  // Whether the case at hand is to be run: under a tool that slows a GPU down, every `every`-th is.
  bool is_due() { return asked++ % every == 0; }

  std::string file;
  TestHost host;
  const miniinfer_plugin_api* api = nullptr;
  miniinfer_plugin* plugin = nullptr;
  std::vector<miniinfer_device_info> infos;
  unsigned every = 1;
  unsigned asked = 0;
};

class GpuDevice {
 public:
  explicit GpuDevice(std::uint32_t ordinal = 0);
  GpuDevice(const GpuDevice&) = delete;
  ~GpuDevice() { close(); }
  void close() {
    if (device != nullptr) api->close(device);
    device = nullptr;
  }
  std::string error() const { return GpuPlugin::instance().host.error; }

  miniinfer_mem alloc(std::uint64_t bytes, std::uint64_t alignment = 64) {
    miniinfer_mem mem{};
    REQUIRE_EQ(memory.alloc(memory.self, bytes, alignment, nullptr, &mem), MINIINFER_OK);
    return mem;
  }
  void free(miniinfer_mem mem, std::uint64_t bytes) {
    memory.free(memory.self, mem, bytes, nullptr);
  }
  miniinfer_stream* make_stream(std::int32_t priority = 0, void* native = nullptr) {
    miniinfer_stream* made = nullptr;
    REQUIRE_EQ(stream->create(device, priority, native, &made), MINIINFER_OK);
    return made;
  }
  miniinfer_event* make_event() {
    miniinfer_event* made = nullptr;
    REQUIRE_EQ(stream->event_create(device, &made), MINIINFER_OK);
    return made;
  }
  template <class T>
  miniinfer_code upload(miniinfer_stream* on, miniinfer_mem to, const std::vector<T>& from) {
    return stream->copy(on, MINIINFER_COPY_HOST_TO_DEVICE, to, host_mem(from.data()),
                        from.size() * sizeof(T));
  }
  template <class T>
  miniinfer_code download(miniinfer_stream* on, std::vector<T>& to, miniinfer_mem from) {
    return stream->copy(on, MINIINFER_COPY_DEVICE_TO_HOST, host_mem(to.data()), from,
                        to.size() * sizeof(T));
  }
  static miniinfer_mem host_mem(const void* data) {
    return {reinterpret_cast<std::uint64_t>(data), 0};
  }

  miniinfer_device* device = nullptr;
  const miniinfer_device_api* api = nullptr;
  const miniinfer_stream_api* stream = nullptr;
  const miniinfer_op_api* op = nullptr;
  miniinfer_allocator memory{};
  miniinfer_allocator pinned{};
};

}  // namespace miniinfer::test
