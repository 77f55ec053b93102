#pragma once

// The geometry of reduce/1: which input positions an output element combines.

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/cpu/kernel.hpp"
#include "miniinfer/abi/op/reduce.h"

namespace miniinfer::cpu {

struct ReduceAxis {
  enum Role : std::uint8_t {
    Kept,    // output o is input o
    Whole,   // one output, all of the input
    Window,  // anything else
  };
  Role role;
  std::int64_t in;
  std::int64_t out;
  std::int64_t window;
  std::int64_t stride;
  std::int64_t dilation;
  std::int64_t pad_begin;
  std::int64_t pad_end;
  std::int64_t step;  // elements from one input position to the next

  struct Range {
    std::int64_t begin;
    std::int64_t end;
  };
  static std::int64_t ceil_div(std::int64_t a, std::int64_t b) {  // b > 0
    return a >= 0 ? (a + b - 1) / b : -(-a / b);
  }
  // Window positions k of output `o` that lie in input positions [-before, in + after).
  Range inside(std::int64_t o, std::int64_t before = 0, std::int64_t after = 0) const {
    const std::int64_t start = o * stride - pad_begin;
    const std::int64_t begin =
        std::clamp<std::int64_t>(ceil_div(-before - start, dilation), 0, window);
    const std::int64_t end =
        std::clamp<std::int64_t>(ceil_div(in + after - start, dilation), begin, window);
    return {begin, end};
  }
  // Outputs whose window position k lies inside the input.
  Range outputs(std::int64_t k) const {
    const std::int64_t shift = pad_begin - k * dilation;
    const std::int64_t begin = std::clamp<std::int64_t>(ceil_div(shift, stride), 0, out);
    const std::int64_t end = std::clamp<std::int64_t>(ceil_div(in + shift, stride), begin, out);
    return {begin, end};
  }
  std::int64_t counted(std::int64_t o, bool count_pad) const {
    const Range r = count_pad ? inside(o, pad_begin, pad_end) : inside(o);
    return r.end - r.begin;
  }
};

// Axes merged where neighbours have the same role. The last one is the inner axis; there is always
// one.
struct ReduceShape {
  int outer = 0;
  std::array<ReduceAxis, MINIINFER_MAX_RANK> axes;  // `outer` of them, then the inner one

  const ReduceAxis& inner() const { return axes[static_cast<std::size_t>(outer)]; }
  std::int64_t outer_outputs() const {
    std::int64_t n = 1;
    for (int i = 0; i < outer; ++i) n *= axes[static_cast<std::size_t>(i)].out;
    return n;
  }
  // Window positions over the outer axes, at most.
  std::int64_t outer_positions() const {
    std::int64_t n = 1;
    for (int i = 0; i < outer; ++i) n *= axes[static_cast<std::size_t>(i)].window;
    return n;
  }
};

inline ReduceShape make_reduce_shape(const miniinfer_reduce_attrs& attrs, const miniinfer_value& in,
                                     const miniinfer_value& out) {
  ReduceShape shape;
  int count = 0;
  std::int64_t step = element_count(in);
  for (int i = 0; i < in.rank; ++i) {
    ReduceAxis axis{ReduceAxis::Window, in.dims[i],       out.dims[i],
                    attrs.window[i],    attrs.stride[i],  attrs.dilation[i],
                    attrs.pad_begin[i], attrs.pad_end[i], 0};
    step = axis.in > 0 ? step / axis.in : 0;
    axis.step = step;
    if (axis.window == 1 && axis.stride == 1 && axis.pad_begin == 0 && axis.in == axis.out) {
      axis.role = ReduceAxis::Kept;
      if (axis.in == 1) continue;
    } else if (axis.window == axis.in && axis.out == 1 && axis.pad_begin == 0 &&
               axis.dilation == 1) {
      axis.role = ReduceAxis::Whole;
      axis.stride = 1;
      axis.pad_end = 0;
    }
    if (count > 0 && axis.role != ReduceAxis::Window &&
        shape.axes[static_cast<std::size_t>(count - 1)].role == axis.role) {
      ReduceAxis& last = shape.axes[static_cast<std::size_t>(count - 1)];
      last.in *= axis.in;
      last.out *= axis.out;
      last.window *= axis.window;
      last.step = axis.step;
      continue;
    }
    shape.axes[static_cast<std::size_t>(count++)] = axis;
  }
  if (count == 0)
    shape.axes[static_cast<std::size_t>(count++)] = {ReduceAxis::Kept, 1, 1, 1, 1, 1, 0, 0, 1};
  shape.outer = count - 1;
  return shape;
}

// One output's place along the outer axes, and a walk over the window positions there.
class ReduceWalk {
 public:
  ReduceWalk(const ReduceShape& shape, std::int64_t output, bool count_pad) : shape_(shape) {
    for (int i = shape.outer - 1; i >= 0; --i) {
      const ReduceAxis& axis = shape.axes[static_cast<std::size_t>(i)];
      const std::int64_t o = output % axis.out;
      output /= axis.out;
      const ReduceAxis::Range r = axis.inside(o);
      range_[static_cast<std::size_t>(i)] = r;
      origin_[static_cast<std::size_t>(i)] = o * axis.stride - axis.pad_begin;
      empty_ = empty_ || r.begin == r.end;
      counted_ *= axis.counted(o, count_pad);
    }
  }

  std::int64_t counted() const { return counted_; }

  // Calls f(offset): elements from the input's base to position 0 of the inner axis.
  template <class F>
  void each(const F& f) const {
    if (empty_) return;
    std::array<std::int64_t, MINIINFER_MAX_RANK> k{};
    std::int64_t offset = 0;
    for (int i = 0; i < shape_.outer; ++i) {
      const auto a = static_cast<std::size_t>(i);
      k[a] = range_[a].begin;
      offset += (origin_[a] + k[a] * shape_.axes[a].dilation) * shape_.axes[a].step;
    }
    for (;;) {
      f(offset);
      int i = shape_.outer - 1;
      for (; i >= 0; --i) {
        const auto a = static_cast<std::size_t>(i);
        const std::int64_t step = shape_.axes[a].dilation * shape_.axes[a].step;
        offset += step;
        if (++k[a] < range_[a].end) break;
        offset -= (range_[a].end - range_[a].begin) * step;
        k[a] = range_[a].begin;
      }
      if (i < 0) return;
    }
  }

 private:
  const ReduceShape& shape_;
  std::array<ReduceAxis::Range, MINIINFER_MAX_RANK> range_;
  std::array<std::int64_t, MINIINFER_MAX_RANK> origin_;
  std::int64_t counted_ = 1;
  bool empty_ = false;
};

// Kernels that also give positions: ARGMAX, ARGMIN, and MAX with a second output.
std::unique_ptr<Kernel> make_reduce_index(const RegionView& region);

// Windows of float32 over up to three axes: scratch of a worker, 0 where they are not served.
std::uint64_t pool_scratch_bytes(const RegionView& region);
std::unique_ptr<Kernel> make_pool(const RegionView& region);

// For all reductions: columns of the inner axis that are combined at one time.
inline constexpr std::int64_t kReduceColumns = 512;
inline constexpr std::size_t kReduceScratchBytes = 4 * kReduceColumns * 8;  // of a worker

}  // namespace miniinfer::cpu
