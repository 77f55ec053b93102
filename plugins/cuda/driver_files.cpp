#include "plugins/cuda/driver_files.hpp"

#include <algorithm>
#include <cctype>
#include <string_view>

namespace miniinfer::cuda {
namespace {

constexpr const char* kLibrary = "libcuda.so.1";
// Where loaders look without being told.
constexpr const char* kSystemFolders[] = {"/lib/x86_64-linux-gnu",
                                          "/usr/lib/x86_64-linux-gnu",
                                          "/lib/aarch64-linux-gnu",
                                          "/usr/lib/aarch64-linux-gnu",
                                          "/lib64",
                                          "/usr/lib64",
                                          "/lib",
                                          "/usr/lib"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The first word of digits and dots, with a dot inside: "580.65.06".
std::string version_in(std::string_view text) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    const bool begins = is_digit(text[at]) && (at == 0 || text[at - 1] == ' ');
    if (!begins) continue;
    std::size_t end = at;
    while (end < text.size() && (is_digit(text[end]) || text[end] == '.')) ++end;
    const std::string_view word = text.substr(at, end - at);
    if (word.find('.') != std::string_view::npos) return std::string(word);
  }
  return {};
}

// The value of a line "<key>:<blanks><value>".
std::string value_of(std::string_view text, std::string_view key) {
  std::size_t at = text.find(key);
  if (at == std::string_view::npos) return {};
  at = text.find_first_not_of(" \t", at + key.size());
  if (at == std::string_view::npos) return {};
  std::string_view value = text.substr(at, text.find('\n', at) - at);
  while (!value.empty() && std::isspace(static_cast<unsigned char>(value.back())) != 0) {
    value.remove_suffix(1);
  }
  return std::string(value);
}

bool is_device_node(std::string_view name) {
  constexpr std::string_view kPrefix = "nvidia";
  return name.starts_with(kPrefix) && name.size() > kPrefix.size() &&
         std::all_of(name.begin() + kPrefix.size(), name.end(), is_digit);
}

void read_proc(const System& system, DriverFiles& files) {
  if (const auto text = system.read("/proc/driver/nvidia/version")) {
    files.kernel_module = true;
    files.version = version_in(*text);
  }
  const std::string folder = "/proc/driver/nvidia/gpus";
  for (const std::string& bus_id : system.list(folder)) {
    const auto text = system.read(folder + "/" + bus_id + "/information");
    if (!text || value_of(*text, "GPU Excluded:") == "Yes") continue;
    ++files.proc_gpus;
    // Containers see every GPU here and have nodes of those that are theirs.
    const std::string minor = value_of(*text, "Device Minor:");
    if (!minor.empty() && !system.exists("/dev/nvidia" + minor)) continue;
    Gpu gpu;
    gpu.bus_id = bus_id;
    gpu.name = value_of(*text, "Model:");
    gpu.uuid = value_of(*text, "GPU UUID:");
    // Question marks until the driver has looked at the GPU.
    if (!gpu.uuid.starts_with("GPU-") || gpu.uuid.find('?') != std::string::npos) gpu.uuid.clear();
    files.gpus.push_back(std::move(gpu));
  }
}

void read_nodes(const System& system, DriverFiles& files) {
  for (const std::string& name : system.list("/dev")) {
    files.device_nodes += is_device_node(name);
    files.control_node = files.control_node || name == "nvidiactl";
    files.dxg = files.dxg || name == "dxg";
  }
}

void read_pci(const System& system, DriverFiles& files) {
  const std::string folder = "/sys/bus/pci/devices";
  std::vector<Gpu> found;
  for (const std::string& bus_id : system.list(folder)) {
    const auto vendor = system.read(folder + "/" + bus_id + "/vendor");
    if (!vendor || !vendor->starts_with("0x10de")) continue;
    const auto kind = system.read(folder + "/" + bus_id + "/class");
    if (!kind || !kind->starts_with("0x03")) continue;
    found.push_back({bus_id, "", ""});
  }
  files.pci_gpus = found.size();
  if (files.proc_gpus == 0 && files.device_nodes == found.size()) files.gpus = std::move(found);
}

// The loader's cache holds paths as text, each ended by a zero byte.
std::string in_loader_cache(const System& system) {
  const auto cache = system.read("/etc/ld.so.cache");
  if (!cache) return {};
  const std::string wanted = std::string("/") + kLibrary + '\0';
  const std::size_t at = cache->find(wanted);
  if (at == std::string::npos) return {};
  const std::size_t begin = cache->rfind('\0', at) + 1;
  return cache->substr(begin, at - begin + wanted.size() - 1);
}

std::string find_library(const System& system) {
  std::vector<std::string> folders;
  if (const char* path = system.variable("LD_LIBRARY_PATH")) {
    for (std::string_view rest = path; !rest.empty();) {
      const std::size_t end = std::min(rest.find(':'), rest.size());
      if (end > 0) folders.emplace_back(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  const auto first = [&](const auto& all) -> std::string {
    for (const auto& folder : all) {
      const std::string file = std::string(folder) + "/" + kLibrary;
      if (system.exists(file)) return file;
    }
    return {};
  };
  std::string file = first(folders);
  if (file.empty()) file = in_loader_cache(system);
  if (!file.empty() && !system.exists(file)) file.clear();  // the cache is older than the files
  return file.empty() ? first(kSystemFolders) : file;
}

void read_library(const System& system, DriverFiles& files) {
  files.library = find_library(system);
  if (files.library.empty()) return;
  // libcuda.so.1 is a link to libcuda.so.580.65.06.
  const std::string target = system.target(files.library);
  const std::size_t suffix = target.rfind(".so.");
  const std::string version =
      suffix == std::string::npos ? std::string() : version_in(target.substr(suffix + 4));
  files.compat_library = !version.empty() && !files.version.empty() && version != files.version;
  if (files.version.empty() || files.compat_library) files.version = version;
}

}  // namespace

DriverFiles read_driver_files(const System& system) {
  DriverFiles files{};
  read_proc(system, files);
  read_nodes(system, files);
  const bool sign = files.kernel_module || files.device_nodes != 0 || files.control_node ||
                    files.dxg || files.proc_gpus != 0;
  // Reading the bus costs most, and tells nothing that /proc does not.
  if (files.proc_gpus == 0) read_pci(system, files);
  if (sign || files.pci_gpus != 0) read_library(system, files);
  return files;
}

}  // namespace miniinfer::cuda
