// A whole backend: a device that calculates on ordinary memory with the SDK's reference kernels.
// docs/writing-a-backend.md walks through this file.

#include <miniinfer/sdk/reference/program.hpp>
#include <miniinfer/sdk/sdk.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

namespace {

namespace sdk = miniinfer::sdk;
namespace reference = miniinfer::sdk::reference;

// The device's memory. Here it is the host's; a real device would ask its driver.
class Memory final : public sdk::Allocator {
 public:
  miniinfer_mem allocate(std::uint64_t bytes, std::uint64_t alignment, sdk::Stream*) override {
    alignment = std::max(alignment, traits().min_alignment);
    const std::uint64_t rounded = (bytes + alignment - 1) / alignment * alignment;
    void* block = rounded < bytes ? nullptr : std::aligned_alloc(alignment, rounded);
    if (block == nullptr) {
      sdk::fail(MINIINFER_OUT_OF_MEMORY, "aligned_alloc of %llu bytes on example:0 failed",
                static_cast<unsigned long long>(bytes));
    }
    return {reinterpret_cast<std::uint64_t>(block), 0};
  }
  void free(miniinfer_mem mem, std::uint64_t, sdk::Stream*) noexcept override {
    std::free(host_pointer(mem));
  }
  void* host_pointer(miniinfer_mem mem) noexcept override {
    return reinterpret_cast<void*>(mem.handle + mem.offset);
  }
  sdk::MemoryInfo info() override {
    const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    return {page * static_cast<std::uint64_t>(sysconf(_SC_AVPHYS_PAGES)),
            page * static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES))};
  }
};

std::byte* address(miniinfer_mem mem) {
  return reinterpret_cast<std::byte*>(mem.handle + mem.offset);
}

// A region, ready to run. The device is INLINE: the work is done when enqueue returns.
class Kernel final : public sdk::Kernel {
 public:
  explicit Kernel(const sdk::Region& region) : program_(region) {}

  void enqueue(sdk::Stream*, const miniinfer_run& run) const override {
    std::vector<std::byte*> args;
    for (std::size_t i = 0; i < program_.args().size(); ++i) args.push_back(address(run.args[i]));
    auto* fault = reinterpret_cast<miniinfer_fault*>(address(run.fault));
    program_.run(args, address(run.workspace), reference::FaultSink(fault, run.step));
  }

 private:
  reference::Program program_;
};

class Device final : public sdk::Device {
 public:
  static sdk::DeviceInfo describe() {
    sdk::DeviceInfo info;
    info.kind = MINIINFER_KIND_ACCELERATOR;
    info.flags =
        MINIINFER_DEVICE_INLINE | MINIINFER_DEVICE_FLAT_ADDRESS | MINIINFER_DEVICE_HOST_VISIBLE;
    info.rank = -100;  // slower than the built-in backend: only used when it is asked for
    info.dtypes = sdk::kNumericTypes;
    info.stable_id = "example-0";
    info.name = "example device";
    info.memory_domain = "example";
    return info;
  }

  sdk::DeviceInfo info() const override { return describe(); }
  std::vector<sdk::Allocator*> allocators() override { return {&memory_}; }

  // What it knows: the five families every backend serves, with all types and opcodes.
  sdk::OpSet ops() const override {
    sdk::OpSet set;
    set.add<miniinfer_pointwise_attrs>(MINIINFER_POINTWISE)
        .add<miniinfer_copy_attrs>(MINIINFER_COPY)
        .add<miniinfer_reduce_attrs>(MINIINFER_REDUCE)
        .add<miniinfer_contract_attrs>(MINIINFER_CONTRACT)
        .add<miniinfer_gather_attrs>(MINIINFER_GATHER)
        .add_all_opcodes();
    set.pointwise_dtypes = sdk::kNumericTypes;
    return set;
  }

  // Whether it can run a region. Here: whether the reference can; it says why not.
  void support(const sdk::Region& region, sdk::Choices& choices) override {
    try {
      const reference::Program program(region);
      if (miniinfer_choice* choice = choices.add()) {
        choice->workspace_bytes = program.scratch_bytes();
        choice->flags = MINIINFER_CHOICE_DETERMINISTIC;
      }
    } catch (const sdk::Error& error) {
      choices.refuse("%s", error.what());
    }
  }

  std::unique_ptr<sdk::Kernel> make_kernel(const sdk::Region& region,
                                           const miniinfer_choice&) override {
    return std::make_unique<Kernel>(region);
  }

 private:
  Memory memory_;
};

class Backend final : public sdk::Backend {
 public:
  static constexpr const char* kVersion = "0.1.0";
  static constexpr const char* kVendor = "the Mini-Infer examples";

  // Cheap and without side effects. A real backend looks for its driver's files here, and says
  // in `reason` what it missed.
  static sdk::Probe probe() {
    sdk::Probe found;
    found.devices.push_back(Device::describe());
    return found;
  }

  std::unique_ptr<sdk::Device> open(std::uint32_t, const miniinfer_device_info&) override {
    sdk::log(MINIINFER_LOG_INFO, "opening the example device");
    return std::make_unique<Device>();
  }
};

}  // namespace

MINIINFER_PLUGIN(example, Backend);
