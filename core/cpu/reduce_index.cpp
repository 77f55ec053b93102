// reduce/1 where the position of an extreme element is asked for.

#include <cstring>
#include <limits>
#include <vector>

#include "core/cpu/order_key.hpp"
#include "core/cpu/parallel.hpp"
#include "core/cpu/primitives.hpp"
#include "core/cpu/reduce_shape.hpp"

namespace miniinfer::cpu {
namespace {

class ReduceIndex final : public Kernel {
 public:
  explicit ReduceIndex(const RegionView& region)
      : attrs_(region.attrs<miniinfer_reduce_attrs>()),
        shape_(make_reduce_shape(attrs_, region.in(0), region.out(0))),
        workers_(worker_count()),
        in_(region.arg_in(0)),
        out_(region.arg_out(0)),
        is_arg_(attrs_.kind >= MINIINFER_REDUCE_ARGMAX),
        flip_(attrs_.kind != MINIINFER_REDUCE_ARGMIN ? 0 : ~std::uint64_t{0}),
        bytes_(static_cast<std::int64_t>(element_bytes(region.in(0).dtype))),
        keys_(order_keys(region.in(0).dtype)),
        extreme_(primitives().row[flip_ == 0 ? kRowMax : kRowMin][region.in(0).dtype]),
        dims_(dims(region.in(0)).begin(), dims(region.in(0)).end()) {
    if (!is_arg_) position_ = region.arg_out(1);
    if (region.in(0).dtype != MINIINFER_BOOL) {
      constexpr double kLowest = -std::numeric_limits<double>::infinity();
      primitives().cast[MINIINFER_FLOAT64][region.in(0).dtype](&lowest_, &kLowest, nullptr, nullptr,
                                                               1);
    }
    for (int i = 0; i <= shape_.outer; ++i) {
      const ReduceAxis& axis = shape_.axes[static_cast<std::size_t>(i)];
      if (axis.role == ReduceAxis::Whole) arg_step_ = axis.step, arg_size_ = axis.in;
    }
  }

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    const std::byte* in = address(run.args[in_]);
    std::byte* out = address(run.args[out_]);
    auto* positions =
        reinterpret_cast<std::int64_t*>(address(run.args[is_arg_ ? out_ : position_]));
    const ReduceAxis& inner = shape_.inner();
    const bool rows = inner.role == ReduceAxis::Whole;
    const std::int64_t columns = rows ? 1 : std::min(inner.out, kReduceColumns);
    const std::int64_t blocks = rows ? 1 : (inner.out + kReduceColumns - 1) / kReduceColumns;
    const double cost = static_cast<double>(shape_.outer_positions() * inner.window * columns) + 20;
    std::byte* scratch = address(run.workspace);
    const auto* lowest = reinterpret_cast<const std::byte*>(&lowest_);
    parallel(shape_.outer_outputs() * blocks, cost, workers_,
             [&](std::int64_t begin, std::int64_t end, std::uint32_t worker) {
               std::byte* mine = scratch + worker * kReduceScratchBytes;
               auto* best = reinterpret_cast<std::uint64_t*>(mine);
               auto* found = reinterpret_cast<std::int64_t*>(mine + kReduceColumns * 8);
               auto* keys = reinterpret_cast<std::uint64_t*>(mine + 2 * kReduceColumns * 8);
               for (std::int64_t item = begin; item < end; ++item) {
                 const std::int64_t output = item / blocks;
                 const std::int64_t column = item % blocks * kReduceColumns;
                 const std::int64_t n = rows ? 1 : std::min(columns, inner.out - column);
                 for (std::int64_t i = 0; i < n; ++i) best[i] = 0, found[i] = -1;
                 const ReduceWalk walk(shape_, output, false);
                 walk.each([&](std::int64_t offset) {
                   if (rows) {
                     search_row(in, offset, inner.in, *best, *found, keys);
                   } else {
                     search_columns(in, offset, column, n, best, found, keys);
                   }
                 });
                 const std::int64_t at = output * inner.out + column;
                 for (std::int64_t i = 0; i < n; ++i) {
                   positions[at + i] = is_arg_ ? along_axis(found[i]) : flat(found[i]);
                   if (is_arg_) continue;
                   std::memcpy(out + (at + i) * bytes_,
                               found[i] < 0 ? lowest : in + found[i] * bytes_,
                               static_cast<std::size_t>(bytes_));
                 }
               }
             });
    return MINIINFER_OK;
  }

 private:
  // NaN is met as an extreme of either kind.
  void make_keys(std::uint64_t* keys, const std::byte* from, std::int64_t step,
                 std::int64_t n) const {
    keys_(keys, from, step, n, flip_, ~std::uint64_t{0});
  }

  bool is_better(std::uint64_t key, std::uint64_t best, std::int64_t found) const {
    return found < 0 || key > best || (key == best && attrs_.select_last != 0);
  }

  void search_row(const std::byte* in, std::int64_t offset, std::int64_t n, std::uint64_t& best,
                  std::int64_t& found, std::uint64_t* keys) const {
    for (std::int64_t i = 0; i < n; i += kReduceColumns) {
      const std::int64_t count = std::min(kReduceColumns, n - i);
      const std::byte* piece = in + (offset + i) * bytes_;
      // The extreme value first, by vectors: most pieces hold nothing better.
      if (extreme_ != nullptr && count >= 32) {
        std::uint64_t extreme = 0;
        std::memcpy(&extreme, piece, static_cast<std::size_t>(bytes_));
        extreme_(&extreme, piece, count);
        make_keys(keys, reinterpret_cast<const std::byte*>(&extreme), 1, 1);
        if (!is_better(keys[0], best, found)) continue;
      }
      make_keys(keys, piece, 1, count);
      for (std::int64_t k = 0; k < count; ++k) {
        if (!is_better(keys[k], best, found)) continue;
        best = keys[k];
        found = offset + i + k;
      }
    }
  }

  void search_columns(const std::byte* in, std::int64_t offset, std::int64_t column, std::int64_t n,
                      std::uint64_t* best, std::int64_t* found, std::uint64_t* keys) const {
    const ReduceAxis& inner = shape_.inner();
    for (std::int64_t k = 0; k < inner.window; ++k) {
      const ReduceAxis::Range range = inner.outputs(k);
      const std::int64_t from = std::max(range.begin, column);
      const std::int64_t to = std::min(range.end, column + n);
      if (from >= to) continue;
      const std::int64_t at = offset + from * inner.stride + k * inner.dilation - inner.pad_begin;
      make_keys(keys, in + at * bytes_, inner.stride, to - from);
      for (std::int64_t i = 0; i < to - from; ++i) {
        const std::int64_t o = from - column + i;
        if (!is_better(keys[i], best[o], found[o])) continue;
        best[o] = keys[i];
        found[o] = at + i * inner.stride;
      }
    }
  }

  std::int64_t along_axis(std::int64_t found) const {
    return found < 0 || arg_size_ == 0 ? 0 : found / arg_step_ % arg_size_;
  }

  // Row-major as found; or with the axes from 2 on column-major.
  std::int64_t flat(std::int64_t found) const {
    if (attrs_.index_column_major == 0 || found < 0) return found;
    std::int64_t spatial = 1;
    for (std::size_t axis = 2; axis < dims_.size(); ++axis) spatial *= dims_[axis];
    std::int64_t rest = found % spatial;
    std::int64_t result = found - rest;
    std::int64_t step = spatial;
    for (std::size_t axis = dims_.size(); axis-- > 2;) {
      step /= dims_[axis];
      result += rest % dims_[axis] * step;
      rest /= dims_[axis];
    }
    return result;
  }

  miniinfer_reduce_attrs attrs_;
  ReduceShape shape_;
  std::uint32_t workers_;
  int in_;
  int out_;
  int position_ = -1;
  bool is_arg_;
  std::uint64_t flip_;  // all bits, for the smallest
  std::int64_t bytes_;
  std::uint64_t lowest_ = 0;  // bits of what an empty window gives
  OrderKeys keys_;
  RowReduction extreme_;  // null where there is none
  std::vector<std::int64_t> dims_;
  std::int64_t arg_step_ = 1;
  std::int64_t arg_size_ = 0;
};

}  // namespace

std::unique_ptr<Kernel> make_reduce_index(const RegionView& region) {
  return std::make_unique<ReduceIndex>(region);
}

}  // namespace miniinfer::cpu
