// Which family of kernels serves a region, and what surrounds every kernel.

#include <algorithm>
#include <string_view>
#include <utility>

#include "plugins/cuda/device.hpp"
#include "plugins/cuda/family.hpp"

namespace miniinfer::cuda {
namespace {

const Family* find_family(std::string_view op) {
  const auto all = families();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Family* family) { return family->op == op; });
  return found == all.end() ? nullptr : *found;
}

// A kernel as the host sees it: it may be put on a stream from any thread, whatever is current
// there, and a failure that breaks the device is remembered.
class DeviceKernel final : public sdk::Kernel {
 public:
  DeviceKernel(Device& device, std::unique_ptr<sdk::Kernel> kernel)
      : device_(device), kernel_(std::move(kernel)) {}
  ~DeviceKernel() override {
    device_.release([&] { kernel_.reset(); });
  }
  void enqueue(sdk::Stream* stream, const miniinfer_run& run) const override {
    device_.on_device([&] { kernel_->enqueue(stream, run); });
  }
  sdk::Packed packed(std::uint32_t operand) const override { return kernel_->packed(operand); }
  void pack(std::uint32_t operand, miniinfer_mem src, miniinfer_mem dst,
            sdk::Stream* stream) const override {
    device_.on_device([&] { kernel_->pack(operand, src, dst, stream); });
  }

 private:
  Device& device_;
  std::unique_ptr<sdk::Kernel> kernel_;
};

}  // namespace

sdk::OpSet Device::ops() const {
  sdk::OpSet set;
  for (const Family* family : families()) set.ops.push_back({family->op, family->attr_size});
  set.add_all_opcodes();
  set.max_nodes = 2;
  set.pointwise_dtypes = sdk::kNumericTypes;
  return set;
}

void Device::support(const sdk::Region& region, sdk::Choices& choices) {
  check_alive();
  const Family* family = find_family(region.op());
  if (family == nullptr) {
    choices.refuse("the CUDA backend has no kernels for %s", region.node().op);
    return;
  }
  // A missing library is a reason, not a failure.
  try {
    family->support(*this, region, choices);
  } catch (const sdk::Error& error) {
    if (error.code() != MINIINFER_UNSUPPORTED) throw;
    choices.refuse("%s", error.what());
  }
}

std::unique_ptr<sdk::Kernel> Device::make_kernel(const sdk::Region& region,
                                                 const miniinfer_choice& choice) {
  const Family* family = find_family(region.op());
  if (family == nullptr) {
    sdk::fail(MINIINFER_UNSUPPORTED, "the CUDA backend has no kernels for %s", region.node().op);
  }
  auto kernel = on_device([&] { return family->make(*this, region, choice); });
  return std::make_unique<DeviceKernel>(*this, std::move(kernel));
}

}  // namespace miniinfer::cuda
