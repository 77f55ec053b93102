#include "plugins/cuda/kernels/top_k.hpp"

#include <limits>

#include "miniinfer/abi/op/select.h"
#include "plugins/cuda/kernels/rows.hpp"
#include "plugins/cuda/kernels/stream_kernel.hpp"
#include "plugins/cuda/kernels/top_k_launch.hpp"

namespace miniinfer::cuda {
namespace {

// How the rows are ordered; the choice's algorithm.
enum Way : std::uint32_t { kSort, kSelect, kSortLong };

KeyRule rule_of(miniinfer_dtype dtype, bool largest) {
  switch (dtype) {
    case MINIINFER_FLOAT32:
      return {KeyRule::kFloat, !largest, 0x7f800000u};
    case MINIINFER_FLOAT64:
      return {KeyRule::kFloat, !largest, 0x7ff0000000000000u};
    case MINIINFER_FLOAT16:
      return {KeyRule::kFloat, !largest, 0x7c00u};
    case MINIINFER_BFLOAT16:
      return {KeyRule::kFloat, !largest, 0x7f80u};
    case MINIINFER_INT8:
    case MINIINFER_INT16:
    case MINIINFER_INT32:
    case MINIINFER_INT64:
      return {KeyRule::kSigned, !largest, 0};
    default:
      return {KeyRule::kUnsigned, !largest, 0};
  }
}

TopK describe(const sdk::Region& region) {
  const auto attrs = region.attrs<miniinfer_top_k_attrs>();
  const miniinfer_value& in = region.in(0);
  const AxisSplit split = split_at(in, attrs.axis);
  TopK top{};
  top.rows = split.outer * split.inner;
  top.inner = split.inner;
  top.length = static_cast<std::uint32_t>(split.length);
  top.k = static_cast<std::uint32_t>(region.out(0).dims[attrs.axis]);
  top.element_bytes = static_cast<int>(sdk::element_bytes(in.dtype));
  top.rule = rule_of(in.dtype, attrs.largest != 0);
  return top;
}

class TopKKernel final : public StreamKernel {
 public:
  TopKKernel(const sdk::Region& region, std::uint32_t way)
      : StreamKernel("top_k"),
        top_(describe(region)),
        way_(way),
        in_(region.arg_in(0)),
        values_(arg_of_out(region, 0)),
        positions_(arg_of_out(region, 1)) {}

 private:
  cudaError_t launch(const miniinfer_run& run, cudaStream_t stream) const override {
    if (top_.rows == 0 || top_.k == 0) return cudaSuccess;
    TopK top = top_;
    top.in = operand(run, in_);
    top.values = operand(run, values_);
    top.positions = operand<std::int64_t>(run, positions_);
    if (way_ == kSort) return launch_top_k_sort(top, stream);
    if (way_ == kSelect) return launch_top_k_select(top, stream);
    return launch_top_k_sort_long(top, workspace(run), stream);
  }

  TopK top_;
  std::uint32_t way_;
  int in_, values_, positions_;
};

void support(const Device&, const sdk::Region& region, sdk::Choices& choices) {
  const auto attrs = region.attrs<miniinfer_top_k_attrs>();
  const miniinfer_value& in = region.in(0);
  const miniinfer_value& out = region.out(0);
  if (region.node_count() != 1 || !is_numeric(in.dtype) || out.dtype != in.dtype) {
    return choices.refuse("top_k: %u nodes, %s to %s: one node and one numeric type are served",
                          region.node_count(), sdk::dtype_name(in.dtype),
                          sdk::dtype_name(out.dtype));
  }
  if (attrs.axis < 0 || attrs.axis >= in.rank || out.rank != in.rank ||
      out.dims[attrs.axis] > in.dims[attrs.axis] ||
      in.dims[attrs.axis] > std::numeric_limits<std::int32_t>::max()) {
    return choices.refuse(
        "top_k: axis %d of %d: a k no larger than the axis, and an axis of less "
        "than 2^31 elements are served",
        attrs.axis, in.rank);
  }
  if (!is_dense(in) || !is_dense(out) || (has_out(region, 1) && !is_dense(region.out(1)))) {
    return choices.refuse("top_k: only row-major operands are served");
  }
  const TopK top = describe(region);
  const std::uint32_t room = top_k_block_entries(top.element_bytes);
  miniinfer_choice* choice = choices.add();
  if (choice == nullptr) return;
  choice->algorithm = top.length <= room ? kSort : top.k <= room ? kSelect : kSortLong;
  if (choice->algorithm == kSortLong && top.rows > 0) {
    choice->workspace_bytes = top_k_sort_room(top);
  }
  choice->flags = MINIINFER_CHOICE_DETERMINISTIC | MINIINFER_CHOICE_CAPTURABLE;
}

std::unique_ptr<sdk::Kernel> make(Device&, const sdk::Region& region,
                                  const miniinfer_choice& choice) {
  return std::make_unique<TopKKernel>(region, choice.algorithm);
}

}  // namespace

const Family kTopK = {MINIINFER_TOP_K, sizeof(miniinfer_top_k_attrs), support, make};

}  // namespace miniinfer::cuda
