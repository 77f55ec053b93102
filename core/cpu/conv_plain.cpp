// conv/1 and conv_transpose/1 by their definition, for the types that have no fast path.

#include <algorithm>

#include "core/base/float16.hpp"
#include "core/cpu/conv_shape.hpp"
#include "core/cpu/parallel.hpp"

namespace miniinfer::cpu {
namespace {

struct Double {
  using Stored = double;
  using Sum = double;
  static Sum load(Stored x) { return x; }
  static Stored store(Sum x) { return x; }
};
struct Float {
  using Stored = float;
  using Sum = float;
  static Sum load(Stored x) { return x; }
  static Stored store(Sum x) { return x; }
};
struct Half {
  using Stored = std::uint16_t;
  using Sum = float;
  static Sum load(Stored x) { return float_from_half(x); }
  static Stored store(Sum x) { return half_from_float(x); }
};
struct BFloat {
  using Stored = std::uint16_t;
  using Sum = float;
  static Sum load(Stored x) { return float_from_bfloat(x); }
  static Stored store(Sum x) { return bfloat_from_float(x); }
};

template <class T>
class ConvPlain final : public Kernel {
  using Stored = typename T::Stored;
  using Sum = typename T::Sum;

 public:
  ConvPlain(const RegionView& region, bool transpose)
      : shape_(region, transpose),
        workers_(worker_count()),
        x_(region.arg_in(0)),
        w_(region.arg_in(1)),
        bias_(has_bias(region) ? region.arg_in(2) : -1),
        y_(region.arg_out(0)) {}

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    const auto* x = reinterpret_cast<const Stored*>(address(run.args[x_]));
    const auto* w = reinterpret_cast<const Stored*>(address(run.args[w_]));
    const auto* bias =
        bias_ < 0 ? nullptr : reinterpret_cast<const Stored*>(address(run.args[bias_]));
    auto* y = reinterpret_cast<Stored*>(address(run.args[y_]));
    const ConvShape& s = shape_;
    const std::int64_t channels = s.group * s.out_channels;
    const double cost = 1.5 * static_cast<double>(s.in_channels * s.taps) + 5;
    parallel(s.batch * channels * s.out_plane, cost, workers_,
             [&](std::int64_t begin, std::int64_t end, std::uint32_t) {
               for (std::int64_t i = begin; i < end; ++i) {
                 const std::int64_t channel = i / s.out_plane % channels;
                 const Sum first = bias == nullptr ? Sum{0} : T::load(bias[channel]);
                 y[i] = T::store(
                     output(x, w, i / s.out_plane / channels, channel, i % s.out_plane, first));
               }
             });
    return MINIINFER_OK;
  }

 private:
  // Where tap t of output position `at` reads the input, or -1.
  std::int64_t place(const ConvShape::Axes& at, std::int64_t t) const {
    const ConvShape::Axes tap = shape_.tap(t);
    std::int64_t result = 0;
    for (int i = 0; i < MINIINFER_MAX_SPATIAL; ++i) {
      std::int64_t p;
      if (shape_.is_transposed) {
        p = at[i] + shape_.pad[i] - tap[i] * shape_.dilation[i];
        if (p < 0 || p % shape_.stride[i] != 0) return -1;
        p /= shape_.stride[i];
      } else {
        p = at[i] * shape_.stride[i] + tap[i] * shape_.dilation[i] - shape_.pad[i];
      }
      if (p < 0 || p >= shape_.in[i]) return -1;
      result = result * shape_.in[i] + p;
    }
    return result;
  }

  Sum output(const Stored* x, const Stored* w, std::int64_t batch, std::int64_t channel,
             std::int64_t position, Sum sum) const {
    const ConvShape& s = shape_;
    const std::int64_t group = channel / s.out_channels, m = channel % s.out_channels;
    const ConvShape::Axes at = {position / (s.out[1] * s.out[2]), position / s.out[2] % s.out[1],
                                position % s.out[2]};
    const Stored* plane = x + (batch * s.group + group) * s.in_channels * s.in_plane;
    for (std::int64_t t = 0; t < s.taps; ++t) {
      const std::int64_t from = place(at, t);
      if (from < 0) continue;
      for (std::int64_t c = 0; c < s.in_channels; ++c) {
        const std::int64_t weight =
            s.is_transposed ? ((group * s.in_channels + c) * s.out_channels + m) * s.taps + t
                            : ((group * s.out_channels + m) * s.in_channels + c) * s.taps + t;
        sum += T::load(plane[c * s.in_plane + from]) * T::load(w[weight]);
      }
    }
    return sum;
  }

  ConvShape shape_;
  std::uint32_t workers_;
  int x_, w_, bias_, y_;
};

}  // namespace

std::unique_ptr<Kernel> make_conv_plain(const RegionView& region, bool transpose) {
  switch (region.in(0).dtype) {
    case MINIINFER_FLOAT64:
      return std::make_unique<ConvPlain<Double>>(region, transpose);
    case MINIINFER_FLOAT16:
      return std::make_unique<ConvPlain<Half>>(region, transpose);
    case MINIINFER_BFLOAT16:
      return std::make_unique<ConvPlain<BFloat>>(region, transpose);
    default:
      return std::make_unique<ConvPlain<Float>>(region, transpose);
  }
}

}  // namespace miniinfer::cpu
