// cum_sum/1: running sums, blocks of columns side by side. Float types sum in double.

#include <cstdio>

#include "core/base/float16.hpp"
#include "core/cpu/parallel.hpp"
#include "core/cpu/rows.hpp"
#include "miniinfer/abi/op/select.h"

namespace miniinfer::cpu {
namespace {

constexpr std::int64_t kColumns = 128;

struct Half {
  std::uint16_t bits;
};
struct BFloat {
  std::uint16_t bits;
};

// How a type is read, summed and written; integers wrap as unsigned.
template <class S>
struct Summed {
  using Sum = std::uint64_t;
  static Sum load(S x) { return static_cast<Sum>(x); }
  static S store(Sum sum) { return static_cast<S>(sum); }
};
template <class S>
struct SummedFloat {
  using Sum = double;
  static Sum load(S x) { return static_cast<Sum>(x); }
  static S store(Sum sum) { return static_cast<S>(sum); }
};
template <>
struct Summed<float> : SummedFloat<float> {};
template <>
struct Summed<double> : SummedFloat<double> {};
template <>
struct Summed<Half> {
  using Sum = double;
  static Sum load(Half x) { return static_cast<Sum>(float_from_half(x.bits)); }
  static Half store(Sum sum) { return {half_from_float(static_cast<float>(sum))}; }
};
template <>
struct Summed<BFloat> {
  using Sum = double;
  static Sum load(BFloat x) { return static_cast<Sum>(float_from_bfloat(x.bits)); }
  static BFloat store(Sum sum) { return {bfloat_from_float(static_cast<float>(sum))}; }
};

template <class S>
class CumSum final : public Kernel {
 public:
  explicit CumSum(const RegionView& region)
      : attrs_(region.attrs<miniinfer_cum_sum_attrs>()),
        split_(split_at(region.in(0), attrs_.axis)),
        workers_(worker_count()),
        in_(region.arg_in(0)),
        out_(region.arg_out(0)) {}

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    const S* in = reinterpret_cast<const S*>(address(run.args[in_]));
    S* out = reinterpret_cast<S*>(address(run.args[out_]));
    const std::int64_t blocks = (split_.inner + kColumns - 1) / kColumns;
    const double cost =
        static_cast<double>(split_.length * std::min(kColumns, split_.inner)) * 1.0 + 10;
    parallel(split_.outer * blocks, cost, workers_,
             [&](std::int64_t begin, std::int64_t end, std::uint32_t) {
               for (std::int64_t i = begin; i < end; ++i) {
                 const std::int64_t column = i % blocks * kColumns;
                 const std::int64_t at = i / blocks * split_.length * split_.inner + column;
                 sum_columns(in + at, out + at, std::min(kColumns, split_.inner - column));
               }
             });
    return MINIINFER_OK;
  }

 private:
  void sum_columns(const S* in, S* out, std::int64_t n) const {
    typename Summed<S>::Sum sums[kColumns] = {};
    for (std::int64_t l = 0; l < split_.length; ++l) {
      const std::int64_t at = (attrs_.reverse != 0 ? split_.length - 1 - l : l) * split_.inner;
      for (std::int64_t c = 0; c < n; ++c) {
        const auto value = Summed<S>::load(in[at + c]);  // before out, which may be in
        if (attrs_.exclusive != 0) out[at + c] = Summed<S>::store(sums[c]);
        sums[c] += value;
        if (attrs_.exclusive == 0) out[at + c] = Summed<S>::store(sums[c]);
      }
    }
  }

  miniinfer_cum_sum_attrs attrs_;
  AxisSplit split_;
  std::uint32_t workers_;
  int in_;
  int out_;
};

using Make = std::unique_ptr<Kernel> (*)(const RegionView&);

template <class S>
std::unique_ptr<Kernel> make(const RegionView& region) {
  return std::make_unique<CumSum<S>>(region);
}

Make make_of(int dtype) {
  switch (dtype) {
    case MINIINFER_FLOAT32:
      return make<float>;
    case MINIINFER_FLOAT64:
      return make<double>;
    case MINIINFER_FLOAT16:
      return make<Half>;
    case MINIINFER_BFLOAT16:
      return make<BFloat>;
    case MINIINFER_INT8:
    case MINIINFER_UINT8:
      return make<std::uint8_t>;
    case MINIINFER_INT16:
    case MINIINFER_UINT16:
      return make<std::uint16_t>;
    case MINIINFER_INT32:
    case MINIINFER_UINT32:
      return make<std::uint32_t>;
    case MINIINFER_INT64:
    case MINIINFER_UINT64:
      return make<std::uint64_t>;
    default:
      return nullptr;
  }
}

miniinfer_code support(const RegionView& region, miniinfer_choice& choice) {
  const miniinfer_value& in = region.in(0);
  const miniinfer_value& out = region.out(0);
  const auto& attrs = region.attrs<miniinfer_cum_sum_attrs>();
  if (region.node_count() != 1 || make_of(in.dtype) == nullptr || in.dtype != out.dtype ||
      !same_shape(in, out) || !is_row_major(in) || !is_row_major(out) || attrs.axis < 0 ||
      attrs.axis >= in.rank) {
    std::snprintf(choice.reason, sizeof choice.reason,
                  "cum_sum: %u nodes, element types %d and %d, axis %d of %d: one node, a numeric "
                  "type and row-major operands are served",
                  region.node_count(), in.dtype, out.dtype, attrs.axis, in.rank);
    return MINIINFER_UNSUPPORTED;
  }
  choice.workspace_bytes = 0;
  choice.in_place = 1;
  choice.cost_ns = static_cast<std::uint64_t>(100 + static_cast<double>(element_count(in)));
  choice.flags = MINIINFER_CHOICE_DETERMINISTIC;
  return MINIINFER_OK;
}

std::unique_ptr<Kernel> create(const RegionView& region) {
  return make_of(region.in(0).dtype)(region);
}

}  // namespace

const Family kCumSum = {MINIINFER_CUM_SUM, sizeof(miniinfer_cum_sum_attrs), support, create};

}  // namespace miniinfer::cpu
