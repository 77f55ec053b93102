#include "plugins/fake/conv.hpp"

#include <vector>

#include "miniinfer/sdk/reference/number.hpp"

namespace miniinfer::fake {

namespace reference = sdk::reference;

void refuse_wide_conv(const sdk::Region& region, std::uint32_t node) {
  const auto attrs = region.attrs<miniinfer_conv_attrs>(node);
  if (attrs.group != 1) {
    sdk::fail(MINIINFER_UNSUPPORTED, "group %d: only 1 is implemented", attrs.group);
  }
  if (attrs.spatial_rank != 2) {
    sdk::fail(MINIINFER_UNSUPPORTED, "%d spatial axes: only 2 are implemented", attrs.spatial_rank);
  }
}

Conv::Conv(const sdk::Region& region, std::uint32_t node)
    : attrs_(region.attrs<miniinfer_conv_attrs>(node)),
      x_(reference::make_operand(region.in(0, node))),
      w_(reference::make_operand(region.in(1, node))),
      out_(reference::make_operand(region.out(0, node))) {
  bias_.absent = true;
  if (region.in_count(node) > 2) bias_ = reference::make_operand(region.in(2, node));
  for (const reference::Operand* operand : {&x_, &w_, &out_, &bias_}) {
    if (operand->absent || operand->dtype == MINIINFER_FLOAT32) continue;
    sdk::fail(MINIINFER_UNSUPPORTED, "conv of %s: only float32 is implemented",
              sdk::dtype_name(operand->dtype));
  }
  const auto rank = static_cast<std::size_t>(attrs_.spatial_rank) + 2;
  const bool fits = attrs_.spatial_rank >= 1 && attrs_.spatial_rank <= MINIINFER_MAX_SPATIAL &&
                    attrs_.group >= 1 && x_.dims.size() == rank && w_.dims.size() == rank &&
                    out_.dims.size() == rank && x_.dims[0] == out_.dims[0] &&
                    x_.dims[1] == w_.dims[1] * attrs_.group && w_.dims[0] == out_.dims[1] &&
                    w_.dims[0] % attrs_.group == 0 &&
                    (bias_.absent || bias_.dims == std::vector<std::int64_t>{out_.dims[1]});
  if (!fits) sdk::fail(MINIINFER_INVALID_ARGUMENT, "conv of shapes that do not fit");
}

void Conv::run(std::span<const std::byte* const> in, std::span<std::byte* const> out,
               const reference::FaultSink&) const {
  // A window's places: one channel of the group, then one tap.
  const std::vector<std::int64_t> window(w_.dims.begin() + 1, w_.dims.end());
  const std::int64_t group_channels = out_.dims[1] / attrs_.group;
  reference::for_each_index(out_.dims, [&](reference::Index o) {
    double sum = 0;
    if (!bias_.absent) sum = reference::load<float>(in[2] + bias_.offset(o.subspan(1, 1)));
    std::vector<std::int64_t> x(o.begin(), o.end()), w(o.size(), o[1]);
    reference::for_each_index(window, [&](reference::Index place) {
      x[1] = o[1] / group_channels * window[0] + place[0];
      w[1] = place[0];
      for (std::size_t axis = 0; axis + 1 < place.size(); ++axis) {
        w[2 + axis] = place[1 + axis];
        x[2 + axis] = o[2 + axis] * attrs_.stride[axis] + place[1 + axis] * attrs_.dilation[axis] -
                      attrs_.pad_begin[axis];
        if (x[2 + axis] < 0 || x[2 + axis] >= x_.dims[2 + axis]) return;
      }
      sum += static_cast<double>(reference::load<float>(in[0] + x_.offset(x))) *
             static_cast<double>(reference::load<float>(in[1] + w_.offset(w)));
    });
    reference::store<float>(out[0] + out_.offset(o), static_cast<float>(sum));
  });
}

}  // namespace miniinfer::fake
