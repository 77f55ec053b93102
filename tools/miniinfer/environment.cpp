#include "environment.hpp"

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

extern char** environ;

namespace miniinfer::command {
namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The least quota of the cgroups (version 2) this process is in, in processors.
std::optional<double> cgroup_cpus() {
  const std::string own = first_line("/proc/self/cgroup");
  if (!own.starts_with("0::/")) return std::nullopt;
  const fs::path top = "/sys/fs/cgroup";
  std::optional<double> least;
  for (fs::path group = top / own.substr(4);; group = group.parent_path()) {
    std::istringstream text(first_line(group / "cpu.max"));
    double quota = 0;
    double period = 0;
    if (text >> quota >> period && period > 0) {
      least = least ? std::min(*least, quota / period) : quota / period;
    }
    if (group == top || !group.has_relative_path()) return least;
  }
}

std::optional<int> affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return std::nullopt;
  return CPU_COUNT(&set);
}

template <class T>
Json json_of(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

Json variables() {
  Json json = Json::object();
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    if (!text.starts_with("MINIINFER_")) continue;
    const std::size_t equals = text.find('=');
    if (equals != std::string_view::npos) {
      json[std::string(text.substr(0, equals))] = text.substr(equals + 1);
    }
  }
  return json;
}

// Of the first device that has one.
Json driver(const Runtime& runtime) {
  for (const Device& device : runtime.devices()) {
    if (!device.driver().empty()) return device.driver();
  }
  return {};
}

}  // namespace

double load_average() {
  double loads[1] = {0};
  return getloadavg(loads, 1) == 1 ? loads[0] : 0;
}

Json environment_json(const Runtime& runtime) {
  utsname kernel{};
  uname(&kernel);
  const Result<Device> cpu = runtime.device("cpu:0");
  return {
      {"cpu", cpu ? Json(cpu->name()) : Json()},
      {"cores", sysconf(_SC_NPROCESSORS_ONLN)},
      {"affinity", json_of(affinity())},
      {"cgroup_cpus", json_of(cgroup_cpus())},
      {"threads", runtime.threads()},
      {"load_1m", load_average()},
      {"governor", json_text(first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"))},
      {"kernel", kernel.release},
      {"driver", driver(runtime)},
      {"variables", variables()}};
}

}  // namespace miniinfer::command
