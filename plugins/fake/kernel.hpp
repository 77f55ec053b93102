#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "miniinfer/sdk/kernel.hpp"
#include "miniinfer/sdk/reference/program.hpp"

namespace miniinfer::fake {

class Device;

// The reference program of a region, run late over the device's memory.
class Kernel final : public sdk::Kernel {
 public:
  Kernel(Device& device, const sdk::Region& region, std::uint64_t in_place);
  ~Kernel() override;
  void enqueue(sdk::Stream* stream, const miniinfer_run& run) const override;

  // Why the device does not take the region: throws sdk::Error. Otherwise the program.
  static std::unique_ptr<sdk::reference::Program> compile(const Device& device,
                                                          const sdk::Region& region);

 private:
  struct Work;  // one run

  void execute(const Work& work) const;
  void check_overlap(const Work& work) const;

  Device& device_;
  std::unique_ptr<sdk::reference::Program> program_;
  std::uint32_t in_count_;
  std::uint64_t in_place_;
};

}  // namespace miniinfer::fake
