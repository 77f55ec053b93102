#include "plugins/cuda/kernels/non_zero.hpp"

#include "miniinfer/abi/op/select.h"
#include "plugins/cuda/kernels/non_zero_launch.hpp"
#include "plugins/cuda/kernels/rows.hpp"
#include "plugins/cuda/kernels/stream_kernel.hpp"

namespace miniinfer::cuda {
namespace {

class NonZeroKernel final : public StreamKernel {
 public:
  explicit NonZeroKernel(const sdk::Region& region)
      : StreamKernel("non_zero"),
        in_(region.arg_in(0)),
        out_(region.arg_out(0)),
        count_(arg_of_out(region, 1)) {
    const miniinfer_value& in = region.in(0);
    args_ = {};
    args_.elements = elements(in);
    args_.element_bytes = static_cast<int>(sdk::element_bytes(in.dtype));
    args_.mask = ~std::uint64_t{0};
    if (is_real_float(in.dtype)) {
      args_.mask = (std::uint64_t{1} << (8 * args_.element_bytes - 1)) - 1;
    }
    args_.rank = in.rank;
    std::ranges::copy(sdk::dims(in), args_.dims);
  }

 private:
  cudaError_t launch(const miniinfer_run& run, cudaStream_t stream) const override {
    return launch_non_zero(args_, operand(run, in_), operand<std::int64_t>(run, out_),
                           operand<std::int64_t>(run, count_), workspace<std::int64_t>(run),
                           stream);
  }

  NonZero args_;
  int in_, out_, count_;
};

void support(const Device&, const sdk::Region& region, sdk::Choices& choices) {
  const miniinfer_value& in = region.in(0);
  if (region.node_count() != 1 || !is_numeric(in.dtype) || region.out(0).dtype != MINIINFER_INT64 ||
      in.rank > kMaxRank) {
    return choices.refuse(
        "non_zero: %u nodes, %s, positions of %s: one node, numbers and int64 "
        "positions are served",
        region.node_count(), sdk::dtype_name(in.dtype), sdk::dtype_name(region.out(0).dtype));
  }
  const std::int64_t tiles = non_zero_tiles(elements(in));
  if (!is_dense(in) || tiles >= kMostRows) {
    return choices.refuse(
        "non_zero: only row-major operands of less than 2^42 elements are served");
  }
  miniinfer_choice* choice = choices.add();
  if (choice == nullptr) return;
  choice->workspace_bytes = static_cast<std::uint64_t>(tiles + 1) * sizeof(std::int64_t);
  choice->flags = MINIINFER_CHOICE_DETERMINISTIC | MINIINFER_CHOICE_CAPTURABLE;
}

std::unique_ptr<sdk::Kernel> make(Device&, const sdk::Region& region, const miniinfer_choice&) {
  return std::make_unique<NonZeroKernel>(region);
}

}  // namespace

const Family kNonZero = {MINIINFER_NON_ZERO, sizeof(miniinfer_non_zero_attrs), support, make};

}  // namespace miniinfer::cuda
