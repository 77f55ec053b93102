// copy/1: a fill, then regions: as few launches as their units and number allow.

#include "plugins/cuda/kernels/copy.hpp"

#include <algorithm>
#include <vector>

#include "miniinfer/abi/op/copy.h"
#include "plugins/cuda/kernels/copy_plan.hpp"
#include "plugins/cuda/kernels/fill_launch.hpp"
#include "plugins/cuda/kernels/rows.hpp"
#include "plugins/cuda/kernels/stream_kernel.hpp"

namespace miniinfer::cuda {
namespace {

class Copy final : public StreamKernel {
 public:
  explicit Copy(const sdk::Region& region) : StreamKernel("copy") {
    const auto attrs = region.attrs<miniinfer_copy_attrs>();
    const miniinfer_value& out = region.out();
    const std::int64_t bytes = sdk::element_bytes(out.dtype);
    out_ = region.arg_out(0);
    for (std::uint32_t i = 0; i < region.in_count(); ++i) in_.push_back(region.arg_in(i));
    if (attrs.fill != 0) {
      fill_bytes_ = static_cast<std::uint64_t>(elements(out) * bytes);
      const std::uint64_t mask = bytes == 8 ? ~0ull : (1ull << (bytes * 8)) - 1;
      for (int at = 0; at < 64; at += static_cast<int>(bytes) * 8) {
        pattern_ |= (attrs.fill_bits & mask) << at;
      }
    }
    for (std::uint32_t i = 0; i < attrs.region_count; ++i) {
      const auto copy = sdk::read<miniinfer_copy_region>(attrs.regions[i]);
      append(wide_, plan_copy(copy, bytes));
      append(narrow_, plan_copy(copy, bytes, bytes));
    }
    by_unit(wide_);
  }

 private:
  static void append(std::vector<PlannedCopy>& all, const std::vector<PlannedCopy>& plans) {
    all.insert(all.end(), plans.begin(), plans.end());
  }
  static void by_unit(std::vector<PlannedCopy>& plans) {
    std::stable_sort(plans.begin(), plans.end(),
                     [](const PlannedCopy& a, const PlannedCopy& b) { return a.unit < b.unit; });
  }

  cudaError_t launch(const miniinfer_run& run, cudaStream_t stream) const override {
    auto* out = operand<std::byte>(run, out_);
    if (fill_bytes_ != 0) {
      const cudaError_t error = launch_fill(out, fill_bytes_, pattern_, stream);
      if (error != cudaSuccess) return error;
    }
    // Operands need not lie at multiples of what regions could be moved in.
    const bool aligned = std::all_of(wide_.begin(), wide_.end(), [&](const PlannedCopy& plan) {
      const auto mask = static_cast<std::uintptr_t>(plan.unit) - 1;
      const auto* in = operand<std::byte>(run, in_[plan.input]);
      return ((reinterpret_cast<std::uintptr_t>(in) | reinterpret_cast<std::uintptr_t>(out)) &
              mask) == 0;
    });
    CopyBatch batch;
    int unit = 0;
    for (const PlannedCopy& plan : aligned ? wide_ : narrow_) {
      CopyMove move = plan.move;
      move.src = operand<std::byte>(run, in_[plan.input]) + plan.src;
      move.dst = out + plan.dst;
      cudaError_t error = cudaSuccess;
      if (plan.transposed) {
        CopyTransposed turned = plan.turned;
        turned.outer = move;
        error = launch_transposed(turned, plan.unit, stream);
      } else {
        if (batch.count == CopyBatch::kMost || (batch.count > 0 && plan.unit != unit)) {
          error = launch_copy(batch, unit, stream);
          batch.count = 0;
        }
        unit = plan.unit;
        batch.moves[batch.count++] = move;
      }
      if (error != cudaSuccess) return error;
    }
    return batch.count > 0 ? launch_copy(batch, unit, stream) : cudaSuccess;
  }

  int out_;
  std::vector<int> in_;
  std::uint64_t fill_bytes_ = 0;
  std::uint64_t pattern_ = 0;
  std::vector<PlannedCopy> wide_;
  std::vector<PlannedCopy> narrow_;  // an element is a unit
};

void support(const Device&, const sdk::Region& region, sdk::Choices& choices) {
  if (region.node_count() != 1) {
    return choices.refuse("copy: %u nodes", region.node_count());
  }
  const auto attrs = region.attrs<miniinfer_copy_attrs>();
  const miniinfer_value& out = region.out();
  const std::int64_t bytes = sdk::element_bytes(out.dtype);
  if (bytes == 0) {
    return choices.refuse("copy: elements of %s share a byte", sdk::dtype_name(out.dtype));
  }
  if (bytes == 16 && attrs.fill != 0) {
    return choices.refuse("copy: a fill with %s", sdk::dtype_name(out.dtype));
  }
  if (!is_dense(out)) return choices.refuse("copy: the output has gaps");
  double moved = attrs.fill != 0 ? static_cast<double>(elements(out)) : 0;
  for (std::uint32_t i = 0; i < attrs.region_count; ++i) {
    const auto copy = sdk::read<miniinfer_copy_region>(attrs.regions[i]);
    if (copy.input >= region.in_count() || copy.rank < 0 || copy.rank > MINIINFER_MAX_RANK) {
      return choices.refuse("copy: region %u has input %u and rank %d", i, copy.input, copy.rank);
    }
    const miniinfer_value& in = region.in(copy.input);
    if (in.block > 1) return choices.refuse("copy: input %u lies in blocks", copy.input);
    if (sdk::element_bytes(in.dtype) != bytes) {
      return choices.refuse("copy: from %s to %s", sdk::dtype_name(in.dtype),
                            sdk::dtype_name(out.dtype));
    }
    if (!stays_inside(copy, copy.src_offset, copy.src_strides, extent(make_operand(in))) ||
        !stays_inside(copy, copy.dst_offset, copy.dst_strides, elements(out))) {
      return choices.refuse("copy: region %u reaches past its operand", i);
    }
    double units = 1;
    for (std::int32_t axis = 0; axis < copy.rank; ++axis) {
      units *= static_cast<double>(copy.dims[axis]);
    }
    moved += 2 * units;
  }
  miniinfer_choice* choice = choices.add();
  if (choice == nullptr) return;
  choice->cost_ns = static_cast<std::uint64_t>(2500 + moved * static_cast<double>(bytes) / 1500);
  choice->flags = MINIINFER_CHOICE_DETERMINISTIC | MINIINFER_CHOICE_CAPTURABLE;
}

std::unique_ptr<sdk::Kernel> make(Device&, const sdk::Region& region, const miniinfer_choice&) {
  return std::make_unique<Copy>(region);
}

}  // namespace

const Family kCopy = {MINIINFER_COPY, sizeof(miniinfer_copy_attrs), support, make};

}  // namespace miniinfer::cuda
