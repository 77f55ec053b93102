// pointwise/1 as a kernel of its own: a parallel loop around PointwiseLoop.

#include "miniinfer/abi/op/pointwise.h"

#include <array>
#include <cstdio>
#include <utility>
#include <vector>

#include "core/cpu/parallel.hpp"
#include "core/cpu/pointwise_loop.hpp"
#include "core/cpu/pointwise_program.hpp"
#include "core/cpu/rows.hpp"

namespace miniinfer::cpu {
namespace {

class Pointwise final : public Kernel {
 public:
  Pointwise(const RegionView& region, std::unique_ptr<PointwiseLoop> loop)
      : loop_(std::move(loop)), workers_(worker_count()) {
    for (std::uint32_t i = 0; i < loop_->input_count(); ++i) in_.push_back(region.arg_in(i));
    for (std::uint32_t o = 0; o < loop_->output_count(); ++o) out_.push_back(region.arg_out(o));
  }

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    std::array<const std::byte*, PointwiseProgram::kMaxInputs> inputs;
    std::array<std::byte*, PointwiseProgram::kMaxOutputs> outputs;
    for (std::size_t i = 0; i < in_.size(); ++i) inputs[i] = address(run.args[in_[i]]);
    for (std::size_t o = 0; o < out_.size(); ++o) outputs[o] = address(run.args[out_[o]]);
    std::byte* scratch = address(run.workspace);
    const std::size_t scratch_bytes = loop_->scratch_bytes();
    parallel(loop_->elements(), loop_->element_ns(), workers_,
             [&](std::int64_t begin, std::int64_t end, std::uint32_t worker) {
               loop_->run(begin, end - begin, inputs.data(), outputs.data(),
                          scratch + worker * scratch_bytes, &run);
             });
    return MINIINFER_OK;
  }

 private:
  std::unique_ptr<PointwiseLoop> loop_;
  std::uint32_t workers_;
  std::vector<int> in_;
  std::vector<int> out_;
};

bool may_share(const miniinfer_value& in, const miniinfer_value& out) {
  return in.dtype == out.dtype && same_shape(in, out) && is_row_major(in);
}

// Bits by place in region.in and region.out.
std::uint64_t in_place(const RegionView& region) {
  const miniinfer_region& raw = region.raw();
  std::uint64_t bits = 0;
  for (std::uint32_t o = 0; o < raw.out_count && o < 8; ++o) {
    for (std::uint32_t i = 0; i < raw.in_count && i < 8; ++i) {
      if (may_share(region.value(raw.in[i]), region.value(raw.out[o]))) {
        bits |= std::uint64_t{1} << (o * 8 + i);
      }
    }
  }
  return bits;
}

miniinfer_code support(const RegionView& region, miniinfer_choice& choice) {
  if (region.node_count() != 1) {
    std::snprintf(choice.reason, sizeof choice.reason,
                  "pointwise: %u nodes; programs are merged by the host", region.node_count());
    return MINIINFER_UNSUPPORTED;
  }
  const auto loop = PointwiseLoop::create(region, 0, choice.reason);
  if (loop == nullptr) return MINIINFER_UNSUPPORTED;
  choice.workspace_bytes = loop->scratch_bytes() * worker_count();
  choice.in_place = in_place(region);
  choice.cost_ns =
      static_cast<std::uint64_t>(100 + loop->element_ns() * static_cast<double>(loop->elements()));
  choice.flags = MINIINFER_CHOICE_DETERMINISTIC;
  return MINIINFER_OK;
}

std::unique_ptr<Kernel> create(const RegionView& region) {
  char reason[sizeof(miniinfer_choice::reason)];
  return std::make_unique<Pointwise>(region, PointwiseLoop::create(region, 0, reason));
}

}  // namespace

const Family kPointwise = {MINIINFER_POINTWISE, sizeof(miniinfer_pointwise_attrs), support, create};

}  // namespace miniinfer::cpu
