// Opens the first GPU of a plugin whatever probing says: open_device PLUGIN. Prints the code and
// the reason.

#include <dlfcn.h>

#include <cstdio>

#include "miniinfer/abi/plugin.h"
#include "tests/sdk/test_host.hpp"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    std::printf("does not load: %s\n", dlerror());
    return 2;
  }
  const auto enter =
      reinterpret_cast<miniinfer_plugin_entry>(dlsym(library, MINIINFER_PLUGIN_ENTRY_NAME));
  miniinfer_entry entry{MINIINFER_HEAD(miniinfer_entry), 0, 99, 0, 0, nullptr, nullptr};
  if (enter == nullptr || enter(&entry) != MINIINFER_OK) return 2;
  miniinfer::test::TestHost host;
  miniinfer_plugin* plugin = nullptr;
  miniinfer_device* device = nullptr;
  const miniinfer_device_api* api = nullptr;
  miniinfer_device_info info{};
  info.head = MINIINFER_HEAD(miniinfer_device_info);
  if (entry.plugin->init(host.table(), &plugin) != MINIINFER_OK) return 2;
  const miniinfer_code code = entry.plugin->device_open(plugin, 0, &info, &device, &api);
  std::printf("%d: %s\n", code, host.error.c_str());
  if (code == MINIINFER_OK) api->close(device);
  entry.plugin->shutdown(plugin);
  return 0;
}
