#pragma once

// Runs kernels of the built-in backend by hand: a region, a family, and the bases of its operands.
//
//   RegionBuilder builder;                     // tests/sdk/region_builder.hpp
//   auto x = builder.input(MINIINFER_FLOAT32, {2, 3});
//   auto y = builder.output(MINIINFER_FLOAT32, {2, 3});
//   builder.node(MINIINFER_POINTWISE, &attrs, {x}, {y});
//   Outputs out = run_family(cpu::kPointwise, builder, {bytes(data)});

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "core/cpu/kernel.hpp"
#include "tests/sdk/region_builder.hpp"

namespace miniinfer::test {

struct Outputs {
  miniinfer_code code = MINIINFER_OK;
  std::string reason;                        // where support said no
  std::vector<std::vector<std::byte>> data;  // of each output, row-major
  miniinfer_fault fault{};
  miniinfer_choice choice{};

  template <class T>
  std::vector<T> as(std::size_t output = 0) const {
    std::vector<T> values(data[output].size() / sizeof(T));
    if (values.empty()) return values;
    std::memcpy(values.data(), data[output].data(), values.size() * sizeof(T));
    return values;
  }
};

inline std::uint32_t bits_of(miniinfer_dtype dtype) {
  if (dtype == MINIINFER_UINT2 || dtype == MINIINFER_INT2) return 2;
  const std::uint32_t bytes = sdk::element_bytes(dtype);
  return bytes == 0 ? 4 : bytes * 8;
}

inline miniinfer_mem mem(const void* address) {
  return {reinterpret_cast<std::uint64_t>(address), 0};
}

// What lies past an output and past the workspace, so that a kernel that writes there is seen.
inline constexpr std::size_t kGuardBytes = 64;
inline constexpr std::byte kGuard{0xA5};

// Support, create, pack and run once. Outputs are allocated by their dims and begin as 0xA5.
inline Outputs run_family(const cpu::Family& family, RegionBuilder& builder,
                          const std::vector<std::byte*>& inputs) {
  Outputs result;
  const miniinfer_region& region = builder.region();
  const cpu::RegionView view(region);
  result.choice.head = MINIINFER_HEAD(miniinfer_choice);
  result.code = family.support(view, result.choice);
  result.reason = result.choice.reason;
  if (result.code != MINIINFER_OK) return result;

  const std::unique_ptr<cpu::Kernel> kernel = family.create(view);
  std::vector<miniinfer_mem> args;
  std::vector<std::vector<std::byte>> packs;
  for (std::uint32_t i = 0; i < region.in_count; ++i) {
    args.push_back(mem(inputs[i]));
    if ((region.values[region.in[i]]->flags & MINIINFER_VALUE_CONSTANT) == 0) continue;
    miniinfer_packed packed{};
    packed.head = MINIINFER_HEAD(miniinfer_packed);
    result.code = kernel->packed(i, packed);
    if (result.code != MINIINFER_OK) return result;
    if (packed.bytes == 0) continue;
    auto& block = packs.emplace_back(packed.bytes + 64);
    auto* base = reinterpret_cast<std::byte*>(
        (reinterpret_cast<std::uintptr_t>(block.data()) + 63) & ~std::uintptr_t{63});
    result.code = kernel->pack(i, inputs[i], base);
    if (result.code != MINIINFER_OK) return result;
    args.back() = mem(base);
  }
  std::vector<std::size_t> sizes;
  for (std::uint32_t o = 0; o < region.out_count; ++o) {
    const miniinfer_value& value = *region.values[region.out[o]];
    const std::uint32_t bits = bits_of(value.dtype);
    sizes.push_back((static_cast<std::size_t>(cpu::element_count(value)) * bits + 7) / 8);
    result.data.emplace_back(sizes.back() + kGuardBytes, kGuard);
    args.push_back(mem(result.data.back().data()));
  }
  std::vector<std::byte> workspace(result.choice.workspace_bytes + 64 + kGuardBytes, kGuard);
  auto* base = reinterpret_cast<std::byte*>(
      (reinterpret_cast<std::uintptr_t>(workspace.data()) + 63) & ~std::uintptr_t{63});
  miniinfer_run run{};
  run.head = MINIINFER_HEAD(miniinfer_run);
  run.args = args.data();
  run.workspace = mem(base);
  run.fault = mem(&result.fault);
  run.step = 7;
  result.code = kernel->run(run);
  const auto guarded = [](const std::byte* end) {
    for (std::size_t i = 0; i < kGuardBytes; ++i) {
      if (end[i] != kGuard) return false;
    }
    return true;
  };
  if (!guarded(base + result.choice.workspace_bytes)) {
    result.code = MINIINFER_INTERNAL;
    result.reason = "the kernel wrote past its workspace";
  }
  for (std::size_t o = 0; o < sizes.size(); ++o) {
    if (!guarded(result.data[o].data() + sizes[o])) {
      result.code = MINIINFER_INTERNAL;
      result.reason = "the kernel wrote past output " + std::to_string(o);
    }
    result.data[o].resize(sizes[o]);
  }
  return result;
}

}  // namespace miniinfer::test
