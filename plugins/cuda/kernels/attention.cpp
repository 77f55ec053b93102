// attention/1 by kernels of our own, where they are expected to be faster than its parts.

#include "plugins/cuda/kernels/attention.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "miniinfer/abi/op/attention.h"
#include "plugins/cuda/device.hpp"
#include "plugins/cuda/kernels/attention_launch.hpp"
#include "plugins/cuda/kernels/rows.hpp"
#include "plugins/cuda/kernels/stream_kernel.hpp"

namespace miniinfer::cuda {
namespace {

constexpr std::uint32_t kQ = 0, kK = 1, kV = 2, kMask = 3;

enum class Way { Mma, Float };

// Tensor cores round float32 to tf32, which strict arithmetic does not allow.
Way way_of(const Device& device, const sdk::Region& region) {
  const bool tf32 = (region.node().math & MINIINFER_MATH_TF32) != 0 &&
                    device.properties().compute_capability >= 80;
  return region.in(kQ).dtype != MINIINFER_FLOAT32 || tf32 ? Way::Mma : Way::Float;
}

class AttentionKernel final : public StreamKernel {
 public:
  AttentionKernel(const sdk::Region& region, Way way) : StreamKernel("attention"), way_(way) {
    const auto attrs = region.attrs<miniinfer_attention_attrs>();
    const miniinfer_value& q = region.in(kQ);
    const miniinfer_value& k = region.in(kK);
    for (const std::uint32_t i : {kQ, kK, kV}) args_of_[i] = region.arg_in(i);
    args_of_[kMask] = has_in(region, kMask) ? region.arg_in(kMask) : -1;
    out_ = region.arg_out(0);
    args_.q = steps(q);
    args_.k = steps(k);
    args_.v = steps(region.in(kV));
    args_.y = steps(region.out());
    if (args_of_[kMask] >= 0) {
      const miniinfer_value& mask = region.in(kMask);
      std::int64_t* const to[] = {&args_.mask_batch, &args_.mask_head, &args_.mask_row,
                                  &args_.mask_column};
      for (int axis = 0; axis < 4; ++axis) {
        *to[axis] = mask.dims[axis] == 1 ? 0 : mask.strides[axis];
      }
    }
    args_.batch = static_cast<int>(q.dims[0]);
    args_.heads = static_cast<int>(q.dims[1]);
    args_.heads_per_group = static_cast<int>(q.dims[1] / k.dims[1]);
    args_.queries = static_cast<int>(q.dims[2]);
    args_.keys = static_cast<int>(k.dims[2]);
    args_.depth = static_cast<int>(q.dims[3]);
    args_.width = static_cast<int>(region.in(kV).dims[3]);
    args_.scale = attrs.scale;
    args_.nan_to_zero = (attrs.flags & MINIINFER_ATTENTION_NAN_TO_ZERO) != 0;
    // Far enough either way that sums with it do not overflow.
    constexpr std::int64_t kFar = std::int64_t{1} << 40;
    args_.past = (attrs.flags & MINIINFER_ATTENTION_CAUSAL) == 0
                     ? kFar
                     : std::clamp(attrs.past, -kFar, kFar);
    args_.dtype = q.dtype;
  }

 private:
  static AttentionOperand steps(const miniinfer_value& value) {
    AttentionOperand operand{};
    std::int64_t* const to[] = {&operand.batch, &operand.head, &operand.row};
    for (int axis = 0; axis < 3; ++axis) {
      *to[axis] = value.dims[axis] == 1 ? 0 : value.strides[axis];
    }
    return operand;
  }

  cudaError_t launch(const miniinfer_run& run, cudaStream_t stream) const override {
    Attention args = args_;
    const auto place = [&](AttentionOperand& at, int arg, int columns) {
      at.at = operand(run, arg);
      const std::int64_t pack = 16 / static_cast<std::int64_t>(sdk::element_bytes(args.dtype));
      at.wide = reinterpret_cast<std::uintptr_t>(at.at) % 16 == 0 && columns % pack == 0 &&
                at.batch % pack == 0 && at.head % pack == 0 && at.row % pack == 0;
    };
    place(args.q, args_of_[kQ], args.depth);
    place(args.k, args_of_[kK], args.depth);
    place(args.v, args_of_[kV], args.width);
    place(args.y, out_, args.width);
    args.mask = operand(run, args_of_[kMask]);
    return way_ == Way::Mma ? launch_attention_mma(args, stream)
                            : launch_attention_float(args, stream);
  }

  Attention args_{};
  Way way_;
  int args_of_[4];
  int out_;
};

bool shapes_fit(const sdk::Region& region) {
  const miniinfer_value& q = region.in(kQ);
  const miniinfer_value& k = region.in(kK);
  const miniinfer_value& v = region.in(kV);
  const miniinfer_value& y = region.out();
  for (const miniinfer_value* value : {&q, &k, &v, &y}) {
    if (value->rank != 4 || value->block > 1 || elements(*value) == 0) return false;
  }
  bool fit = k.dims[0] == q.dims[0] && v.dims[0] == q.dims[0] && y.dims[0] == q.dims[0] &&
             q.dims[1] % k.dims[1] == 0 && v.dims[1] == k.dims[1] && y.dims[1] == q.dims[1] &&
             v.dims[2] == k.dims[2] && y.dims[2] == q.dims[2] && k.dims[3] == q.dims[3] &&
             y.dims[3] == v.dims[3];
  if (!has_in(region, kMask)) return fit;
  const miniinfer_value& mask = region.in(kMask);
  const std::int64_t scores[] = {q.dims[0], q.dims[1], q.dims[2], k.dims[2]};
  fit = fit && mask.rank == 4 && mask.block <= 1 && mask.dtype == q.dtype;
  for (int axis = 0; axis < 4 && fit; ++axis) {
    fit = mask.dims[axis] == 1 || mask.dims[axis] == scores[axis];
  }
  return fit;
}

bool columns_are_contiguous(const miniinfer_value& value) {
  return value.dims[3] == 1 || value.strides[3] == 1;
}

// Estimates in nanoseconds, after an H100. In parts there are three launches, and the scores go to
// memory and back twice.
struct Cost {
  double fused, parts;

  Cost(const sdk::Region& region, Way way) {
    const miniinfer_value& q = region.in(kQ);
    const double heads = static_cast<double>(q.dims[0] * q.dims[1]);
    const double queries = static_cast<double>(q.dims[2]);
    const double keys = static_cast<double>(region.in(kK).dims[2]);
    const double columns = static_cast<double>(q.dims[3] + region.in(kV).dims[3]);
    const double bytes = sdk::element_bytes(q.dtype);
    const double products = 2.0 * heads * queries * keys * columns;
    const bool exact = way == Way::Float;
    const double own_rate = exact ? 25e3 : bytes == 2 ? 250e3 : 100e3;  // operations
    const double library_rate = exact ? 45e3 : bytes == 2 ? 450e3 : 200e3;
    constexpr double kMemoryRate = 2500;  // bytes
    const double operands = bytes * heads * (queries + keys) * columns / kMemoryRate;
    // A block walks over all keys of its queries: 16 at least, on one of so many multiprocessors.
    constexpr double kMultiprocessors = 132;
    const double blocks = heads * std::ceil(queries / 16);
    const double walk = keys * columns * (exact ? 0.12 : 0.03);
    const double waves = std::max(1.0, blocks / (8 * kMultiprocessors));
    fused = 3000 + std::max({products / own_rate, operands, walk * waves});
    parts = 9000 + products / library_rate + (4 * bytes * heads * queries * keys) / kMemoryRate +
            operands;
  }
};

void support(const Device& device, const sdk::Region& region, sdk::Choices& choices) {
  const miniinfer_value& q = region.in(kQ);
  const bool served =
      q.dtype == MINIINFER_FLOAT32 || q.dtype == MINIINFER_FLOAT16 ||
      (q.dtype == MINIINFER_BFLOAT16 && device.properties().compute_capability >= 80);
  bool one_type = true;
  for (const miniinfer_value* value : {&region.in(kK), &region.in(kV), &region.out()}) {
    one_type = one_type && value->dtype == q.dtype;
  }
  if (region.node_count() != 1 || !served || !one_type) {
    return choices.refuse(
        "attention of %s: float32, float16 and, from compute capability 8.0 on, "
        "bfloat16 are served, alone",
        sdk::dtype_name(q.dtype));
  }
  if (!shapes_fit(region)) return choices.refuse("attention of shapes that do not fit");
  for (const miniinfer_value* value : {&q, &region.in(kK), &region.in(kV), &region.out()}) {
    if (columns_are_contiguous(*value)) continue;
    return choices.refuse("attention of operands whose last axis is not contiguous");
  }
  const std::int64_t depth = std::max(q.dims[3], region.in(kV).dims[3]);
  if (depth > kMostDepth) {
    return choices.refuse("attention of heads of %lld: at most %d", static_cast<long long>(depth),
                          kMostDepth);
  }
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  if (q.dims[2] >= kMost || region.in(kK).dims[2] >= kMost ||
      q.dims[0] * q.dims[1] >= kMost / ((q.dims[2] + 15) / 16)) {
    return choices.refuse("attention of %lld heads, %lld queries and %lld keys: too many",
                          static_cast<long long>(q.dims[0] * q.dims[1]),
                          static_cast<long long>(q.dims[2]),
                          static_cast<long long>(region.in(kK).dims[2]));
  }
  const Way way = way_of(device, region);
  const Cost cost(region, way);
  if (cost.fused > cost.parts) {
    return choices.refuse(
        "attention of %lld queries and %lld keys would take %.0f us in one "
        "kernel, %.0f in parts",
        static_cast<long long>(q.dims[2]), static_cast<long long>(region.in(kK).dims[2]),
        cost.fused / 1000, cost.parts / 1000);
  }
  miniinfer_choice* choice = choices.add();
  if (choice == nullptr) return;
  choice->cost_ns = static_cast<std::uint64_t>(cost.fused);
  choice->flags = MINIINFER_CHOICE_DETERMINISTIC | MINIINFER_CHOICE_CAPTURABLE;
}

std::unique_ptr<sdk::Kernel> make(Device& device, const sdk::Region& region,
                                  const miniinfer_choice&) {
  return std::make_unique<AttentionKernel>(region, way_of(device, region));
}

}  // namespace

const Family kAttention = {MINIINFER_ATTENTION, sizeof(miniinfer_attention_attrs), support, make};

}  // namespace miniinfer::cuda
