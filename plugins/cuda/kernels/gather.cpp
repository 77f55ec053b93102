#include "plugins/cuda/kernels/gather.hpp"

#include "plugins/cuda/kernels/gather_launch.hpp"
#include "plugins/cuda/kernels/rows.hpp"
#include "plugins/cuda/kernels/stream_kernel.hpp"

namespace miniinfer::cuda {
namespace {

class GatherKernel final : public StreamKernel {
 public:
  explicit GatherKernel(const sdk::Region& region)
      : StreamKernel("gather"),
        element_bytes_(sdk::element_bytes(region.in(0).dtype)),
        data_(region.arg_in(0)),
        indices_(region.arg_in(1)),
        out_(region.arg_out(0)) {
    const auto attrs = region.attrs<miniinfer_gather_attrs>();
    walk_ = make_gather_walk(region.in(0), region.in(1), attrs.mode, attrs.axis, attrs.batch_dims);
  }

 private:
  cudaError_t launch(const miniinfer_run& run, cudaStream_t stream) const override {
    return launch_gather(walk_, element_bytes_, operand(run, data_), operand(run, indices_),
                         operand(run, out_), {fault(run), run.step}, stream);
  }

  GatherWalk walk_;
  std::int64_t element_bytes_;
  int data_, indices_, out_;
};

void support(const Device&, const sdk::Region& region, sdk::Choices& choices) {
  const auto attrs = region.attrs<miniinfer_gather_attrs>();
  const miniinfer_value& data = region.in(0);
  const miniinfer_value& indices = region.in(1);
  const miniinfer_value& out = region.out(0);
  if (region.node_count() != 1 || sdk::element_bytes(data.dtype) == 0 || out.dtype != data.dtype) {
    return choices.refuse(
        "gather: %u nodes, %s to %s: one node and one type of whole bytes are "
        "served",
        region.node_count(), sdk::dtype_name(data.dtype), sdk::dtype_name(out.dtype));
  }
  if (indices.dtype != MINIINFER_INT32 && indices.dtype != MINIINFER_INT64) {
    return choices.refuse("gather: indices of %s: int32 and int64 are served",
                          sdk::dtype_name(indices.dtype));
  }
  if (attrs.mode < 0 || attrs.mode > MINIINFER_GATHER_ND) {
    return choices.refuse("gather: mode %d is not known", attrs.mode);
  }
  if (!is_dense(data) || !is_dense(indices) || !is_dense(out)) {
    return choices.refuse("gather: only row-major operands are served");
  }
  miniinfer_choice* choice = choices.add();
  if (choice == nullptr) return;
  choice->flags = MINIINFER_CHOICE_DETERMINISTIC | MINIINFER_CHOICE_CAPTURABLE;
}

std::unique_ptr<sdk::Kernel> make(Device&, const sdk::Region& region, const miniinfer_choice&) {
  return std::make_unique<GatherKernel>(region);
}

}  // namespace

const Family kGather = {MINIINFER_GATHER, sizeof(miniinfer_gather_attrs), support, make};

}  // namespace miniinfer::cuda
