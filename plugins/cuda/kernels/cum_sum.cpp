#include "plugins/cuda/kernels/cum_sum.hpp"

#include "miniinfer/abi/op/select.h"
#include "plugins/cuda/kernels/cum_sum_launch.hpp"
#include "plugins/cuda/kernels/rows.hpp"
#include "plugins/cuda/kernels/stream_kernel.hpp"

namespace miniinfer::cuda {
namespace {

class CumSumKernel final : public StreamKernel {
 public:
  explicit CumSumKernel(const sdk::Region& region)
      : StreamKernel("cum_sum"), in_(region.arg_in(0)), out_(region.arg_out(0)) {
    const auto attrs = region.attrs<miniinfer_cum_sum_attrs>();
    const AxisSplit split = split_at(region.in(0), attrs.axis);
    sum_ = {nullptr,     nullptr,      region.in(0).dtype, attrs.exclusive != 0, attrs.reverse != 0,
            split.outer, split.length, split.inner};
  }

 private:
  cudaError_t launch(const miniinfer_run& run, cudaStream_t stream) const override {
    CumSum sum = sum_;
    sum.in = operand(run, in_);
    sum.out = operand(run, out_);
    return launch_cum_sum(sum, stream);
  }

  CumSum sum_;
  int in_, out_;
};

void support(const Device&, const sdk::Region& region, sdk::Choices& choices) {
  const auto attrs = region.attrs<miniinfer_cum_sum_attrs>();
  const miniinfer_value& in = region.in(0);
  const miniinfer_value& out = region.out(0);
  if (region.node_count() != 1 || !is_numeric(in.dtype) || in.dtype == MINIINFER_BOOL ||
      in.dtype != out.dtype) {
    return choices.refuse(
        "cum_sum: %u nodes, %s to %s: one node and one type of numbers are served",
        region.node_count(), sdk::dtype_name(in.dtype), sdk::dtype_name(out.dtype));
  }
  if (attrs.axis < 0 || attrs.axis >= in.rank || !same_shape(in, out) || !is_dense(in) ||
      !is_dense(out)) {
    return choices.refuse("cum_sum: axis %d of %d: only row-major operands of one shape are served",
                          attrs.axis, in.rank);
  }
  const AxisSplit split = split_at(in, attrs.axis);
  if (split.inner == 1 && split.outer >= kMostRows) {
    return choices.refuse("cum_sum: 2^31 rows or more");
  }
  miniinfer_choice* choice = choices.add();
  if (choice == nullptr) return;
  choice->in_place = sdk::in_place_bit(0, 0);
  choice->flags = MINIINFER_CHOICE_DETERMINISTIC | MINIINFER_CHOICE_CAPTURABLE;
}

std::unique_ptr<sdk::Kernel> make(Device&, const sdk::Region& region, const miniinfer_choice&) {
  return std::make_unique<CumSumKernel>(region);
}

}  // namespace

const Family kCumSum = {MINIINFER_CUM_SUM, sizeof(miniinfer_cum_sum_attrs), support, make};

}  // namespace miniinfer::cuda
