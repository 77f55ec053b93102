#include "plugins/cuda/backend.hpp"

#include "plugins/cuda/device.hpp"
#include "plugins/cuda/probe.hpp"
#include "plugins/cuda/process.hpp"
#include "plugins/cuda/system.hpp"

namespace miniinfer::cuda {

sdk::Probe Backend::probe() { return probe_system(System::of_process()); }

Backend::Backend() { watch_process(); }

std::unique_ptr<sdk::Device> Backend::open(std::uint32_t ordinal,
                                           const miniinfer_device_info& info) {
  return std::make_unique<Device>(ordinal, info);
}

}  // namespace miniinfer::cuda
