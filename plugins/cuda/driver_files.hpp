#pragma once

// What an NVIDIA driver leaves in the file system.

#include <string>
#include <vector>

#include "plugins/cuda/system.hpp"
#include "plugins/cuda/visible_devices.hpp"

namespace miniinfer::cuda {

struct DriverFiles {
  std::string version;    // "580.65.06"; empty: unknown
  bool kernel_module;     // /proc/driver/nvidia/version can be read
  std::vector<Gpu> gpus;  // those of /proc that have a device node, else those of /sys; bus order
  std::size_t proc_gpus;  // in /proc, with or without a node
  std::size_t pci_gpus;   // of this vendor on the PCI bus; 0 where /sys is hidden
  std::size_t device_nodes;  // /dev/nvidia0, ..
  bool control_node;         // /dev/nvidiactl
  bool dxg;                  // /dev/dxg: a GPU of the Windows host of WSL 2
  std::string library;       // libcuda.so.1, where the loader will find it; empty: nowhere
  bool compat_library;       // that one is of a newer driver than the kernel's
};

DriverFiles read_driver_files(const System& system);

}  // namespace miniinfer::cuda
