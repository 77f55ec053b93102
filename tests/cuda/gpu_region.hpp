#pragma once

// Regions on a GPU.

#include <cstdint>
#include <utility>
#include <vector>

#include "tests/cpu/region_builder.hpp"
#include "tests/cuda/gpu_device.hpp"

namespace miniinfer::test {

// Support, create and enqueue twice into outputs that begin as NaN. `shift` bytes are put before
// each operand. The reason of a refusal or failure is in the result.
inline Outputs run_on_gpu(GpuDevice& gpu, RegionBuilder& builder,
                          const std::vector<std::vector<std::byte>>& inputs,
                          std::size_t shift = 0) {
  Outputs result;
  const miniinfer_region& region = builder.region();
  result.choice.head = MINIINFER_HEAD(miniinfer_choice);
  miniinfer_choice* choices[] = {&result.choice};
  std::uint32_t count = 1;
  result.code = gpu.op->support(gpu.device, &region, choices, &count);
  result.reason = result.choice.reason;
  const auto holds = [&](miniinfer_code code) {
    if (code != MINIINFER_OK && result.code == MINIINFER_OK) {
      result.code = code;
      result.reason = gpu.error();
    }
    return result.code == MINIINFER_OK;
  };
  miniinfer_kernel* kernel = nullptr;
  if (result.code != MINIINFER_OK ||
      !holds(gpu.op->create(gpu.device, &region, &result.choice, &kernel))) {
    return result;
  }
  miniinfer_stream* stream = gpu.make_stream();
  std::vector<std::pair<miniinfer_mem, std::uint64_t>> blocks;
  const auto block = [&](std::uint64_t bytes) {
    blocks.emplace_back(gpu.alloc(bytes, 256), bytes);
    return blocks.back().first;
  };
  std::vector<miniinfer_mem> args;
  for (const auto& input : inputs) {
    args.push_back(block(input.size() + shift + 1));
    args.back().offset += shift;
    holds(gpu.upload(stream, args.back(), input));
  }
  for (std::uint32_t o = 0; o < region.out_count; ++o) {
    const miniinfer_value& value = *region.values[region.out[o]];
    const std::size_t bytes = static_cast<std::size_t>(sdk::element_count(sdk::dims(value))) *
                              sdk::element_bytes(value.dtype);
    result.data.emplace_back(bytes);
    args.push_back(block(bytes + shift + 1));
    holds(gpu.stream->fill(stream, args.back(), bytes + shift + 1, 0xFF, 1));
    args.back().offset += shift;
  }
  miniinfer_run run{};
  run.head = MINIINFER_HEAD(miniinfer_run);
  run.args = args.data();
  run.workspace = block(result.choice.workspace_bytes + 64);
  for (int i = 0; i < 2; ++i) holds(gpu.op->enqueue(kernel, stream, &run));
  for (std::size_t o = 0; o < result.data.size(); ++o) {
    holds(gpu.download(stream, result.data[o], args[inputs.size() + o]));
  }
  holds(gpu.stream->sync(stream));
  for (const auto& [at, bytes] : blocks) gpu.free(at, bytes);
  gpu.op->destroy(kernel);
  gpu.stream->destroy(stream);
  return result;
}

}  // namespace miniinfer::test
