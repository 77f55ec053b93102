#pragma once

#include "miniinfer/abi/op/conv.h"
#include "miniinfer/sdk/reference/operation.hpp"

namespace miniinfer::fake {

// Throws UNSUPPORTED for a convolution of several groups, or over other than two spatial axes.
void refuse_wide_conv(const sdk::Region& region, std::uint32_t node);

// conv/1 in float32, through any strides; the rest is refused.
class Conv final : public sdk::reference::Operation {
 public:
  Conv(const sdk::Region& region, std::uint32_t node);
  void run(std::span<const std::byte* const> in, std::span<std::byte* const> out,
           const sdk::reference::FaultSink& fault) const override;

 private:
  miniinfer_conv_attrs attrs_;
  sdk::reference::Operand x_;
  sdk::reference::Operand w_;
  sdk::reference::Operand bias_;
  sdk::reference::Operand out_;
};

}  // namespace miniinfer::fake
