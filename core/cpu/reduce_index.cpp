// reduce/1 where the position of an extreme element is asked for.

#include <cstring>
#include <limits>
#include <vector>

#include "core/base/float16.hpp"
#include "core/cpu/parallel.hpp"
#include "core/cpu/primitives.hpp"
#include "core/cpu/reduce_shape.hpp"

namespace miniinfer::cpu {
namespace {

struct Half {
  std::uint16_t bits;
};
struct BFloat {
  std::uint16_t bits;
};

template <class S>
S load(const S& x) {
  return x;
}
float load(const Half& x) { return float_from_half(x.bits); }
float load(const BFloat& x) { return float_from_bfloat(x.bits); }

template <class S>
class ReduceIndex final : public Kernel {
 public:
  using T = decltype(load(S{}));

  explicit ReduceIndex(const RegionView& region)
      : attrs_(region.attrs<miniinfer_reduce_attrs>()),
        shape_(make_reduce_shape(attrs_, region.in(0), region.out(0))),
        workers_(worker_count()),
        in_(region.arg_in(0)),
        out_(region.arg_out(0)),
        is_arg_(attrs_.kind >= MINIINFER_REDUCE_ARGMAX),
        want_max_(attrs_.kind != MINIINFER_REDUCE_ARGMIN),
        dtype_(region.in(0).dtype),
        dims_(dims(region.in(0)).begin(), dims(region.in(0)).end()) {
    if (!is_arg_) position_ = region.arg_out(1);
    for (int i = 0; i <= shape_.outer; ++i) {
      const ReduceAxis& axis = shape_.axes[static_cast<std::size_t>(i)];
      if (axis.role == ReduceAxis::Whole) arg_step_ = axis.step, arg_size_ = axis.in;
    }
  }

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    const S* in = reinterpret_cast<const S*>(address(run.args[in_]));
    std::byte* out = address(run.args[out_]);
    auto* positions =
        reinterpret_cast<std::int64_t*>(address(run.args[is_arg_ ? out_ : position_]));
    const ReduceAxis& inner = shape_.inner();
    const bool rows = inner.role == ReduceAxis::Whole;
    const std::int64_t columns = rows ? 1 : std::min(inner.out, kReduceColumns);
    const std::int64_t blocks = rows ? 1 : (inner.out + kReduceColumns - 1) / kReduceColumns;
    const double cost = static_cast<double>(shape_.outer_positions() * inner.window * columns) + 20;
    std::byte* scratch = address(run.workspace);
    parallel(shape_.outer_outputs() * blocks, cost, workers_,
             [&](std::int64_t begin, std::int64_t end, std::uint32_t worker) {
               std::byte* mine = scratch + worker * kReduceScratchBytes;
               auto* best = reinterpret_cast<T*>(mine);
               auto* found = reinterpret_cast<std::int64_t*>(mine + kReduceColumns * 8);
               for (std::int64_t item = begin; item < end; ++item) {
                 const std::int64_t output = item / blocks;
                 const std::int64_t column = item % blocks * kReduceColumns;
                 const std::int64_t n = rows ? 1 : std::min(columns, inner.out - column);
                 for (std::int64_t i = 0; i < n; ++i) best[i] = lowest(), found[i] = -1;
                 const ReduceWalk walk(shape_, output, false);
                 walk.each([&](std::int64_t offset) {
                   if (rows) {
                     search_row(in, offset, inner.in, best, found);
                   } else {
                     search_columns(in, offset, column, n, best, found);
                   }
                 });
                 const std::int64_t at = output * inner.out + column;
                 for (std::int64_t i = 0; i < n; ++i) {
                   positions[at + i] = is_arg_ ? along_axis(found[i]) : flat(found[i]);
                   if (!is_arg_) store(out, at + i, in, best[i], found[i]);
                 }
               }
             });
    return MINIINFER_OK;
  }

 private:
  T lowest() const {
    using Limits = std::numeric_limits<T>;
    if constexpr (Limits::has_infinity) return want_max_ ? -Limits::infinity() : Limits::infinity();
    if (dtype_ == MINIINFER_BOOL) return want_max_ ? T{0} : T{1};
    return want_max_ ? Limits::lowest() : Limits::max();
  }

  void consider(T value, std::int64_t offset, T& best, std::int64_t& found) const {
    const bool better =
        best == best && (value != value || (want_max_ ? value > best : value < best));
    const bool tie = attrs_.select_last != 0 && (value == best || (value != value && best != best));
    if (found < 0 || better || tie) {
      best = value;
      found = offset;
    }
  }

  void search_row(const S* in, std::int64_t offset, std::int64_t n, T* best,
                  std::int64_t* found) const {
    // The extreme value first, by vectors, then the place where it stands.
    if constexpr (std::is_same_v<S, T>) {
      if (n >= 32 && dtype_ != MINIINFER_BOOL) {
        T extreme = in[offset];
        primitives().row[want_max_ ? kRowMax : kRowMin][dtype_](&extreme, in + offset, n);
        const auto is_it = [&](std::int64_t i) {
          const T value = in[offset + i];
          return value == extreme || (value != value && extreme != extreme);
        };
        std::int64_t i = attrs_.select_last != 0 ? n - 1 : 0;
        while (!is_it(i)) i += attrs_.select_last != 0 ? -1 : 1;
        consider(extreme, offset + i, *best, *found);
        return;
      }
    }
    for (std::int64_t i = 0; i < n; ++i) consider(load(in[offset + i]), offset + i, *best, *found);
  }

  void search_columns(const S* in, std::int64_t offset, std::int64_t column, std::int64_t n,
                      T* best, std::int64_t* found) const {
    const ReduceAxis& inner = shape_.inner();
    for (std::int64_t k = 0; k < inner.window; ++k) {
      const ReduceAxis::Range range = inner.outputs(k);
      const std::int64_t from = std::max(range.begin, column);
      const std::int64_t to = std::min(range.end, column + n);
      std::int64_t at = offset + from * inner.stride + k * inner.dilation - inner.pad_begin;
      for (std::int64_t o = from; o < to; ++o, at += inner.stride) {
        consider(load(in[at]), at, best[o - column], found[o - column]);
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

  void store(std::byte* out, std::int64_t at, const S* in, T best, std::int64_t found) const {
    S* to = reinterpret_cast<S*>(out) + at;
    if (found >= 0) {
      *to = in[found];
    } else if constexpr (std::is_same_v<S, T>) {
      *to = best;
    } else {  // -infinity of a 16-bit type
      to->bits = std::is_same_v<S, Half> ? half_from_float(best) : bfloat_from_float(best);
    }
  }

  miniinfer_reduce_attrs attrs_;
  ReduceShape shape_;
  std::uint32_t workers_;
  int in_;
  int out_;
  int position_ = -1;
  bool is_arg_;
  bool want_max_;
  int dtype_;
  std::vector<std::int64_t> dims_;
  std::int64_t arg_step_ = 1;
  std::int64_t arg_size_ = 0;
};

template <class S>
std::unique_ptr<Kernel> make(const RegionView& region) {
  return std::make_unique<ReduceIndex<S>>(region);
}

}  // namespace

std::unique_ptr<Kernel> make_reduce_index(const RegionView& region) {
  switch (region.in(0).dtype) {
    case MINIINFER_FLOAT32:
      return make<float>(region);
    case MINIINFER_FLOAT64:
      return make<double>(region);
    case MINIINFER_FLOAT16:
      return make<Half>(region);
    case MINIINFER_BFLOAT16:
      return make<BFloat>(region);
    case MINIINFER_INT8:
      return make<std::int8_t>(region);
    case MINIINFER_INT16:
      return make<std::int16_t>(region);
    case MINIINFER_UINT16:
      return make<std::uint16_t>(region);
    case MINIINFER_INT32:
      return make<std::int32_t>(region);
    case MINIINFER_UINT32:
      return make<std::uint32_t>(region);
    case MINIINFER_INT64:
      return make<std::int64_t>(region);
    case MINIINFER_UINT64:
      return make<std::uint64_t>(region);
    default:  // BOOL, UINT8
      return make<std::uint8_t>(region);
  }
}

}  // namespace miniinfer::cpu
