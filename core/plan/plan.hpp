#pragma once

// A plan: how to run a model for one set of input shapes. Immutable; shared by all contexts.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/plan/constant_store.hpp"
#include "core/plan/memory.hpp"
#include "core/plan/specialise.hpp"
#include "miniinfer/abi/ext/draft/peer_copy.h"
#include "miniinfer/session.hpp"

namespace miniinfer {

class KernelHandle {
 public:
  KernelHandle() = default;
  KernelHandle(OpenDevicePtr device, miniinfer_kernel* kernel)
      : device_(std::move(device)), kernel_(kernel) {}
  KernelHandle(KernelHandle&& other) noexcept
      : device_(std::move(other.device_)), kernel_(std::exchange(other.kernel_, nullptr)) {}
  KernelHandle& operator=(KernelHandle&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(kernel_, other.kernel_);
    return *this;
  }
  ~KernelHandle() {
    if (kernel_ != nullptr) device_->api->op->destroy(kernel_);
  }
  miniinfer_kernel* get() const { return kernel_; }

 private:
  OpenDevicePtr device_;
  miniinfer_kernel* kernel_ = nullptr;
};

struct Step {
  Item::Kind kind = Item::Kernel;
  std::uint32_t device = 0;
  // Kernel: its arguments are args[first_arg .. first_arg + arg_count).
  KernelHandle kernel;
  std::uint32_t first_arg = 0;
  std::uint32_t arg_count = 0;
  Slot workspace;
  std::uint64_t workspace_bytes = 0;
  bool capturable = false;
  // Transfer.
  std::uint32_t from_device = 0;
  Slot from, to;
  const miniinfer_peer_copy* peer_copy = nullptr;  // null: through the host's memory
  std::uint64_t bytes = 0;  // to copy; a kernel's are those of its operands, for profiles
  // For reports and profiles.
  std::string label;  // "conv/1 + pointwise/1"
  std::vector<NodeId> sources;
};

// Steps of one device, begin up to end, that may be recorded and replayed as one piece of work.
struct StretchRange {
  std::uint32_t device = 0;
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
};

struct PlanResult {
  TensorType type;
  std::uint32_t device = 0;
  std::optional<Slot> copy_from;  // set: nothing writes it, copy it from there at the end
};

struct Plan {
  std::vector<OpenDevicePtr>
      devices;             // those of the list, then the host where it is not one of them
  std::uint32_t host = 0;  // index of the host among them
  std::vector<Step> steps;
  std::vector<StretchRange> stretches;  // in order
  std::vector<Slot> args;               // Constant: index into `constants`
  std::vector<DeviceConstantPtr> constants;
  std::vector<PlanResult> results;
  std::vector<Slot> faults;            // by device
  std::vector<ArenaUse> arenas;        // by device
  std::vector<bool> used;              // by device: has a step
  std::vector<std::uint32_t> outputs;  // as Specialised
  std::vector<DynamicResult> dynamic;
  std::optional<Rest> rest;
  Placement placement;
  std::vector<DeviceMemory> memory;  // of one context, peak included
};

using PlanPtr = std::shared_ptr<const Plan>;

struct PlanRequest {
  const Graph* model = nullptr;
  std::vector<InputFact> inputs;
  std::vector<std::uint32_t> input_devices;  // index into devices, for each input
  std::vector<OpenDevicePtr> devices;        // in order of preference
  OpenDevicePtr host;
  ConstantStore* constants = nullptr;
  PassContext passes;
  std::uint32_t math = 0;  // MINIINFER_MATH_* that every kernel is allowed
  std::vector<std::string> disabled_passes;
  int contexts = 1;
  std::function<std::uint64_t(const OpenDevice&)> limit_of;  // ~0: none
};

Result<PlanPtr> build_plan(const PlanRequest& request);

}  // namespace miniinfer
