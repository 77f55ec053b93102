#pragma once

#include <array>
#include <memory>

#include "core/cpu/kernel.hpp"
#include "core/cpu/pointwise_loop.hpp"
#include "core/cpu/pointwise_program.hpp"

namespace miniinfer::cpu {

// The second node of a region [producer, pointwise]. The producer writes into the operand that
// target() names; each finished piece of it is then run through the program while it is in the
// cache. A lone producer has an epilogue that does nothing.
class Epilogue {
 public:
  // False, with choice.reason written, where the nodes after the first cannot follow it. Adds the
  // scratch of `workers` to the workspace.
  static bool support(const RegionView& region, std::uint32_t workers, miniinfer_choice& choice);

  // `takes_bias`: the producer can add a value for each place along axis 1 as it writes.
  explicit Epilogue(const RegionView& region, bool takes_bias = false);

  int target() const noexcept { return target_; }  // index into miniinfer_run.args
  // The whole program is a clamp that the producer can do as it writes, after it has added the
  // operand that bias() names, if any.
  bool is_clamp() const noexcept { return is_clamp_; }
  int bias() const noexcept { return bias_; }  // index into miniinfer_run.args, or -1
  float low() const noexcept { return low_; }
  float high() const noexcept { return high_; }
  bool has_loop() const noexcept { return loop_ != nullptr && !is_clamp_; }
  std::size_t scratch_bytes() const noexcept { return has_loop() ? loop_->scratch_bytes() : 0; }

  // What the loop needs for each run.
  struct Operands {
    std::array<const std::byte*, PointwiseProgram::kMaxInputs> inputs;
    std::array<std::byte*, PointwiseProgram::kMaxOutputs> outputs;
  };
  void bind(const miniinfer_run& run, Operands* operands) const noexcept;
  // Elements [begin, begin + count) of the producer's output are there.
  void apply(const Operands& operands, std::int64_t begin, std::int64_t count, std::byte* scratch,
             const miniinfer_run& run) const noexcept {
    loop_->run(begin, count, operands.inputs.data(), operands.outputs.data(), scratch, &run);
  }

 private:
  int target_ = -1;
  bool is_clamp_ = false;
  int bias_ = -1;
  float low_ = 0;
  float high_ = 0;
  std::unique_ptr<PointwiseLoop> loop_;
  std::array<int, PointwiseProgram::kMaxInputs> inputs_{};  // -1: the producer's output
  std::array<int, PointwiseProgram::kMaxOutputs> outputs_{};
};

}  // namespace miniinfer::cpu
