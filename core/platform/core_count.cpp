#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/platform/thread_pool.hpp"

namespace miniinfer {
namespace {

std::string read_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The path of this process's group: "0::/a/b" for version 2, "4:cpu,cpuacct:/a/b" for version 1.
std::string group_path(bool version2) {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    if (version2 ? controllers == ",," : controllers.find(",cpu,") != std::string::npos) {
      return line.substr(second + 1);
    }
  }
  return {};
}

double quota_from(double quota, double period) {
  return quota > 0 && period > 0 ? quota / period : 0;
}

// The least quota of the group and those above it; 0 where there is none.
double least_quota(const std::string& root, std::string path, bool version2) {
  double least = 0;
  while (true) {
    double cpus = 0;
    if (version2) {
      const std::string line = read_line(root + path + "/cpu.max");
      const std::size_t space = line.find(' ');
      if (space != std::string::npos && !line.starts_with("max")) {
        cpus = quota_from(std::atof(line.c_str()), std::atof(line.c_str() + space));
      }
    } else {
      cpus = quota_from(std::atof(read_line(root + path + "/cpu.cfs_quota_us").c_str()),
                        std::atof(read_line(root + path + "/cpu.cfs_period_us").c_str()));
    }
    if (cpus > 0) least = least == 0 ? cpus : std::min(least, cpus);
    if (path.empty() || path == "/") return least;
    path.erase(path.rfind('/'));
  }
}

double cgroup_quota() {
  const double version2 = least_quota("/sys/fs/cgroup", group_path(true), true);
  if (version2 > 0) return version2;
  return least_quota("/sys/fs/cgroup/cpu", group_path(false), false);
}

// The processors this process may use. The kernel refuses a set smaller than its own.
std::vector<int> usable_processors() {
  for (int most = CPU_SETSIZE; most <= 1 << 20; most *= 2) {
    const auto free_set = [](cpu_set_t* set) { CPU_FREE(set); };
    const std::unique_ptr<cpu_set_t, decltype(free_set)> set(CPU_ALLOC(most), free_set);
    const std::size_t bytes = CPU_ALLOC_SIZE(most);
    if (!set) break;
    CPU_ZERO_S(bytes, set.get());
    if (sched_getaffinity(0, bytes, set.get()) != 0) {
      if (errno == EINVAL) continue;
      break;
    }
    std::vector<int> usable;
    for (int cpu = 0; cpu < most; ++cpu) {
      if (CPU_ISSET_S(cpu, bytes, set.get())) usable.push_back(cpu);
    }
    return usable;
  }
  return {};
}

// Cores among the processors this process may use: hyperthreads of one core count once.
int physical_cores(const std::vector<int>& usable) {
  std::set<std::pair<std::string, std::string>> cores;
  for (const int cpu : usable) {
    const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    const std::string core = read_line(folder + "core_id");
    cores.emplace(read_line(folder + "physical_package_id"),
                  core.empty() ? "cpu" + std::to_string(cpu) : core);
  }
  return static_cast<int>(cores.size());
}

}  // namespace

CoreCount count_cores() {
  CoreCount count;
  const std::vector<int> usable = usable_processors();
  if (usable.empty()) return count;
  count.affinity = static_cast<int>(usable.size());
  count.cgroup_cpus = cgroup_quota();
  count.physical = std::max(physical_cores(usable), 1);
  return count;
}

int usable_cores() {
  const CoreCount count = count_cores();
  int cores = std::min(count.affinity, count.physical);
  if (count.cgroup_cpus > 0) {
    cores = std::min(cores, static_cast<int>(std::ceil(count.cgroup_cpus)));
  }
  return std::max(cores, 1);
}

}  // namespace miniinfer
