#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "miniinfer/abi/plugin.h"
#include "plugins/fake/ledger.h"
#include "tests/sdk/region_builder.hpp"
#include "tests/sdk/test_host.hpp"

MINIINFER_EXTERN_C miniinfer_code MINIINFER_PLUGIN_ENTRY(miniinfer_entry* entry) MINIINFER_NOEXCEPT;

namespace miniinfer::test {

// fake:0, opened through the plugin's tables as a host would.
class FakeDevice {
 public:
  // `plan` as in plugins/fake/fault_plan.hpp; `memory` in bytes, as text; `seed` as in
  // plugins/fake/scheduler.hpp.
  explicit FakeDevice(const std::string& plan = "", const std::string& memory = "1048576",
                      unsigned seed = 0) {
    host.options = {{"plan", plan}, {"memory", memory}, {"seed", std::to_string(seed)}};
    miniinfer_entry entry{MINIINFER_HEAD(miniinfer_entry), 0, 99, 0, 0, nullptr, nullptr};
    REQUIRE_EQ(MINIINFER_PLUGIN_ENTRY(&entry), MINIINFER_OK);
    plugin_api = entry.plugin;
    miniinfer_device_info* infos[] = {&info};
    info.head = MINIINFER_HEAD(miniinfer_device_info);
    miniinfer_probe probe{};
    probe.head = MINIINFER_HEAD(miniinfer_probe);
    probe.capacity = 1;
    probe.devices = infos;
    REQUIRE_EQ(plugin_api->probe(host.table(), &probe), MINIINFER_OK);
    REQUIRE_EQ(plugin_api->init(host.table(), &plugin), MINIINFER_OK);
    opened = plugin_api->device_open(plugin, 0, &info, &device, &api);
    if (opened != MINIINFER_OK) return;
    op = api->op;
    stream = api->stream;
    memory_ = host.allocators.at(0);
  }
  FakeDevice(const FakeDevice&) = delete;
  ~FakeDevice() {
    close();
    plugin_api->shutdown(plugin);
  }
  void close() {
    if (device != nullptr) api->close(device);
    device = nullptr;
  }

  miniinfer_code alloc(std::uint64_t bytes, miniinfer_mem* out) {
    return memory_.alloc(memory_.self, bytes, 64, nullptr, out);
  }
  miniinfer_mem alloc(std::uint64_t bytes) {
    miniinfer_mem mem{};
    REQUIRE_EQ(alloc(bytes, &mem), MINIINFER_OK);
    return mem;
  }
  void free(miniinfer_mem mem, std::uint64_t bytes, miniinfer_stream* on = nullptr) {
    memory_.free(memory_.self, mem, bytes, on);
  }
  void* host_pointer(miniinfer_mem mem) { return memory_.host_pointer(memory_.self, mem); }

  miniinfer_stream* make_stream() {
    miniinfer_stream* made = nullptr;
    REQUIRE_EQ(stream->create(device, 0, nullptr, &made), MINIINFER_OK);
    return made;
  }
  miniinfer_event* make_event() {
    miniinfer_event* made = nullptr;
    REQUIRE_EQ(stream->event_create(device, &made), MINIINFER_OK);
    return made;
  }
  template <class T>
  miniinfer_code upload(miniinfer_stream* on, miniinfer_mem to, const std::vector<T>& from) {
    return stream->copy(on, MINIINFER_COPY_HOST_TO_DEVICE, to,
                        {reinterpret_cast<std::uint64_t>(from.data()), 0}, from.size() * sizeof(T));
  }
  template <class T>
  miniinfer_code download(miniinfer_stream* on, std::vector<T>& to, miniinfer_mem from) {
    return stream->copy(on, MINIINFER_COPY_DEVICE_TO_HOST,
                        {reinterpret_cast<std::uint64_t>(to.data()), 0}, from,
                        to.size() * sizeof(T));
  }

  miniinfer_fake_ledger ledger() const {
    miniinfer_fake_ledger counts{};
    counts.head = MINIINFER_HEAD(miniinfer_fake_ledger);
    REQUIRE_EQ(ledger_api()->read(0, &counts), MINIINFER_OK);
    return counts;
  }
  std::string violation(std::uint64_t index = 0) const {
    const char* text = ledger_api()->violation(0, index);
    return text == nullptr ? "" : text;
  }

  TestHost host;
  const miniinfer_plugin_api* plugin_api = nullptr;
  miniinfer_plugin* plugin = nullptr;
  miniinfer_device_info info{};
  miniinfer_code opened = MINIINFER_INTERNAL;
  miniinfer_device* device = nullptr;
  const miniinfer_device_api* api = nullptr;
  const miniinfer_op_api* op = nullptr;
  const miniinfer_stream_api* stream = nullptr;

 private:
  const miniinfer_fake_ledger_api* ledger_api() const {
    return static_cast<const miniinfer_fake_ledger_api*>(
        plugin_api->extension(plugin, MINIINFER_FAKE_LEDGER));
  }

  miniinfer_allocator memory_{};
};

}  // namespace miniinfer::test
