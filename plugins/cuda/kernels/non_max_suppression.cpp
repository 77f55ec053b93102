#include "plugins/cuda/kernels/non_max_suppression.hpp"

#include <cmath>

#include "miniinfer/abi/op/select.h"
#include "plugins/cuda/kernels/non_max_suppression_launch.hpp"
#include "plugins/cuda/kernels/rows.hpp"
#include "plugins/cuda/kernels/stream_kernel.hpp"
#include "plugins/cuda/kernels/top_k_launch.hpp"

namespace miniinfer::cuda {
namespace {

constexpr std::uint64_t kMostScratch = std::uint64_t{1} << 30;

NonMaxSuppression describe(const sdk::Region& region) {
  const auto attrs = region.attrs<miniinfer_non_max_suppression_attrs>();
  const miniinfer_value& scores = region.in(1);
  NonMaxSuppression args{};
  args.batches = scores.dims[0];
  args.classes = scores.dims[1];
  args.boxes = scores.dims[2];
  args.room = region.out(0).dims[0];
  args.max_per_class = attrs.max_per_class;
  args.iou_threshold = attrs.iou_threshold;
  args.score_threshold = attrs.score_threshold;
  args.any_score = std::isinf(attrs.score_threshold) && attrs.score_threshold < 0;
  args.center_point = attrs.center_point != 0;
  return args;
}

// Each row's scores, sorted whole.
TopK sorting(const NonMaxSuppression& args) {
  TopK top{};
  top.rows = args.rows();
  top.inner = 1;
  top.length = top.k = static_cast<std::uint32_t>(args.boxes);
  top.element_bytes = sizeof(float);
  top.rule = {KeyRule::kFloat, false, 0x7f800000u};
  return top;
}

// Where the parts of the workspace begin.
struct Layout {
  explicit Layout(const NonMaxSuppression& args) {
    const auto rows = static_cast<std::uint64_t>(args.rows());
    const std::uint64_t boxes = rows * static_cast<std::uint64_t>(args.boxes);
    order = boxes * sizeof(float4);
    counts = order + boxes * sizeof(std::int64_t);
    sort = (counts + (rows + 1) * sizeof(std::int64_t) + 63) / 64 * 64;
    is_long = args.boxes > top_k_block_entries(sizeof(float));
    bytes = sort + (is_long ? top_k_sort_room(sorting(args)) : 0);
  }
  std::uint64_t order, counts, sort, bytes;  // corners are first
  bool is_long;
};

class NonMaxSuppressionKernel final : public StreamKernel {
 public:
  explicit NonMaxSuppressionKernel(const sdk::Region& region)
      : StreamKernel("non_max_suppression"),
        args_(describe(region)),
        layout_(args_),
        boxes_(region.arg_in(0)),
        scores_(region.arg_in(1)),
        out_(region.arg_out(0)),
        count_(arg_of_out(region, 1)) {}

 private:
  cudaError_t launch(const miniinfer_run& run, cudaStream_t stream) const override {
    auto* base = workspace<std::byte>(run);
    const NonMaxScratch scratch = {reinterpret_cast<std::int64_t*>(base + layout_.order),
                                   reinterpret_cast<float4*>(base),
                                   reinterpret_cast<std::int64_t*>(base + layout_.counts)};
    if (args_.rows() > 0 && args_.boxes > 0) {
      TopK top = sorting(args_);
      top.in = operand(run, scores_);
      top.positions = scratch.order;
      const cudaError_t error = layout_.is_long
                                    ? launch_top_k_sort_long(top, base + layout_.sort, stream)
                                    : launch_top_k_sort(top, stream);
      if (error != cudaSuccess) return error;
    }
    return launch_non_max_suppression(
        args_, operand<float>(run, boxes_), operand<float>(run, scores_), scratch,
        operand<std::int64_t>(run, out_), operand<std::int64_t>(run, count_), stream);
  }

  NonMaxSuppression args_;
  Layout layout_;
  int boxes_, scores_, out_, count_;
};

void support(const Device&, const sdk::Region& region, sdk::Choices& choices) {
  const miniinfer_value& boxes = region.in(0);
  const miniinfer_value& scores = region.in(1);
  if (region.node_count() != 1 || boxes.dtype != MINIINFER_FLOAT32 ||
      scores.dtype != MINIINFER_FLOAT32 || region.out(0).dtype != MINIINFER_INT64) {
    return choices.refuse(
        "non_max_suppression: %u nodes, boxes of %s, scores of %s: one node and "
        "float32 are served",
        region.node_count(), sdk::dtype_name(boxes.dtype), sdk::dtype_name(scores.dtype));
  }
  if (boxes.rank != 3 || scores.rank != 3 || !is_dense(boxes) || !is_dense(scores)) {
    return choices.refuse(
        "non_max_suppression: ranks %d and %d: only row-major operands of rank 3 "
        "are served",
        boxes.rank, scores.rank);
  }
  const NonMaxSuppression args = describe(region);
  if (args.boxes > kMostBoxes || args.rows() >= kMostRows ||
      static_cast<std::uint64_t>(args.rows()) * static_cast<std::uint64_t>(args.boxes) *
              (sizeof(float4) + sizeof(std::int64_t)) >
          kMostScratch) {
    return choices.refuse(
        "non_max_suppression: %lld boxes in %lld classes and batches need more "
        "than 1 GiB of scratch, or are more than %lld",
        static_cast<long long>(args.boxes), static_cast<long long>(args.rows()),
        static_cast<long long>(kMostBoxes));
  }
  miniinfer_choice* choice = choices.add();
  if (choice == nullptr) return;
  choice->workspace_bytes = Layout(args).bytes;
  choice->flags = MINIINFER_CHOICE_DETERMINISTIC | MINIINFER_CHOICE_CAPTURABLE;
}

std::unique_ptr<sdk::Kernel> make(Device&, const sdk::Region& region, const miniinfer_choice&) {
  return std::make_unique<NonMaxSuppressionKernel>(region);
}

}  // namespace

const Family kNonMaxSuppression = {MINIINFER_NON_MAX_SUPPRESSION,
                                   sizeof(miniinfer_non_max_suppression_attrs), support, make};

}  // namespace miniinfer::cuda
