// Runs the tests of a program on a GPU:
//
//   PROGRAM [--plugin=FILE] [--every=N] [doctest's own options]
//
// --every=N runs one of N of the cases that a test goes through, where the test says so (is_due).
// Exits with 77 and a reason where there is no GPU to test.

#define DOCTEST_CONFIG_IMPLEMENT
#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>

#include "tests/cuda/gpu_device.hpp"

namespace fs = std::filesystem;

namespace miniinfer::test {

GpuPlugin& GpuPlugin::instance() {
  static auto* const plugin = new GpuPlugin;  // outlives every test
  return *plugin;
}

std::string GpuPlugin::load(const std::string& path) {
  file = fs::absolute(path);
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return std::string("the plugin does not load: ") + dlerror();
  const auto enter =
      reinterpret_cast<miniinfer_plugin_entry>(dlsym(library, MINIINFER_PLUGIN_ENTRY_NAME));
  miniinfer_entry entry{MINIINFER_HEAD(miniinfer_entry), 0, 99, 0, 0, nullptr, nullptr};
  if (enter == nullptr || enter(&entry) != MINIINFER_OK) return file + " is no plugin";
  api = entry.plugin;

  infos.resize(64);
  std::vector<miniinfer_device_info*> pointers;
  for (miniinfer_device_info& info : infos) {
    info.head = MINIINFER_HEAD(miniinfer_device_info);
    pointers.push_back(&info);
  }
  miniinfer_probe probe{};
  probe.head = MINIINFER_HEAD(miniinfer_probe);
  probe.capacity = static_cast<std::uint32_t>(infos.size());
  probe.devices = pointers.data();
  if (api->probe(host.table(), &probe) != MINIINFER_OK) return "probing failed: " + host.error;
  if (probe.count == 0) return probe.reason;
  infos.resize(probe.count);
  std::printf("%u GPUs, driver %s; first: %s at %s, %s%s%s\n", probe.count, probe.driver,
              infos[0].name, infos[0].bus_id, infos[0].stable_id,
              probe.reason[0] == '\0' ? "" : "; ", probe.reason);
  if (api->init(host.table(), &plugin) != MINIINFER_OK) return "init failed: " + host.error;

  // Where the signs conflict, opening decides.
  miniinfer_device* device = nullptr;
  const miniinfer_device_api* table = nullptr;
  const miniinfer_code code = api->device_open(plugin, 0, &infos[0], &device, &table);
  if (code != MINIINFER_OK && probe.state == MINIINFER_PROBE_UNKNOWN) return host.error;
  if (code == MINIINFER_OK) table->close(device);
  return "";
}

GpuDevice::GpuDevice(std::uint32_t ordinal) {
  GpuPlugin& loaded = GpuPlugin::instance();
  loaded.host.allocators.clear();
  const miniinfer_code code =
      loaded.api->device_open(loaded.plugin, ordinal, &loaded.infos.at(ordinal), &device, &api);
  INFO(error());
  REQUIRE_EQ(code, MINIINFER_OK);
  stream = api->stream;
  op = api->op;
  for (const miniinfer_allocator& allocator : loaded.host.allocators) {
    (allocator.kind == MINIINFER_MEMORY_DEVICE ? memory : pinned) = allocator;
  }
}

}  // namespace miniinfer::test

int main(int argc, char** argv) {
  constexpr const char* kOption = "--plugin=";
  const fs::path program = fs::read_symlink("/proc/self/exe");
  std::string file;
  for (const char* place : {"../plugins", "../../plugins", "../lib/miniinfer/plugins"}) {
    const fs::path found = program.parent_path() / place / "libminiinfer_cuda.so";
    if (file.empty() && fs::exists(found)) file = found;
  }
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], kOption, std::strlen(kOption)) == 0) {
      file = argv[i] + std::strlen(kOption);
    }
    unsigned every = 0;
    if (std::sscanf(argv[i], "--every=%u", &every) == 1 && every > 0) {
      miniinfer::test::GpuPlugin::instance().every = every;
    }
  }
  const std::string reason = file.empty() ? "there is no libminiinfer_cuda.so beside this program"
                                          : miniinfer::test::GpuPlugin::instance().load(file);
  if (!reason.empty()) {
    std::printf("skipped: %s\n", reason.c_str());
    return 77;
  }
  return doctest::Context(argc, argv).run();
}
