// contract/1. Float products are cuBLASLt's, with the bias, residual and activation that it knows;
// integers have a kernel of ours.

#include "plugins/cuda/kernels/contract.hpp"

#include <algorithm>
#include <limits>

#include "plugins/cuda/kernels/contract_launch.hpp"
#include "plugins/cuda/kernels/contract_lt.hpp"
#include "plugins/cuda/kernels/lt_product.hpp"
#include "plugins/cuda/kernels/rows.hpp"
#include "plugins/cuda/kernels/stream_kernel.hpp"

namespace miniinfer::cuda {
namespace {

// What a product of this many operations takes on a recent GPU, beside what any launch takes.
constexpr double kFlopsPerNs = 30000;
constexpr std::uint64_t kLaunchNs = 3000;

class ContractInteger final : public StreamKernel {
 public:
  explicit ContractInteger(const sdk::Region& region)
      : StreamKernel("contract"),
        a_(region.arg_in(0)),
        b_(region.arg_in(1)),
        out_(region.arg_out(0)) {
    const ContractStrides s = contract_strides(region);
    args_.m = s.m;
    args_.n = s.n;
    args_.k = s.k;
    args_.a_row = s.a_row;
    args_.a_column = s.a_column;
    args_.b_row = s.b_row;
    args_.b_column = s.b_column;
    args_.out_row = s.out_row;
    args_.out_column = s.out_column;
    args_.batches = s.batch.count();
    args_.axes = s.batch.rank;
    std::copy_n(s.batch.dims, s.batch.rank, args_.dims);
    std::copy_n(s.batch.strides[0], s.batch.rank, args_.a_batch);
    std::copy_n(s.batch.strides[1], s.batch.rank, args_.b_batch);
    std::copy_n(s.batch.strides[2], s.batch.rank, args_.out_batch);
    args_.element_bytes = static_cast<int>(sdk::element_bytes(region.out(0).dtype));
  }

 private:
  cudaError_t launch(const miniinfer_run& run, cudaStream_t stream) const override {
    IntegerContract args = args_;
    args.a = operand(run, a_);
    args.b = operand(run, b_);
    args.out = operand(run, out_);
    return launch_contract_integer(args, stream);
  }

  IntegerContract args_{};
  int a_, b_, out_;
};

bool shapes_fit(const sdk::Region& region) {
  const miniinfer_value& a = region.in(0);
  const miniinfer_value& b = region.in(1);
  const miniinfer_value& out = region.out(0);
  if (out.rank < 2 || out.rank > kMaxRank || a.rank != out.rank || b.rank != out.rank) return false;
  const auto attrs = region.attrs<miniinfer_contract_attrs>();
  const int row = out.rank - 2, column = out.rank - 1;
  const int a_row = attrs.transpose_a != 0 ? column : row, a_column = row + column - a_row;
  const int b_row = attrs.transpose_b != 0 ? column : row, b_column = row + column - b_row;
  bool fit = a.dims[a_row] == out.dims[row] && b.dims[b_column] == out.dims[column] &&
             a.dims[a_column] == b.dims[b_row];
  for (int axis = 0; axis < row; ++axis) {
    for (const miniinfer_value* operand : {&a, &b}) {
      fit = fit && (operand->dims[axis] == out.dims[axis] || operand->dims[axis] == 1);
    }
  }
  return fit && a.block <= 1 && b.block <= 1 && out.block <= 1;
}

void support(const Device& device, const sdk::Region& region, sdk::Choices& choices) {
  const miniinfer_value& a = region.in(0);
  const miniinfer_value& b = region.in(1);
  const miniinfer_value& out = region.out(0);
  if (!shapes_fit(region)) {
    return choices.refuse(
        "contract of ranks %d and %d to %d: operands of one rank from 2 to %d "
        "whose axes fit are served",
        a.rank, b.rank, out.rank, kMaxRank);
  }
  const bool is_float = is_real_float(out.dtype);
  if (!is_numeric(out.dtype) || out.dtype == MINIINFER_BOOL || a.dtype != out.dtype ||
      b.dtype != out.dtype) {
    return choices.refuse("contract of %s and %s to %s: one numeric type is served",
                          sdk::dtype_name(a.dtype), sdk::dtype_name(b.dtype),
                          sdk::dtype_name(out.dtype));
  }
  const auto follower = read_follower(region, {.bias_axis = out.rank - 1, .gelu = true});
  if (!follower || (!is_float && region.node_count() > 1)) {
    return choices.refuse("contract: what follows does not go with it in one kernel");
  }
  const ContractStrides strides = contract_strides(region);
  std::uint64_t workspace = 0;
  std::uint64_t in_place = 0;
  std::int64_t launches = 1;
  if (is_float) {
    const auto calls = contract_calls(strides);
    if (!calls || (region.node_count() > 1 && !is_dense(out))) {
      return choices.refuse(
          "contract: matrices whose rows or columns are contiguous are served, and a row-major "
          "output where something follows");
    }
    launches = calls->outer.count();
    if (strides.k == 0 && follower->epilogue.residual >= 0) {
      return choices.refuse("contract: an empty sum with something added is not served as one");
    }
    if (calls->batch > std::numeric_limits<std::int32_t>::max()) {
      return choices.refuse("contract: %lld products: fewer than 2^31 are served",
                            static_cast<long long>(calls->batch));
    }
    device.libraries().cublas_lt();  // throws the reason where it is missing
    if (elements(out) > 0 && strides.k > 0) workspace = LtProduct::workspace_bytes(*calls);
    if (follower->epilogue.residual >= 0) {
      in_place = sdk::in_place_bit(0, static_cast<std::uint32_t>(follower->epilogue.residual));
    }
  }
  miniinfer_choice* choice = choices.add();
  if (choice == nullptr) return;
  const double flops = 2.0 * static_cast<double>(elements(out)) * static_cast<double>(strides.k);
  choice->cost_ns = kLaunchNs * static_cast<std::uint64_t>(std::max<std::int64_t>(launches, 1)) +
                    static_cast<std::uint64_t>(flops / kFlopsPerNs);
  choice->workspace_bytes = workspace;
  choice->in_place = in_place;
  choice->flags = MINIINFER_CHOICE_DETERMINISTIC | MINIINFER_CHOICE_CAPTURABLE;
}

std::unique_ptr<sdk::Kernel> make(Device& device, const sdk::Region& region,
                                  const miniinfer_choice&) {
  if (!is_real_float(region.out(0).dtype)) return std::make_unique<ContractInteger>(region);
  const auto calls = contract_calls(contract_strides(region));
  const auto follower = read_follower(region, {.bias_axis = region.out(0).rank - 1, .gelu = true});
  if (!calls || !follower) sdk::fail(MINIINFER_INTERNAL, "contract: the region has changed");
  return make_contract_lt(device, region, *calls, *follower);
}

}  // namespace

const Family kContract = {MINIINFER_CONTRACT, sizeof(miniinfer_contract_attrs), support, make};

}  // namespace miniinfer::cuda
