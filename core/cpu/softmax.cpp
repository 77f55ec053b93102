// softmax/1. A row is handled whole where the axis is the innermost; elsewhere a block of columns
// goes down the axis side by side.

#include <cmath>
#include <cstdio>
#include <limits>

#include "core/cpu/parallel.hpp"
#include "core/cpu/primitives.hpp"
#include "core/cpu/rows.hpp"
#include "miniinfer/abi/op/norm.h"
#include "miniinfer/abi/op/pointwise.h"

namespace miniinfer::cpu {
namespace {

constexpr std::int64_t kColumns = 256;
constexpr std::int64_t kTileBytes = kColumns * 8;
constexpr std::int64_t kPiece = 1024;  // elements of a row handled at a time

class Softmax final : public Kernel {
 public:
  explicit Softmax(const RegionView& region)
      : table_(primitives()),
        workers_(worker_count()),
        in_(region.arg_in(0)),
        out_(region.arg_out(0)) {
    const auto& attrs = region.attrs<miniinfer_softmax_attrs>();
    split_ = split_at(region.in(0), attrs.axis);
    logarithm_ = attrs.logarithm != 0;
    dtype_ = region.in(0).dtype;
    acc_ = dtype_ == MINIINFER_FLOAT64 ? int{MINIINFER_FLOAT64} : int{MINIINFER_FLOAT32};
    bytes_ = static_cast<std::int64_t>(element_bytes(dtype_));
    scratch_ = scratch_bytes(dtype_, split_);
  }

  // Of one worker: tiles, or a row in float32 where it is not float32 already.
  static std::uint64_t scratch_bytes(int dtype, const AxisSplit& split) {
    if (split.inner > 1) return 4 * kTileBytes;
    const bool is_wide = dtype == MINIINFER_FLOAT32 || dtype == MINIINFER_FLOAT64;
    return align64(static_cast<std::uint64_t>(is_wide ? 0 : split.length) * 4) + kPiece * 4;
  }

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    const std::byte* in = address(run.args[in_]);
    std::byte* out = address(run.args[out_]);
    std::byte* scratch = address(run.workspace);
    const double element_ns = acc_ == MINIINFER_FLOAT64 ? 12 : 0.8;
    if (split_.inner == 1) {
      const double cost = static_cast<double>(split_.length) * element_ns + 20;
      parallel(split_.outer, cost, workers_,
               [&](std::int64_t begin, std::int64_t end, std::uint32_t worker) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t at = i * split_.length * bytes_;
                   run_row(in + at, out + at, scratch + worker * scratch_);
                 }
               });
      return MINIINFER_OK;
    }
    const std::int64_t blocks = (split_.inner + kColumns - 1) / kColumns;
    const double cost =
        static_cast<double>(split_.length * std::min(split_.inner, kColumns)) * element_ns * 1.5 +
        50;
    parallel(split_.outer * blocks, cost, workers_,
             [&](std::int64_t begin, std::int64_t end, std::uint32_t worker) {
               for (std::int64_t i = begin; i < end; ++i) {
                 const std::int64_t column = i % blocks * kColumns;
                 const std::int64_t at =
                     (i / blocks * split_.length * split_.inner + column) * bytes_;
                 run_columns(in + at, out + at, std::min(kColumns, split_.inner - column),
                             scratch + worker * scratch_);
               }
             });
    return MINIINFER_OK;
  }

 private:
  void run_row(const std::byte* in, std::byte* out, std::byte* scratch) const {
    const std::int64_t n = split_.length;
    if (n == 0) return;
    if (dtype_ == MINIINFER_FLOAT64) {
      return run_double(reinterpret_cast<const double*>(in), reinterpret_cast<double*>(out), n);
    }
    auto* piece = reinterpret_cast<float*>(scratch);
    if (dtype_ == MINIINFER_FLOAT32) {
      return run_float(reinterpret_cast<const float*>(in), reinterpret_cast<float*>(out), n, piece);
    }
    auto* row = piece + kPiece;
    table_.cast[dtype_][MINIINFER_FLOAT32](row, in, nullptr, nullptr, n);
    run_float(row, row, n, piece);
    table_.cast[MINIINFER_FLOAT32][dtype_](out, row, nullptr, nullptr, n);
  }

  void run_float(const float* x, float* y, std::int64_t n, float* piece) const {
    float top = x[0];
    table_.row[kRowMax][MINIINFER_FLOAT32](&top, x, n);
    if (!logarithm_) {
      const float factor = 1.0f / table_.exp_sum_f32(y, x, top, n);
      table_.scalar[MINIINFER_PW_MUL][1](y, y, &factor, nullptr, n);
      return;
    }
    double sum = 0;  // the powers themselves are not kept: y may be x
    for (std::int64_t i = 0; i < n; i += kPiece) {
      sum += static_cast<double>(table_.exp_sum_f32(piece, x + i, top, std::min(kPiece, n - i)));
    }
    const auto log_sum = static_cast<float>(std::log(sum));
    table_.scalar[MINIINFER_PW_SUB][1](y, x, &top, nullptr, n);
    table_.scalar[MINIINFER_PW_SUB][1](y, y, &log_sum, nullptr, n);
  }

  void run_double(const double* x, double* y, std::int64_t n) const {
    double top = x[0];
    table_.row[kRowMax][MINIINFER_FLOAT64](&top, x, n);
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const double e = std::exp(x[i] - top);
      sum += e;
      y[i] = logarithm_ ? x[i] - top : e;
    }
    const double log_sum = std::log(sum);
    for (std::int64_t i = 0; i < n; ++i) y[i] = logarithm_ ? y[i] - log_sum : y[i] / sum;
  }

  Primitive op(int opcode) const { return table_.op[opcode][acc_]; }

  // n columns; each step of the axis is `inner` elements further on.
  void run_columns(const std::byte* in, std::byte* out, std::int64_t n, std::byte* scratch) const {
    std::byte* top = scratch;
    std::byte* sum = scratch + kTileBytes;
    std::byte* loaded = scratch + 2 * kTileBytes;
    std::byte* work = scratch + 3 * kTileBytes;
    const std::int64_t step = split_.inner * bytes_;
    const bool narrow = dtype_ != acc_;
    const auto load = [&](std::int64_t l) -> const std::byte* {
      if (!narrow) return in + l * step;
      table_.cast[dtype_][acc_](loaded, in + l * step, nullptr, nullptr, n);
      return loaded;
    };
    if (split_.length == 0) return;
    op(MINIINFER_PW_COPY)(top, load(0), nullptr, nullptr, n);
    for (std::int64_t l = 1; l < split_.length; ++l) {
      op(MINIINFER_PW_MAX)(top, top, load(l), nullptr, n);
    }
    for (std::int64_t l = 0; l < split_.length; ++l) {
      op(MINIINFER_PW_SUB)(work, load(l), top, nullptr, n);
      op(MINIINFER_PW_EXP)(l == 0 ? sum : work, work, nullptr, nullptr, n);
      if (l > 0) op(MINIINFER_PW_ADD)(sum, sum, work, nullptr, n);
    }
    if (logarithm_) op(MINIINFER_PW_LOG)(sum, sum, nullptr, nullptr, n);
    for (std::int64_t l = 0; l < split_.length; ++l) {
      std::byte* to = narrow ? work : out + l * step;
      op(MINIINFER_PW_SUB)(to, load(l), top, nullptr, n);
      if (logarithm_) {
        op(MINIINFER_PW_SUB)(to, to, sum, nullptr, n);
      } else {
        op(MINIINFER_PW_EXP)(to, to, nullptr, nullptr, n);
        op(MINIINFER_PW_DIV)(to, to, sum, nullptr, n);
      }
      if (narrow) table_.cast[acc_][dtype_](out + l * step, to, nullptr, nullptr, n);
    }
  }

  const PrimitiveTable& table_;
  std::uint32_t workers_;
  int in_;
  int out_;
  AxisSplit split_;
  bool logarithm_;
  int dtype_;
  int acc_;
  std::int64_t bytes_;
  std::uint64_t scratch_;
};

miniinfer_code support(const RegionView& region, miniinfer_choice& choice) {
  const miniinfer_value& in = region.in(0);
  const miniinfer_value& out = region.out(0);
  const auto& attrs = region.attrs<miniinfer_softmax_attrs>();
  if (region.node_count() != 1 || !is_real_float(in.dtype) || in.dtype != out.dtype ||
      !same_shape(in, out) || !is_row_major(in) || !is_row_major(out) || attrs.axis < 0 ||
      attrs.axis >= in.rank) {
    std::snprintf(choice.reason, sizeof choice.reason,
                  "softmax: %u nodes, element types %d and %d, axis %d of %d: one node, a float "
                  "type and row-major operands are served",
                  region.node_count(), in.dtype, out.dtype, attrs.axis, in.rank);
    return MINIINFER_UNSUPPORTED;
  }
  choice.workspace_bytes =
      Softmax::scratch_bytes(in.dtype, split_at(in, attrs.axis)) * worker_count();
  choice.in_place = 1;
  choice.cost_ns = static_cast<std::uint64_t>(100 + static_cast<double>(element_count(in)));
  choice.flags = MINIINFER_CHOICE_DETERMINISTIC;
  return MINIINFER_OK;
}

std::unique_ptr<Kernel> create(const RegionView& region) {
  return std::make_unique<Softmax>(region);
}

}  // namespace

const Family kSoftmax = {MINIINFER_SOFTMAX, sizeof(miniinfer_softmax_attrs), support, create};

}  // namespace miniinfer::cpu
