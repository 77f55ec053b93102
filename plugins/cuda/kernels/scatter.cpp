#include "plugins/cuda/kernels/scatter.hpp"

#include "plugins/cuda/kernels/rows.hpp"
#include "plugins/cuda/kernels/scatter_launch.hpp"
#include "plugins/cuda/kernels/stream_kernel.hpp"

namespace miniinfer::cuda {
namespace {

enum Way : std::uint32_t { kSet, kAtomic, kLines };  // the choice's algorithm

// Lines are worth it where they keep many threads busy, or none of them is long.
constexpr std::int64_t kManyLines = 8192;
constexpr std::int64_t kShortLine = 64;

ScatterLines make_lines(const sdk::Region& region, const GatherWalk& walk) {
  const auto attrs = region.attrs<miniinfer_scatter_attrs>();
  if (attrs.mode == MINIINFER_GATHER_ND) return {walk.run, walk.positions, walk.run};
  const AxisSplit split = split_at(region.in(1), attrs.axis);
  return {split.outer * split.inner, split.length, split.inner};
}

Scatter describe(const sdk::Region& region) {
  const auto attrs = region.attrs<miniinfer_scatter_attrs>();
  const miniinfer_value& data = region.in(0);
  Scatter scatter{};
  scatter.walk = make_gather_walk(data, region.in(1), attrs.mode, attrs.axis, 0);
  scatter.lines = make_lines(region, scatter.walk);
  scatter.dtype = data.dtype;
  scatter.element_bytes = sdk::element_bytes(data.dtype);
  scatter.combine = attrs.combine;
  return scatter;
}

Way way_of(const Scatter& scatter) {
  if (scatter.combine == MINIINFER_SCATTER_SET) return kSet;
  const bool by_order = is_real_float(scatter.dtype) && (scatter.combine == MINIINFER_SCATTER_ADD ||
                                                         scatter.combine == MINIINFER_SCATTER_MUL);
  const ScatterLines& lines = scatter.lines;
  return by_order && (lines.count >= kManyLines || lines.length <= kShortLine) ? kLines : kAtomic;
}

class ScatterKernel final : public StreamKernel {
 public:
  ScatterKernel(const sdk::Region& region, std::uint32_t way)
      : StreamKernel("scatter"),
        scatter_(describe(region)),
        way_(way),
        bytes_(static_cast<std::uint64_t>(elements(region.in(0)) * scatter_.element_bytes)),
        data_(region.arg_in(0)),
        indices_(region.arg_in(1)),
        updates_(region.arg_in(2)),
        out_(region.arg_out(0)) {}

 private:
  cudaError_t launch(const miniinfer_run& run, cudaStream_t stream) const override {
    if (bytes_ == 0) return cudaSuccess;
    const void* data = operand(run, data_);
    void* out = operand(run, out_);
    if (data != out) {
      const cudaError_t error =
          cudaMemcpyAsync(out, data, bytes_, cudaMemcpyDeviceToDevice, stream);
      if (error != cudaSuccess) return error;
    }
    const auto put = way_ == kSet      ? launch_scatter_set
                     : way_ == kAtomic ? launch_scatter_atomic
                                       : launch_scatter_lines;
    return put(scatter_, operand(run, indices_), operand(run, updates_), out,
               {fault(run), run.step}, stream);
  }

  Scatter scatter_;
  std::uint32_t way_;
  std::uint64_t bytes_;
  int data_, indices_, updates_, out_;
};

void support(const Device&, const sdk::Region& region, sdk::Choices& choices) {
  const auto attrs = region.attrs<miniinfer_scatter_attrs>();
  const miniinfer_value& data = region.in(0);
  const miniinfer_value& indices = region.in(1);
  const miniinfer_value& out = region.out(0);
  if (region.node_count() != 1 || sdk::element_bytes(data.dtype) == 0 || out.dtype != data.dtype ||
      region.in(2).dtype != data.dtype) {
    return choices.refuse(
        "scatter: %u nodes, %s into %s: one node and one type of whole bytes are "
        "served",
        region.node_count(), sdk::dtype_name(region.in(2).dtype), sdk::dtype_name(data.dtype));
  }
  if (indices.dtype != MINIINFER_INT32 && indices.dtype != MINIINFER_INT64) {
    return choices.refuse("scatter: indices of %s: int32 and int64 are served",
                          sdk::dtype_name(indices.dtype));
  }
  if ((attrs.mode != MINIINFER_GATHER_ELEMENTS && attrs.mode != MINIINFER_GATHER_ND) ||
      attrs.combine < 0 || attrs.combine > MINIINFER_SCATTER_MIN) {
    return choices.refuse("scatter: mode %d combining by %d is not known", attrs.mode,
                          attrs.combine);
  }
  if (attrs.combine != MINIINFER_SCATTER_SET &&
      (!is_numeric(data.dtype) || data.dtype == MINIINFER_BOOL)) {
    return choices.refuse("scatter: elements of %s are put, not combined",
                          sdk::dtype_name(data.dtype));
  }
  if (!is_dense(data) || !is_dense(indices) || !is_dense(region.in(2)) || !is_dense(out)) {
    return choices.refuse("scatter: only row-major operands are served");
  }
  const Scatter scatter = describe(region);
  miniinfer_choice* choice = choices.add();
  if (choice == nullptr) return;
  choice->algorithm = way_of(scatter);
  choice->in_place = sdk::in_place_bit(0, 0);
  choice->flags = MINIINFER_CHOICE_CAPTURABLE;
  // Sums and products of floats depend on their order; of equal indices of SET any may win.
  const bool by_order = choice->algorithm == kAtomic && is_real_float(data.dtype) &&
                        attrs.combine <= MINIINFER_SCATTER_MUL;
  if (choice->algorithm != kSet && !by_order) choice->flags |= MINIINFER_CHOICE_DETERMINISTIC;
}

std::unique_ptr<sdk::Kernel> make(Device&, const sdk::Region& region,
                                  const miniinfer_choice& choice) {
  return std::make_unique<ScatterKernel>(region, choice.algorithm);
}

}  // namespace

const Family kScatter = {MINIINFER_SCATTER, sizeof(miniinfer_scatter_attrs), support, make};

}  // namespace miniinfer::cuda
