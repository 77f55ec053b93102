#include "plugins/fake/conv.hpp"

#include <array>
#include <vector>

#include "miniinfer/sdk/reference/number.hpp"

namespace miniinfer::fake {

namespace reference = sdk::reference;

Conv::Conv(const sdk::Region& region, std::uint32_t node)
    : attrs_(region.attrs<miniinfer_conv_attrs>(node)),
      x_(reference::make_operand(region.in(0, node))),
      w_(reference::make_operand(region.in(1, node))),
      out_(reference::make_operand(region.out(0, node))) {
  bias_.absent = true;
  if (region.in_count(node) > 2) bias_ = reference::make_operand(region.in(2, node));
  if (attrs_.group != 1) {
    sdk::fail(MINIINFER_UNSUPPORTED, "group %d: only 1 is implemented", attrs_.group);
  }
  if (attrs_.spatial_rank != 2 || x_.rank() != 4 || w_.rank() != 4 || out_.rank() != 4) {
    sdk::fail(MINIINFER_UNSUPPORTED, "%d spatial axes: only 2 are implemented",
              attrs_.spatial_rank);
  }
  for (const reference::Operand* operand : {&x_, &w_, &out_, &bias_}) {
    if (operand->absent || operand->dtype == MINIINFER_FLOAT32) continue;
    sdk::fail(MINIINFER_UNSUPPORTED, "conv of %s: only float32 is implemented",
              sdk::dtype_name(operand->dtype));
  }
  const bool fits = x_.dims[0] == out_.dims[0] && x_.dims[1] == w_.dims[1] &&
                    w_.dims[0] == out_.dims[1] &&
                    (bias_.absent || bias_.dims == std::vector<std::int64_t>{out_.dims[1]});
  if (!fits) sdk::fail(MINIINFER_INVALID_ARGUMENT, "conv of shapes that do not fit");
}

void Conv::run(std::span<const std::byte* const> in, std::span<std::byte* const> out,
               const reference::FaultSink&) const {
  reference::for_each_index(out_.dims, [&](reference::Index o) {
    double sum = 0;
    if (!bias_.absent) sum = reference::load<float>(in[2] + bias_.offset(o.subspan(1, 1)));
    for (std::int64_t c = 0; c < w_.dims[1]; ++c) {
      for (std::int64_t i = 0; i < w_.dims[2]; ++i) {
        for (std::int64_t j = 0; j < w_.dims[3]; ++j) {
          const std::array<std::int64_t, 4> x = {
              o[0], c, o[2] * attrs_.stride[0] + i * attrs_.dilation[0] - attrs_.pad_begin[0],
              o[3] * attrs_.stride[1] + j * attrs_.dilation[1] - attrs_.pad_begin[1]};
          if (x[2] < 0 || x[2] >= x_.dims[2] || x[3] < 0 || x[3] >= x_.dims[3]) continue;
          const std::array<std::int64_t, 4> w = {o[1], c, i, j};
          sum += static_cast<double>(reference::load<float>(in[0] + x_.offset(x))) *
                 static_cast<double>(reference::load<float>(in[1] + w_.offset(w)));
        }
      }
    }
    reference::store<float>(out[0] + out_.offset(o), static_cast<float>(sum));
  });
}

}  // namespace miniinfer::fake
