#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <string>
#include <utility>

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

// Cores among the processors this process may use: hyperthreads of one core count once.
int physical_cores(const cpu_set_t& usable) {
  std::set<std::pair<std::string, std::string>> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &usable)) continue;
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
  cpu_set_t usable;
  CPU_ZERO(&usable);
  if (sched_getaffinity(0, sizeof usable, &usable) != 0) return count;
  count.affinity = std::max(CPU_COUNT(&usable), 1);
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
