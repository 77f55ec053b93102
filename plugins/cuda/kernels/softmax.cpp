#include "plugins/cuda/kernels/softmax.hpp"

#include "miniinfer/abi/op/norm.h"
#include "plugins/cuda/kernels/rows.hpp"
#include "plugins/cuda/kernels/softmax_launch.hpp"
#include "plugins/cuda/kernels/stream_kernel.hpp"

namespace miniinfer::cuda {
namespace {

class SoftmaxKernel final : public StreamKernel {
 public:
  explicit SoftmaxKernel(const sdk::Region& region)
      : StreamKernel("softmax"), in_(region.arg_in(0)), out_(region.arg_out(0)) {
    const auto attrs = region.attrs<miniinfer_softmax_attrs>();
    const AxisSplit split = split_at(region.in(0), attrs.axis);
    softmax_ = {nullptr,     nullptr,      region.in(0).dtype, attrs.logarithm != 0,
                split.outer, split.length, split.inner};
  }

 private:
  cudaError_t launch(const miniinfer_run& run, cudaStream_t stream) const override {
    Softmax softmax = softmax_;
    softmax.in = operand(run, in_);
    softmax.out = operand(run, out_);
    return launch_softmax(softmax, stream);
  }

  Softmax softmax_;
  int in_, out_;
};

void support(const Device&, const sdk::Region& region, sdk::Choices& choices) {
  const auto attrs = region.attrs<miniinfer_softmax_attrs>();
  const miniinfer_value& in = region.in(0);
  const miniinfer_value& out = region.out(0);
  if (region.node_count() != 1 || !is_real_float(in.dtype) || in.dtype != out.dtype) {
    return choices.refuse("softmax: %u nodes, %s to %s: one node and one float type are served",
                          region.node_count(), sdk::dtype_name(in.dtype),
                          sdk::dtype_name(out.dtype));
  }
  if (attrs.axis < 0 || attrs.axis >= in.rank || !same_shape(in, out) || !is_dense(in) ||
      !is_dense(out) ||
      elements(in) / std::max<std::int64_t>(1, in.dims[attrs.axis]) >= kMostRows) {
    return choices.refuse(
        "softmax: axis %d of %d: only row-major operands of one shape and less "
        "than 2^31 rows are served",
        attrs.axis, in.rank);
  }
  miniinfer_choice* choice = choices.add();
  if (choice == nullptr) return;
  choice->in_place = sdk::in_place_bit(0, 0);
  choice->flags = MINIINFER_CHOICE_DETERMINISTIC | MINIINFER_CHOICE_CAPTURABLE;
}

std::unique_ptr<sdk::Kernel> make(Device&, const sdk::Region& region, const miniinfer_choice&) {
  return std::make_unique<SoftmaxKernel>(region);
}

}  // namespace

const Family kSoftmax = {MINIINFER_SOFTMAX, sizeof(miniinfer_softmax_attrs), support, make};

}  // namespace miniinfer::cuda
