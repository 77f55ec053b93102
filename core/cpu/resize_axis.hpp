#pragma once

#include <cstdint>
#include <vector>

#include "miniinfer/abi/op/resize.h"

namespace miniinfer::cpu {

// How the outputs along one axis are made: output i is the sum over t of weight[i * taps + t] times
// the input at index[i * taps + t].
struct ResizeAxis {
  std::int64_t in = 1;
  std::int64_t out = 1;
  std::int64_t taps = 1;
  bool is_identity = true;
  std::vector<std::int32_t> index;
  std::vector<double> weight;
  std::vector<std::uint8_t> outside;  // TF_CROP_AND_RESIZE: 1 where the value is `extrapolation`
};

// May throw std::bad_alloc.
ResizeAxis make_resize_axis(const miniinfer_resize_attrs& attrs, int axis, std::int64_t in,
                            std::int64_t out);

}  // namespace miniinfer::cpu
