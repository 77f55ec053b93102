#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/cpu/kernel.hpp"

namespace miniinfer::cpu {

// A pointwise program ready to run over any range of its output, row-major. The kernel of a lone
// pointwise node is a parallel loop around it; conv, contract and reduce run it over each piece of
// output they have just computed, while that is in the cache (the epilogue).
//
// Immutable; run() may be called on several threads at once with a scratch of its own each.
class PointwiseLoop {
 public:
  // Null, with `reason` (of 192 bytes) written, where an opcode or type is not served.
  static std::unique_ptr<PointwiseLoop> create(const RegionView& region, std::uint32_t node,
                                               char* reason);
  ~PointwiseLoop();

  std::int64_t elements() const noexcept;      // of the output
  std::size_t scratch_bytes() const noexcept;  // for one worker, aligned to 64
  double element_ns() const noexcept;          // estimate, on one core
  std::uint32_t input_count() const noexcept;
  std::uint32_t output_count() const noexcept;
  // True where the program is nothing but a clip of input 0, or of the sum of its two inputs, to
  // [low, high], for producers that do it as they write.
  bool is_clamp(float* low, float* high) const noexcept;

  // Computes output elements [begin, begin + count). inputs[i] and outputs[o] are the bases of the
  // whole operands. An output may share memory with an input of the same shape and type.
  // Faults are reported through `run`, which may be null.
  void run(std::int64_t begin, std::int64_t count, const std::byte* const* inputs,
           std::byte* const* outputs, std::byte* scratch, const miniinfer_run* run) const noexcept;

 private:
  struct Impl;
  explicit PointwiseLoop(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace miniinfer::cpu
