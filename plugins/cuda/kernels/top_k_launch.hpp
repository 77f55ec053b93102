#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace miniinfer::cuda {

// How an element's bits are compared.
struct KeyRule {
  enum Kind { kUnsigned, kSigned, kFloat };
  Kind kind;
  bool smallest;           // the smallest elements are wanted
  std::uint64_t infinity;  // a float type's bits of infinity
};

// Entries that are sorted in a block's shared memory, 32 KiB.
constexpr std::uint32_t top_k_block_entries(int element_bytes) {
  return element_bytes == 8 ? 2048 : 4096;
}

// Rows are [outer, length, inner]; a row's number is outer * inner + inner's position. `values` and
// `positions` may be null.
struct TopK {
  const void* in;
  void* values;
  std::int64_t* positions;
  std::int64_t rows;
  std::int64_t inner;
  std::uint32_t length;
  std::uint32_t k;
  int element_bytes;
  KeyRule rule;
};

// Rows no longer than top_k_block_entries: sorted whole.
cudaError_t launch_top_k_sort(const TopK& args, cudaStream_t stream);

// Longer rows and a k no larger than top_k_block_entries: the k-th element is found digit by digit,
// then what goes before it is collected and sorted.
cudaError_t launch_top_k_select(const TopK& args, cudaStream_t stream);

// Longer rows and any k: rows are sorted in `workspace`, which holds top_k_sort_room.
cudaError_t launch_top_k_sort_long(const TopK& args, void* workspace, cudaStream_t stream);

constexpr std::uint32_t top_k_padded(std::uint32_t length) {
  std::uint32_t padded = 2;
  while (padded < length) padded *= 2;
  return padded;
}

// Bytes of a row's entries.
constexpr std::uint64_t top_k_sort_bytes(const TopK& args) {
  return std::uint64_t{top_k_padded(args.length)} * (args.element_bytes == 8 ? 16 : 8);
}

// As many rows are sorted at once as take 64 MiB, but at least one.
constexpr std::int64_t top_k_rows_at_once(const TopK& args) {
  const auto fit = static_cast<std::int64_t>((std::uint64_t{64} << 20) / top_k_sort_bytes(args));
  const std::int64_t most = args.rows < 65535 ? args.rows : 65535;
  return fit < 1 ? 1 : fit < most ? fit : most;
}

constexpr std::uint64_t top_k_sort_room(const TopK& args) {
  return static_cast<std::uint64_t>(top_k_rows_at_once(args)) * top_k_sort_bytes(args);
}

}  // namespace miniinfer::cuda
