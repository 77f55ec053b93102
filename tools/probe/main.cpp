// Opens a plugin so that the program that asked does not have to find out what that does.
//
//   probe FILE NAME HOST_MIN HOST_MAX --answer-fd N
//
// Writes one line to descriptor N, "miniinfer-probe CODE TEXT", and only when the plugin's entry
// function has returned and its table has been read: a plugin that ends the process, by whatever
// means, leaves no line. The exit status means nothing.

#include <dlfcn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "core/device/enter_plugin.hpp"

namespace {

[[noreturn]] void answer(int descriptor, int code, const char* text) {
  char line[1024];
  const int length = std::snprintf(line, sizeof line, "miniinfer-probe %d %s", code, text);
  auto bytes = static_cast<std::size_t>(length);
  if (bytes > sizeof line - 2) bytes = sizeof line - 2;
  line[bytes++] = '\n';
  const ssize_t written = write(descriptor, line, bytes);
  // No destructors: they are the plugin's, too.
  _exit(written == static_cast<ssize_t>(bytes) ? 0 : 1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7 || std::strcmp(argv[5], "--answer-fd") != 0) {
    std::fputs("usage: probe FILE NAME HOST_MIN HOST_MAX --answer-fd N\n", stderr);
    return 2;
  }
  // It does not outlive who asked, and its crashes are expected: they leave no core files.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  // Nor does a sanitizer, where this program has one, turn them into exit statuses.
  for (const int crash : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) std::signal(crash, SIG_DFL);

  const int descriptor = std::atoi(argv[6]);
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) answer(descriptor, MINIINFER_UNAVAILABLE, dlerror());
  const miniinfer::EntryOutcome outcome =
      miniinfer::enter_plugin(dlsym(library, MINIINFER_PLUGIN_ENTRY_NAME), argv[2],
                              static_cast<std::uint32_t>(std::strtoul(argv[3], nullptr, 10)),
                              static_cast<std::uint32_t>(std::strtoul(argv[4], nullptr, 10)));
  answer(descriptor, outcome.code, outcome.text);
}
