#include "plugins/cuda/probe.hpp"

#include <cuda_runtime_api.h>

#include <cstdlib>

#include "miniinfer/sdk/data_type.hpp"
#include "miniinfer/sdk/error.hpp"
#include "plugins/cuda/driver_files.hpp"
#include "plugins/cuda/visible_devices.hpp"

namespace miniinfer::cuda {
namespace {

constexpr int kRank = 100;      // before the CPU, 0
constexpr int kDlpackCuda = 2;  // kDLCUDA

sdk::DeviceInfo describe(const Gpu& gpu) {
  sdk::DeviceInfo info = describe_device(gpu.bus_id);
  if (!gpu.name.empty()) info.name = gpu.name;
  info.stable_id = gpu.uuid.empty() ? gpu.bus_id : gpu.uuid;
  return info;
}

// GPUs of which only the number is known. Each is a place of its own: nothing is shared.
void add_unnamed(sdk::Probe& probe, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    probe.devices.push_back(describe({}));
    probe.devices.back().memory_domain = sdk::format("cuda:#%zu", probe.devices.size() - 1);
  }
}

std::string no_driver(const DriverFiles& files) {
  std::string text = "no NVIDIA driver: ";
  if (files.pci_gpus == 0) {
    return text + "/proc/driver/nvidia, /dev/nvidiactl and /dev/dxg are missing";
  }
  return text + sdk::format("%zu NVIDIA GPU%s on the bus, but nothing of a driver is there",
                            files.pci_gpus, files.pci_gpus == 1 ? " is" : "s are");
}

// What is missing of a driver that is there in part; empty: nothing.
std::string missing_part(const DriverFiles& files) {
  if (files.dxg && !files.control_node) return "only /dev/dxg is there, as under WSL 2";
  if (files.library.empty()) return "the loader does not find libcuda.so.1";
  if (!files.control_node) return "/dev/nvidiactl is missing";
  if (files.device_nodes == 0) return "there is no /dev/nvidia0";
  if (files.gpus.empty()) return "the system does not show which GPUs there are";
  return {};
}

bool too_old(const std::string& version) {
  return !version.empty() && std::atoi(version.c_str()) < std::stoi(driver_floor(CUDART_VERSION));
}

}  // namespace

std::string driver_floor(int cuda_version) {
  constexpr struct {
    int cuda;
    const char* driver;
  } kFloors[] = {{13, "580"}, {12, "525"}, {11, "450"}};
  for (const auto& floor : kFloors) {
    if (cuda_version / 1000 >= floor.cuda) return floor.driver;
  }
  return "450";
}

sdk::DeviceInfo describe_device(const std::string& bus_id) {
  sdk::DeviceInfo info;
  info.kind = MINIINFER_KIND_GPU;
  info.flags = MINIINFER_DEVICE_FLAT_ADDRESS;
  info.rank = kRank;
  info.dlpack_type = kDlpackCuda;
  info.dtypes = sdk::kNumericTypes;
  info.memory_alignment = 256;
  info.name = "NVIDIA GPU";
  info.memory_domain = "cuda:" + bus_id;
  info.bus_id = bus_id;
  return info;
}

sdk::Probe probe_system(const System& system) {
  const DriverFiles files = read_driver_files(system);
  sdk::Probe probe;
  probe.driver = files.version;
  const bool sign = files.kernel_module || files.proc_gpus != 0 || files.device_nodes != 0 ||
                    files.control_node || files.dxg;
  // A library without the rest: the kernel's part may be loaded when somebody asks for it.
  if (!sign && (files.pci_gpus == 0 || files.library.empty())) {
    probe.reason = no_driver(files);
    return probe;
  }
  if (too_old(files.version)) {
    probe.reason = sdk::format("the NVIDIA driver %s is too old: CUDA %d needs %s or newer",
                               files.version.c_str(), CUDART_VERSION / 1000,
                               driver_floor(CUDART_VERSION).c_str());
    return probe;
  }
  const char* mask = system.variable("CUDA_VISIBLE_DEVICES");
  if (mask != nullptr && *mask == '\0') {
    probe.reason = "CUDA_VISIBLE_DEVICES is empty: it hides every GPU";
    return probe;
  }

  const std::string missing = missing_part(files);
  if (!missing.empty()) {
    probe.unknown = true;
    probe.reason = missing + ": opening decides";
    // Where the nodes are, so many; otherwise one, so that there is something to open.
    const std::size_t count = mask == nullptr && files.device_nodes != 0 ? files.device_nodes : 1;
    add_unnamed(probe, count);
    return probe;
  }
  const VisibleDevices visible =
      visible_devices(files.gpus, mask, system.variable("CUDA_DEVICE_ORDER"));
  for (const Gpu& gpu : visible.gpus) probe.devices.push_back(describe(gpu));
  add_unnamed(probe, visible.unnamed);
  probe.unknown = !visible.doubt.empty();
  probe.reason = visible.doubt.empty() ? "" : visible.doubt + ": opening decides";
  if (probe.devices.empty()) {
    probe.unknown = false;
    probe.reason = sdk::format("CUDA_VISIBLE_DEVICES is \"%.64s\": it names none of the %zu GPUs",
                               mask == nullptr ? "" : mask, files.gpus.size());
  }
  return probe;
}

}  // namespace miniinfer::cuda
