// What the plugin's kernels call outside themselves, where they are emulated.

#include "tests/cuda/emulated_device.hpp"

#include <cuda_runtime_api.h>

#include "plugins/cuda/check.hpp"
#include "plugins/cuda/device.hpp"

extern "C" cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes,
                                       cudaMemcpyKind, cudaStream_t) {
  if (bytes > 0) std::memmove(to, from, bytes);
  return cudaSuccess;
}

extern "C" cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t) {
  if (bytes > 0) std::memset(to, value, bytes);
  return cudaSuccess;
}

void miniinfer::cuda::raise(cudaError_t error, const char* call) {
  sdk::fail(MINIINFER_INTERNAL, "%s: CUDA error %d", call, static_cast<int>(error));
}

namespace miniinfer::test {
namespace {

class Stream final : public sdk::Stream {
 public:
  void sync() override {}
  bool done() override { return true; }
  void copy(miniinfer_copy_direction, miniinfer_mem, miniinfer_mem, std::uint64_t) override {}
  void fill(miniinfer_mem, std::uint64_t, std::uint64_t, std::uint32_t) override {}
  void record(sdk::Event&) override {}
  void wait(sdk::Event&) override {}
};

std::byte* align64(std::byte* p) {
  return reinterpret_cast<std::byte*>((reinterpret_cast<std::uintptr_t>(p) + 63) &
                                      ~std::uintptr_t{63});
}

}  // namespace

Outputs run_emulated(const cuda::Family& family, RegionBuilder& builder,
                     const std::vector<std::vector<std::byte>>& inputs, std::size_t shift,
                     bool in_place) {
  // No kernel that is emulated looks at more of its device than its properties.
  alignas(cuda::Device) static std::byte no_device[sizeof(cuda::Device)];
  auto& device = reinterpret_cast<cuda::Device&>(no_device);
  const_cast<cuda::Device::Properties&>(device.properties()).compute_capability = 90;
  Stream stream;
  Outputs result;
  const miniinfer_region& raw = builder.region();
  const sdk::Region region(raw);
  sdk::Choices choices(1);
  family.support(device, region, choices);
  miniinfer_choice* out = &result.choice;
  std::uint32_t count = 1;
  result.choice.head = MINIINFER_HEAD(miniinfer_choice);
  result.code = choices.deliver(&out, &count);
  if (result.code != MINIINFER_OK) {
    result.reason = choices.reason();
    return result;
  }

  if (in_place && (result.choice.in_place & sdk::in_place_bit(0, 0)) == 0) {
    result.code = MINIINFER_FAILED_PRECONDITION;
    return result;
  }

  std::vector<std::vector<std::byte>> blocks, packs;
  std::vector<std::byte*> bases;
  const auto place = [&](std::size_t size, std::size_t before) {
    bases.push_back(align64(blocks.emplace_back(size + 63 + before + kGuardBytes, kGuard).data()) +
                    before);
    return mem(bases.back());
  };
  std::vector<miniinfer_mem> args;
  for (const auto& input : inputs) {
    args.push_back(place(input.size(), shift));
    if (!input.empty()) std::memcpy(bases.back(), input.data(), input.size());
  }
  std::vector<std::size_t> sizes;
  for (std::uint32_t o = 0; o < raw.out_count; ++o) {
    const miniinfer_value& value = *raw.values[raw.out[o]];
    sizes.push_back(static_cast<std::size_t>(sdk::element_count(sdk::dims(value))) *
                    sdk::element_bytes(value.dtype));
    if (o == 0 && in_place) {
      bases.push_back(bases[0]);
      args.push_back(args[0]);
      continue;
    }
    args.push_back(place(sizes.back(), shift));
  }
  sizes.push_back(result.choice.workspace_bytes);
  miniinfer_run run{};
  run.head = MINIINFER_HEAD(miniinfer_run);
  run.workspace = place(sizes.back(), 0);
  run.args = args.data();
  run.fault = mem(&result.fault);
  run.step = 7;
  try {
    const auto kernel = family.make(device, region, result.choice);
    for (std::uint32_t i = 0; i < raw.in_count; ++i) {
      if ((raw.values[raw.in[i]]->flags & MINIINFER_VALUE_CONSTANT) == 0) continue;
      const sdk::Packed packed = kernel->packed(i);
      if (packed.bytes == 0) continue;
      const miniinfer_mem to = mem(align64(packs.emplace_back(packed.bytes + 63, kGuard).data()));
      kernel->pack(i, args[i], to, &stream);
      args[i] = to;
    }
    kernel->enqueue(&stream, run);
  } catch (const sdk::Error& error) {
    result.code = error.code();
    result.reason = error.what();
  }
  for (std::size_t o = 0; o < sizes.size(); ++o) {
    const std::byte* base = bases[inputs.size() + o];
    for (std::size_t i = 0; i < kGuardBytes; ++i) {
      if (base[sizes[o] + i] == kGuard) continue;
      result.code = MINIINFER_INTERNAL;
      result.reason = "the kernel wrote past output " + std::to_string(o) + " (or the workspace)";
    }
    if (o < raw.out_count) result.data.emplace_back(base, base + sizes[o]);
  }
  return result;
}

}  // namespace miniinfer::test
