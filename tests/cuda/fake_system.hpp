#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "plugins/cuda/system.hpp"
#include "tests/tools/scratch_folder.hpp"

namespace miniinfer::test {

// A folder that stands for "/", and an environment.
class FakeSystem {
 public:
  FakeSystem& file(const std::string& path, const std::string& text = "") {
    const std::filesystem::path place = root() + path;
    std::filesystem::create_directories(place.parent_path());
    std::ofstream(place) << text;
    return *this;
  }
  FakeSystem& link(const std::string& path, const std::string& target) {
    file(std::filesystem::path(path).parent_path() / target);
    std::filesystem::create_symlink(target, root() + path);
    return *this;
  }
  FakeSystem& remove(const std::string& path) {
    std::filesystem::remove_all(root() + path);
    return *this;
  }
  FakeSystem& variable(const std::string& name, const std::string& value) {
    variables_[name] = value;
    return *this;
  }

  // Parts of a machine with a driver of that version.
  FakeSystem& driver(const std::string& version = "580.65.06") {
    file("/proc/driver/nvidia/version",
         "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  " + version +
             "  Release Build  (dvs-builder)  Sun Jul 27 06:43:41 UTC 2025\n"
             "GCC version:  gcc version 12.3.0\n");
    file("/dev/nvidiactl").file("/dev/nvidia-uvm");
    return library(version);
  }
  FakeSystem& library(const std::string& version) {
    return link("/usr/lib/x86_64-linux-gnu/libcuda.so.1", "libcuda.so." + version);
  }
  // GPU `minor`, at bus 0x10 + minor * 0x10 unless told otherwise.
  FakeSystem& gpu(int minor, const std::string& name = "NVIDIA H200", std::string bus_id = "") {
    if (bus_id.empty()) bus_id = "0000:" + std::to_string(minor + 1) + "0:00.0";
    const std::string digit = std::to_string(minor);
    file("/proc/driver/nvidia/gpus/" + bus_id + "/information",
         "Model: \t\t " + name + "\nIRQ:   \t\t 90\nGPU UUID: \t GPU-" + digit +
             "a1f0000-1111-2222-3333-444455556666\nBus Location: \t " + bus_id +
             "\nDevice Minor: \t " + digit + "\nGPU Excluded:\t No\n");
    return file("/dev/nvidia" + digit);
  }
  FakeSystem& pci(const std::string& bus_id, const std::string& vendor = "0x10de",
                  const std::string& kind = "0x030200") {
    file("/sys/bus/pci/devices/" + bus_id + "/vendor", vendor + "\n");
    return file("/sys/bus/pci/devices/" + bus_id + "/class", kind + "\n");
  }

  cuda::System get() const {
    return {root(), [this](const char* name) -> const char* {
              const auto found = variables_.find(name);
              return found == variables_.end() ? nullptr : found->second.c_str();
            }};
  }
  std::string root() const { return (folder_ / "root").string(); }

 private:
  ScratchFolder folder_;
  std::map<std::string, std::string> variables_;
};

}  // namespace miniinfer::test
