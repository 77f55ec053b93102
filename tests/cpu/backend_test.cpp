#include "core/cpu/backend.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "miniinfer/abi/op/contract.h"
#include "tests/cpu/region_builder.hpp"
#include "tests/cpu/thread_host.hpp"

using namespace miniinfer::test;  // NOLINT

namespace {

miniinfer_entry entry_for(std::uint32_t low, std::uint32_t high, char* error, std::uint32_t size) {
  miniinfer_entry entry{};
  entry.head = MINIINFER_HEAD(miniinfer_entry);
  entry.host_min = low;
  entry.host_max = high;
  entry.error = error;
  entry.error_capacity = size;
  return entry;
}

}  // namespace

TEST_CASE("The built-in backend is entered, probed and opened like a plugin") {
  const ThreadHost restores_the_host(1);
  miniinfer_entry entry = entry_for(0, MINIINFER_ABI_MINOR, nullptr, 0);
  REQUIRE(miniinfer_cpu_entry(&entry) == MINIINFER_OK);
  const miniinfer_plugin_api& plugin = *entry.plugin;
  CHECK(std::string(plugin.name) == "cpu");

  TestHost host;
  miniinfer_device_info info{};
  info.head = MINIINFER_HEAD(miniinfer_device_info);
  miniinfer_device_info* infos[] = {&info};
  miniinfer_probe probe{};
  probe.head = MINIINFER_HEAD(miniinfer_probe);
  probe.capacity = 1;
  probe.devices = infos;
  REQUIRE(plugin.probe(host.table(), &probe) == MINIINFER_OK);
  CHECK(probe.state == MINIINFER_PROBE_FOUND);
  CHECK(probe.count == 1);
  CHECK(info.kind == MINIINFER_KIND_CPU);
  CHECK(std::string(info.memory_domain) == "host");
  CHECK(std::string(info.stable_id) == "cpu");
  CHECK(std::strlen(info.name) > 4);
  CHECK(info.memory_bytes > 1u << 20);

  miniinfer_plugin* self = nullptr;
  REQUIRE(plugin.init(host.table(), &self) == MINIINFER_OK);
  miniinfer_device* device = nullptr;
  const miniinfer_device_api* api = nullptr;
  REQUIRE(plugin.device_open(self, 0, &info, &device, &api) == MINIINFER_OK);
  CHECK(api->stream == nullptr);
  CHECK(host.allocators.empty());
  CHECK(api->op->op_count == 16);
  CHECK(plugin.device_open(self, 1, &info, &device, &api) == MINIINFER_NOT_FOUND);
  CHECK(host.error.find("cpu:1") != std::string::npos);

  RegionBuilder builder;
  miniinfer_contract_attrs attrs{};
  const auto a = builder.input(MINIINFER_FLOAT32, {1, 2}),
             b = builder.input(MINIINFER_FLOAT32, {2, 1});
  builder.node(MINIINFER_CONTRACT, &attrs, {a, b}, {builder.output(MINIINFER_FLOAT32, {1, 1})});
  miniinfer_choice choice{};
  choice.head = MINIINFER_HEAD(miniinfer_choice);
  miniinfer_choice* choices[] = {&choice};
  std::uint32_t count = 1;
  REQUIRE(api->op->support(device, &builder.region(), choices, &count) == MINIINFER_OK);
  miniinfer_kernel* kernel = nullptr;
  REQUIRE(api->op->create(device, &builder.region(), &choice, &kernel) == MINIINFER_OK);
  const float x[] = {3, 4}, y[] = {5, 6};
  float z = 0;
  std::vector<std::byte> workspace(choice.workspace_bytes + 64);
  const miniinfer_mem args[] = {mem(x), mem(y), mem(&z)};
  miniinfer_run run{};
  run.head = MINIINFER_HEAD(miniinfer_run);
  run.args = args;
  run.workspace = mem(workspace.data());
  CHECK(api->op->enqueue(kernel, nullptr, &run) == MINIINFER_OK);
  CHECK(z == 39);
  api->op->destroy(kernel);
}

TEST_CASE("The built-in backend says which operator it does not know") {
  miniinfer_entry entry = entry_for(0, MINIINFER_ABI_MINOR, nullptr, 0);
  REQUIRE(miniinfer_cpu_entry(&entry) == MINIINFER_OK);
  const ThreadHost restores_the_host(1);
  miniinfer_device* device = nullptr;
  const miniinfer_device_api* api = nullptr;
  REQUIRE(entry.plugin->device_open(nullptr, 0, nullptr, &device, &api) == MINIINFER_OK);
  RegionBuilder builder;
  miniinfer_contract_attrs attrs{};
  builder.node("attention/9", &attrs, {}, {});
  miniinfer_choice choice{};
  choice.head = MINIINFER_HEAD(miniinfer_choice);
  miniinfer_choice* choices[] = {&choice};
  std::uint32_t count = 1;
  CHECK(api->op->support(device, &builder.region(), choices, &count) == MINIINFER_UNSUPPORTED);
  CHECK(std::string(choice.reason).find("attention/9") == 0);
}

TEST_CASE("The built-in backend refuses a host of another version in words") {
  char error[128] = "";
  miniinfer_entry entry =
      entry_for(MINIINFER_ABI_MINOR + 1, MINIINFER_ABI_MINOR + 3, error, sizeof error);
  CHECK(miniinfer_cpu_entry(&entry) == MINIINFER_INCOMPATIBLE);
  CHECK(std::string(error).find("boundary") != std::string::npos);
}
