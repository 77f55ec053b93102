#include "miniinfer/sdk/plugin.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

#include "miniinfer/sdk/sdk.hpp"
#include "tests/sdk/region_builder.hpp"
#include "tests/sdk/test_host.hpp"

namespace sdk = miniinfer::sdk;

namespace {

// A backend whose functions do what the test sets here.
struct Script {
  bool absent = false;
  int devices_closed = 0;
  int kernels_destroyed = 0;
  void (*enqueue)() = [] {};
  void (*open)() = [] {};
} script;

class TestKernel final : public sdk::Kernel {
 public:
  ~TestKernel() override { ++script.kernels_destroyed; }
  void enqueue(sdk::Stream*, const miniinfer_run&) const override { script.enqueue(); }
  sdk::Packed packed(std::uint32_t) const override { return {128, 32, "blocked/8"}; }
};

class TestMemory final : public sdk::Allocator {
 public:
  miniinfer_mem allocate(std::uint64_t bytes, std::uint64_t, sdk::Stream*) override {
    if (bytes > 100) {
      sdk::fail(MINIINFER_OUT_OF_MEMORY, "%d bytes, 100 free", static_cast<int>(bytes));
    }
    return {1, bytes};
  }
  void free(miniinfer_mem, std::uint64_t, sdk::Stream*) noexcept override {}
  sdk::MemoryInfo info() override { return {60, 100}; }
};

class TestDevice final : public sdk::Device {
 public:
  static sdk::DeviceInfo describe() {
    sdk::DeviceInfo info;
    info.flags = MINIINFER_DEVICE_INLINE;
    info.stable_id = "test-0";
    info.name = std::string(500, 'x');  // longer than the field
    return info;
  }
  ~TestDevice() override { ++script.devices_closed; }
  sdk::DeviceInfo info() const override { return describe(); }
  sdk::OpSet ops() const override {
    sdk::OpSet set;
    set.add<miniinfer_pointwise_attrs>(MINIINFER_POINTWISE).add_opcodes({MINIINFER_PW_SELECT});
    return set;
  }
  std::vector<sdk::Allocator*> allocators() override { return {&memory_}; }
  void support(const sdk::Region& region, sdk::Choices& choices) override {
    if (region.op() != MINIINFER_POINTWISE) {
      choices.refuse("%s: only pointwise", region.node().op);
      return;
    }
    for (std::uint32_t i = 0; miniinfer_choice* choice = choices.add(); ++i) {
      choice->algorithm = i;
      choice->workspace_bytes = 64;
    }
  }
  std::unique_ptr<sdk::Kernel> make_kernel(const sdk::Region&, const miniinfer_choice&) override {
    return std::make_unique<TestKernel>();
  }

 private:
  TestMemory memory_;
};

class TestBackend final : public sdk::Backend {
 public:
  static constexpr const char* kVersion = "9.8.7";
  static constexpr const char* kVendor = "tests";
  static sdk::Probe probe() {
    sdk::Probe found;
    if (script.absent) {
      found.reason = "no test hardware";
    } else {
      found.devices.push_back(TestDevice::describe());
    }
    return found;
  }
  std::unique_ptr<sdk::Device> open(std::uint32_t, const miniinfer_device_info&) override {
    script.open();
    return std::make_unique<TestDevice>();
  }
};

}  // namespace

MINIINFER_PLUGIN(scripted, TestBackend);

namespace {

struct Entry {
  char error[128] = "untouched";
  miniinfer_entry entry{MINIINFER_HEAD(miniinfer_entry),
                        MINIINFER_ABI_MINOR,
                        MINIINFER_ABI_MINOR,
                        0,
                        sizeof error,
                        nullptr,
                        error};
};

// The plugin loaded and its device opened, as a host would.
struct Opened {
  explicit Opened(miniinfer::test::TestHost& host) {
    script = Script();
    Entry entry;
    REQUIRE_EQ(MINIINFER_PLUGIN_ENTRY(&entry.entry), MINIINFER_OK);
    plugin_api = entry.entry.plugin;
    REQUIRE_EQ(plugin_api->init(host.table(), &plugin), MINIINFER_OK);
    miniinfer_device_info info{};
    info.head = MINIINFER_HEAD(miniinfer_device_info);
    REQUIRE_EQ(plugin_api->device_open(plugin, 0, &info, &device, &api), MINIINFER_OK);
  }
  ~Opened() {
    api->close(device);
    plugin_api->shutdown(plugin);
  }
  const miniinfer_plugin_api* plugin_api = nullptr;
  miniinfer_plugin* plugin = nullptr;
  miniinfer_device* device = nullptr;
  const miniinfer_device_api* api = nullptr;
};

struct KernelOf {
  explicit KernelOf(Opened& opened) : api(opened.api->op) {
    attrs.in_count = 0;
    builder.node(MINIINFER_POINTWISE, &attrs, {}, {builder.output(MINIINFER_FLOAT32, {1})});
    miniinfer_choice choice{};
    choice.head = MINIINFER_HEAD(miniinfer_choice);
    REQUIRE_EQ(api->create(opened.device, &builder.region(), &choice, &kernel), MINIINFER_OK);
  }
  ~KernelOf() { api->destroy(kernel); }
  miniinfer_code enqueue() const {
    miniinfer_run run{};
    run.head = MINIINFER_HEAD(miniinfer_run);
    return api->enqueue(kernel, nullptr, &run);
  }
  const miniinfer_op_api* api;
  miniinfer_pointwise_attrs attrs{};
  miniinfer::test::RegionBuilder builder;
  miniinfer_kernel* kernel = nullptr;
};

}  // namespace

TEST_CASE("entry gives the same complete table each time") {
  Entry first;
  Entry second;
  CHECK_EQ(MINIINFER_PLUGIN_ENTRY(&first.entry), MINIINFER_OK);
  CHECK_EQ(MINIINFER_PLUGIN_ENTRY(&second.entry), MINIINFER_OK);
  CHECK_EQ(first.entry.plugin, second.entry.plugin);
  CHECK_EQ(first.entry.chosen, static_cast<std::uint32_t>(MINIINFER_ABI_MINOR));
  CHECK_EQ(std::string(first.entry.plugin->name), "scripted");
  CHECK_EQ(std::string(first.entry.plugin->version), "9.8.7");
  CHECK_EQ(first.entry.plugin->head.size, sizeof(miniinfer_plugin_api));
}

TEST_CASE("entry refuses a host of another range and names both") {
  Entry entry;
  entry.entry.host_min = MINIINFER_ABI_MINOR + 1;
  entry.entry.host_max = MINIINFER_ABI_MINOR + 2;
  CHECK_EQ(MINIINFER_PLUGIN_ENTRY(&entry.entry), MINIINFER_INCOMPATIBLE);
  CHECK_EQ(entry.entry.plugin, nullptr);
  CHECK_EQ(std::string(entry.error),
           "plugin scripted speaks boundary v0.1 to v0.1, this host v0.2 to v0.3");
}

TEST_CASE("a refusal fits any buffer, also none") {
  Entry entry;
  entry.entry.host_min = entry.entry.host_max = 99;
  entry.entry.error_capacity = 7;
  CHECK_EQ(MINIINFER_PLUGIN_ENTRY(&entry.entry), MINIINFER_INCOMPATIBLE);
  CHECK_EQ(std::string(entry.error), "plugin");
  entry.entry.error = nullptr;
  CHECK_EQ(MINIINFER_PLUGIN_ENTRY(&entry.entry), MINIINFER_INCOMPATIBLE);
}

TEST_CASE("negotiation takes the newest minor both sides have") {
  const auto agreed = [](std::uint32_t host_min, std::uint32_t host_max, std::uint32_t min,
                         std::uint32_t max) -> int {
    Entry entry;
    entry.entry.host_min = host_min;
    entry.entry.host_max = host_max;
    return sdk::negotiate(entry.entry, "x", min, max) == MINIINFER_OK
               ? static_cast<int>(entry.entry.chosen)
               : -1;
  };
  CHECK_EQ(agreed(1, 5, 3, 9), 5);
  CHECK_EQ(agreed(3, 9, 1, 5), 5);
  CHECK_EQ(agreed(0, 0, 0, 0), 0);
  CHECK_EQ(agreed(1, 2, 3, 4), -1);
  CHECK_EQ(agreed(3, 4, 1, 2), -1);
}

TEST_CASE("an entry struct that is too small or missing is refused") {
  Entry entry;
  entry.entry.head.size = 8;
  CHECK_EQ(MINIINFER_PLUGIN_ENTRY(&entry.entry), MINIINFER_INVALID_ARGUMENT);
  CHECK_EQ(MINIINFER_PLUGIN_ENTRY(nullptr), MINIINFER_INVALID_ARGUMENT);
}

TEST_CASE("probe fills no more devices than there is room for and cuts long texts") {
  miniinfer::test::TestHost host;
  script = Script();
  Entry entry;
  REQUIRE_EQ(MINIINFER_PLUGIN_ENTRY(&entry.entry), MINIINFER_OK);
  miniinfer_device_info info{};
  info.head = MINIINFER_HEAD(miniinfer_device_info);
  miniinfer_device_info* infos[] = {&info};
  miniinfer_probe probe{};
  probe.head = MINIINFER_HEAD(miniinfer_probe);
  probe.devices = infos;
  probe.capacity = 1;
  REQUIRE_EQ(entry.entry.plugin->probe(host.table(), &probe), MINIINFER_OK);
  CHECK_EQ(probe.state, MINIINFER_PROBE_FOUND);
  CHECK_EQ(probe.count, 1u);
  CHECK_EQ(std::string(info.stable_id), "test-0");
  CHECK_EQ(std::strlen(info.name), sizeof info.name - 1);

  script.absent = true;
  REQUIRE_EQ(entry.entry.plugin->probe(host.table(), &probe), MINIINFER_OK);
  CHECK_EQ(probe.state, MINIINFER_PROBE_ABSENT);
  CHECK_EQ(std::string(probe.reason), "no test hardware");
  CHECK_EQ(probe.devices, infos);
}

TEST_CASE("a host that knows less of a struct gets only what it has room for") {
  miniinfer::test::TestHost host;
  Opened opened(host);
  struct {
    miniinfer_device_info info{};
    char after = 'a';
  } small;
  small.info.head = {offsetof(miniinfer_device_info, name), 0};
  std::memset(small.info.name, '?', sizeof small.info.name);
  REQUIRE_EQ(opened.api->info(opened.device, &small.info), MINIINFER_OK);
  CHECK_EQ(std::string(small.info.stable_id), "test-0");
  CHECK_EQ(small.info.name[0], '?');
  CHECK_EQ(small.info.head.size, offsetof(miniinfer_device_info, name));
}

TEST_CASE("an inline device has no stream table and its operators are listed") {
  miniinfer::test::TestHost host;
  Opened opened(host);
  CHECK_EQ(opened.api->stream, nullptr);
  REQUIRE_EQ(opened.api->op->op_count, 1u);
  CHECK_EQ(std::string(opened.api->op->ops[0]->id), "pointwise/1");
  CHECK_EQ(opened.api->op->ops[0]->attr_size, sizeof(miniinfer_pointwise_attrs));
  CHECK_EQ(opened.api->op->pointwise_ops[1], std::uint64_t{1} << (MINIINFER_PW_SELECT - 64));
}

TEST_CASE("a thrown Error becomes its code and text") {
  miniinfer::test::TestHost host;
  Opened opened(host);
  REQUIRE_EQ(host.allocators.size(), 1);
  const miniinfer_allocator& memory = host.allocators[0];
  miniinfer_mem mem{7, 7};
  CHECK_EQ(memory.alloc(memory.self, 101, 64, nullptr, &mem), MINIINFER_OUT_OF_MEMORY);
  CHECK_EQ(host.error, "101 bytes, 100 free");
  CHECK_EQ(mem.handle, 7u);
  CHECK_EQ(memory.alloc(memory.self, 5, 64, nullptr, &mem), MINIINFER_OK);
  CHECK_FALSE(static_cast<bool>(memory.import_native));
}

TEST_CASE("nothing that is thrown gets through") {
  miniinfer::test::TestHost host;
  Opened opened(host);
  const KernelOf kernel(opened);
  CHECK_EQ(kernel.enqueue(), MINIINFER_OK);
  script.enqueue = [] { throw std::bad_alloc(); };
  CHECK_EQ(kernel.enqueue(), MINIINFER_OUT_OF_MEMORY);
  script.enqueue = [] { throw std::runtime_error("the pump is dry"); };
  CHECK_EQ(kernel.enqueue(), MINIINFER_INTERNAL);
  CHECK_EQ(host.error, "the pump is dry");
  script.enqueue = [] { throw 42; };
  CHECK_EQ(kernel.enqueue(), MINIINFER_INTERNAL);
  CHECK_EQ(host.error, "an exception of unknown type");
}

TEST_CASE("what a piece of a parallel loop throws reaches the caller as code and text") {
  miniinfer::test::TestHost host;
  Opened opened(host);
  const KernelOf kernel(opened);
  script.enqueue = [] {
    sdk::parallel_for(10, 4, 0, [](std::uint64_t begin, std::uint64_t end, std::uint32_t) {
      if (end == 10) sdk::fail(MINIINFER_TIMEOUT, "piece at %d", static_cast<int>(begin));
    });
  };
  CHECK_EQ(kernel.enqueue(), MINIINFER_TIMEOUT);
  CHECK_EQ(host.error, "piece at 8");
}

TEST_CASE("choices fill the room there is and refusals carry a reason") {
  miniinfer::test::TestHost host;
  Opened opened(host);
  miniinfer::test::RegionBuilder builder;
  miniinfer_pointwise_attrs attrs{};
  builder.node(MINIINFER_POINTWISE, &attrs, {}, {builder.output(MINIINFER_FLOAT32, {1})});
  std::array<miniinfer_choice, 2> room{};
  for (auto& choice : room) choice.head = MINIINFER_HEAD(miniinfer_choice);
  miniinfer_choice* choices[] = {&room[0], &room[1]};
  std::uint32_t count = 2;
  CHECK_EQ(opened.api->op->support(opened.device, &builder.region(), choices, &count),
           MINIINFER_OK);
  CHECK_EQ(count, 2u);
  CHECK_EQ(room[1].algorithm, 1u);
  CHECK_EQ(room[1].workspace_bytes, 64u);

  miniinfer::test::RegionBuilder other;
  other.node("softmax/1", &attrs, {}, {other.output(MINIINFER_FLOAT32, {1})});
  CHECK_EQ(opened.api->op->support(opened.device, &other.region(), choices, &count),
           MINIINFER_UNSUPPORTED);
  CHECK_EQ(count, 0u);
  CHECK_EQ(std::string(room[0].reason), "softmax/1: only pointwise");
}

TEST_CASE("what a packed operand needs arrives whole") {
  miniinfer::test::TestHost host;
  Opened opened(host);
  const KernelOf kernel(opened);
  miniinfer_packed packed{};
  packed.head = MINIINFER_HEAD(miniinfer_packed);
  REQUIRE_EQ(kernel.api->packed(kernel.kernel, 0, &packed), MINIINFER_OK);
  CHECK_EQ(packed.bytes, 128u);
  CHECK_EQ(packed.alignment, 32u);
  CHECK_EQ(std::string(packed.key), "blocked/8");
}

TEST_CASE(
    "devices and kernels are destroyed once, and a device that fails to open leaves nothing") {
  miniinfer::test::TestHost host;
  {
    Opened opened(host);
    {
      const KernelOf kernel(opened);
    }
    CHECK_EQ(script.kernels_destroyed, 1);
    host.refuse_allocators = true;
    miniinfer_device_info info{};
    info.head = MINIINFER_HEAD(miniinfer_device_info);
    miniinfer_device* device = nullptr;
    const miniinfer_device_api* api = nullptr;
    CHECK_EQ(opened.plugin_api->device_open(opened.plugin, 0, &info, &device, &api),
             MINIINFER_INVALID_ARGUMENT);
    CHECK_EQ(device, nullptr);
    CHECK_EQ(script.devices_closed, 1);
  }
  CHECK_EQ(script.devices_closed, 2);
}

TEST_CASE("a line below the level is not written") {
  miniinfer::test::TestHost host;
  Opened opened(host);
  host.level = MINIINFER_LOG_WARN;
  sdk::log(MINIINFER_LOG_INFO, "quiet %d", 1);
  sdk::log(MINIINFER_LOG_ERROR, "loud %d", 2);
  REQUIRE_EQ(host.logged.size(), 1);
  CHECK_EQ(host.logged[0], "4 loud 2");
}
