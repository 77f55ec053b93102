#pragma once

// Comparing tensors, and looking at elements of any type.

#include <cstdint>
#include <vector>

#include "miniinfer/tensor.hpp"

namespace miniinfer {

// The elements of any real type, 16-, 8- and 4-bit ones included, as doubles; from any device.
// UNSUPPORTED for strings and complex types. 64-bit integers beyond 2^53 lose their last digits.
MINIINFER_API Result<std::vector<double>> to_doubles(const Tensor& tensor);

struct Comparison {
  bool equal = false;           // every element within the tolerance
  double max_abs_error = 0;     // over elements finite in both
  double max_rel_error = 0;     // |got - want| / |want| where want is not 0
  std::uint64_t different = 0;  // elements outside the tolerance
  std::uint64_t worst = 0;      // index of the first one outside, or of the largest error
};

// |got - want| <= atol + rtol * |want| for each element; NaN equals NaN, an infinity only itself;
// strings and integers compare exactly where both tolerances are 0. INVALID_ARGUMENT, naming both,
// where type or shape differ.
MINIINFER_API Result<Comparison> compare(const Tensor& got, const Tensor& want, double rtol,
                                         double atol);

}  // namespace miniinfer
