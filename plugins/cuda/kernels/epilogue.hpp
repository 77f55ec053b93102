#pragma once

#include <cstdint>
#include <limits>
#include <optional>

#include "miniinfer/sdk/region.hpp"

namespace miniinfer::cuda {

// What follows a product or a convolution, where a library can do it as it writes:
// activation(x + bias + residual).
struct Epilogue {
  enum class Activation : std::uint8_t {
    kClip,     // to [low, high]; NaN stays NaN. The default clips nothing, {0, infinity} is ReLU
    kGeluTanh  // x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
  };

  int target = -1;    // where the producer writes: an index into miniinfer_run.args, as are all
  int bias = -1;      // one number for each index of the axis asked for; -1: none
  int residual = -1;  // of the output's shape; -1: none
  std::uint32_t residual_value = 0;  // index of its value in the region
  Activation activation = Activation::kClip;
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();

  bool clips() const {
    return activation == Activation::kClip && (low != -std::numeric_limits<double>::infinity() ||
                                               high != std::numeric_limits<double>::infinity());
  }
  bool is_relu() const {
    return activation == Activation::kClip && low == 0 &&
           high == std::numeric_limits<double>::infinity();
  }
  // The producer's plain result is what is wanted.
  bool is_plain() const {
    return bias < 0 && residual < 0 && activation == Activation::kClip && !clips();
  }
};

// Whether elements lie in the same places. Strides of axes of size 1 are never used.
bool same_layout(const miniinfer_value& a, const miniinfer_value& b);

// What a producer can do as it writes, beside a residual and a clip.
struct EpilogueAbilities {
  std::int32_t bias_axis = -1;  // of the output, along which a bias may differ; -1: no bias
  bool gelu = false;            // the tanh form
};

// Reads a region of a producer and at most one pointwise node; nothing where what follows is
// something else.
std::optional<Epilogue> recognise_epilogue(const sdk::Region& region,
                                           const EpilogueAbilities& abilities);

}  // namespace miniinfer::cuda
