#include "core/cpu/epilogue.hpp"

#include <algorithm>
#include <cstdio>
#include <string_view>

#include "core/cpu/parallel.hpp"
#include "core/cpu/rows.hpp"
#include "miniinfer/abi/op/pointwise.h"

namespace miniinfer::cpu {
namespace {

// Where the producer may write: its own output, or an output of the program that looks the same and
// shares no memory with what the program still reads.
int find_target(const RegionView& region) {
  const int own = region.arg_out(0);
  if (own >= 0 || region.node_count() == 1) return own;
  const miniinfer_value& produced = region.out(0);
  for (std::uint32_t o = 0; o < region.node(1).out_count; ++o) {
    const miniinfer_value& out = region.out(o, 1);
    if (out.dtype == produced.dtype && element_count(out) == element_count(produced) &&
        is_row_major(out) && region.arg_out(o, 1) >= 0) {
      return region.arg_out(o, 1);
    }
  }
  return -1;
}

// Whether the pointwise node's input `own` is the producer's output, and the other is one float32
// for each place along axis 1 of it.
bool is_bias(const RegionView& region, std::uint32_t own) {
  const std::uint32_t* in = region.node(1).in;
  const std::uint32_t out = region.node(0).out[0];
  if (in[own] != out || in[1 - own] == out) return false;
  const miniinfer_value& produced = region.out(0);
  const miniinfer_value& added = region.in(1 - own, 1);
  return added.dtype == MINIINFER_FLOAT32 && is_row_major(added) && produced.rank > 1 &&
         added.rank == produced.rank && added.dims[1] == produced.dims[1] &&
         element_count(added) == added.dims[1];
}

bool refuse(miniinfer_choice& choice, const char* why) {
  std::snprintf(choice.reason, sizeof choice.reason, "%s", why);
  return false;
}

}  // namespace

bool Epilogue::support(const RegionView& region, std::uint32_t workers, miniinfer_choice& choice) {
  if (region.node_count() == 1) return true;
  if (region.node_count() > 2 || std::string_view(region.node(1).op) != MINIINFER_POINTWISE) {
    return refuse(choice, "only one pointwise node may follow in the region");
  }
  const miniinfer_value& produced = region.out(0);
  if (!is_row_major(produced) || produced.dtype != MINIINFER_FLOAT32) {
    return refuse(choice, "a pointwise node may follow only row-major float32");
  }
  if (find_target(region) < 0) {
    return refuse(choice, "no output of the pointwise node has the producer's type and shape");
  }
  const std::unique_ptr<PointwiseLoop> loop = PointwiseLoop::create(region, 1, choice.reason);
  if (loop == nullptr) return false;
  if (loop->elements() != element_count(produced)) {
    return refuse(choice, "the pointwise node's output is larger than the producer's");
  }
  choice.workspace_bytes += workers * align64(loop->scratch_bytes());
  return true;
}

Epilogue::Epilogue(const RegionView& region, bool takes_bias) : target_(find_target(region)) {
  if (region.node_count() == 1) return;
  char reason[192];
  loop_ = PointwiseLoop::create(region, 1, reason);
  const miniinfer_node& node = region.node(1);
  // A producer whose own output is also asked for must not clamp it.
  if (region.arg_out(0) < 0 && node.out_count == 1 && loop_->is_clamp(&low_, &high_)) {
    const std::uint32_t own = node.in[0] == region.node(0).out[0] ? 0 : 1;
    is_clamp_ = node.in_count == 1 ? own == 0 : takes_bias && is_bias(region, own);
    if (is_clamp_ && node.in_count == 2) bias_ = region.arg_in(1 - own, 1);
  }
  for (std::uint32_t i = 0; i < node.in_count; ++i) inputs_[i] = region.arg_in(i, 1);
  for (std::uint32_t o = 0; o < node.out_count; ++o) outputs_[o] = region.arg_out(o, 1);
  for (std::uint32_t i = 0; i < node.in_count; ++i) {
    if (node.in[i] == region.node(0).out[0]) inputs_[i] = target_;
  }
}

void Epilogue::bind(const miniinfer_run& run, Operands* operands) const noexcept {
  for (std::uint32_t i = 0; i < loop_->input_count(); ++i) {
    operands->inputs[i] = address(run.args[inputs_[i]]);
  }
  for (std::uint32_t o = 0; o < loop_->output_count(); ++o) {
    operands->outputs[o] = address(run.args[outputs_[o]]);
  }
}

}  // namespace miniinfer::cpu
