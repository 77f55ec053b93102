// Opens a plugin so that the program that asked does not have to find out what that does.
//
//   probe FILE HOST_MIN HOST_MAX --answer-fd N
//
// Writes one line to descriptor N, "miniinfer-probe CODE TEXT", and only when the plugin's entry
// function has returned: a plugin that ends the process, by whatever means, leaves no line. The
// exit status means nothing.

#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "miniinfer/abi/plugin.h"

namespace {

int answer(int descriptor, int code, const char* text) {
  char line[1024];
  const int length = std::snprintf(line, sizeof line, "miniinfer-probe %d %s\n", code, text);
  const auto bytes =
      static_cast<size_t>(length) < sizeof line ? static_cast<size_t>(length) : sizeof line - 1;
  const ssize_t written = write(descriptor, line, bytes);
  // No destructors: they are the plugin's, too.
  _exit(written == static_cast<ssize_t>(bytes) ? 0 : 1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6 || std::strcmp(argv[4], "--answer-fd") != 0) {
    std::fputs("usage: probe FILE HOST_MIN HOST_MAX --answer-fd N\n", stderr);
    return 2;
  }
  const int descriptor = std::atoi(argv[5]);
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return answer(descriptor, MINIINFER_UNAVAILABLE, dlerror());
  void* symbol = dlsym(library, MINIINFER_PLUGIN_ENTRY_NAME);
  if (symbol == nullptr) {
    return answer(descriptor, MINIINFER_NOT_FOUND, "it has no " MINIINFER_PLUGIN_ENTRY_NAME);
  }
  miniinfer_plugin_entry entry_function = nullptr;
  std::memcpy(&entry_function, &symbol, sizeof entry_function);
  char error[512] = "";
  miniinfer_entry entry{};
  entry.head.size = sizeof entry;
  entry.head.minor = MINIINFER_ABI_MINOR;
  entry.host_min = static_cast<uint32_t>(std::strtoul(argv[2], nullptr, 10));
  entry.host_max = static_cast<uint32_t>(std::strtoul(argv[3], nullptr, 10));
  entry.error = error;
  entry.error_capacity = sizeof error;
  const miniinfer_code code = entry_function(&entry);
  error[sizeof error - 1] = '\0';
  if (code == MINIINFER_OK && entry.plugin == nullptr) {
    return answer(descriptor, MINIINFER_INCOMPATIBLE, "its entry gave no table");
  }
  return answer(descriptor, code, error);
}
