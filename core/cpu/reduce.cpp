// reduce/1: whole axes and windows. The inner axis is either reduced, row by row, or its outputs
// are accumulated side by side; both are loops over contiguous elements.

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/cpu/parallel.hpp"
#include "core/cpu/primitives.hpp"
#include "core/cpu/reduce_shape.hpp"
#include "core/cpu/rows.hpp"
#include "miniinfer/abi/op/pointwise.h"

namespace miniinfer::cpu {
namespace {

// Float sums longer than this are taken in parts, so that errors do not pile up.
constexpr std::int64_t kPart = 64;

bool is_float(int dtype) { return dtype == MINIINFER_FLOAT32 || dtype == MINIINFER_FLOAT64; }

// What is accumulated in.
int accumulator(int dtype, int kind) {
  if (dtype == MINIINFER_FLOAT16 || dtype == MINIINFER_BFLOAT16) return MINIINFER_FLOAT32;
  if (kind != MINIINFER_REDUCE_MEAN || is_float(dtype)) return dtype;
  const bool is_unsigned = dtype == MINIINFER_UINT8 || dtype == MINIINFER_UINT16 ||
                           dtype == MINIINFER_UINT32 || dtype == MINIINFER_UINT64;
  return is_unsigned ? MINIINFER_UINT64 : MINIINFER_INT64;
}

struct Kind {
  int opcode;
  RowKind row;
};
Kind kind_of(int kind) {
  switch (kind) {
    case MINIINFER_REDUCE_MAX:
      return {MINIINFER_PW_MAX, kRowMax};
    case MINIINFER_REDUCE_MIN:
      return {MINIINFER_PW_MIN, kRowMin};
    case MINIINFER_REDUCE_PROD:
      return {MINIINFER_PW_MUL, kRowProd};
    default:
      return {MINIINFER_PW_ADD, kRowSum};
  }
}

// The bits of what an empty window gives, in type `dtype`.
std::uint64_t identity(int kind, int dtype) {
  double value = 0;
  if (kind == MINIINFER_REDUCE_PROD) value = 1;
  if (kind == MINIINFER_REDUCE_MAX) value = -std::numeric_limits<double>::infinity();
  if (kind == MINIINFER_REDUCE_MIN) value = std::numeric_limits<double>::infinity();
  if (dtype == MINIINFER_BOOL) return value > 0 ? 1 : 0;
  std::uint64_t bits = 0;  // the cast saturates
  primitives().cast[MINIINFER_FLOAT64][dtype](&bits, &value, nullptr, nullptr, 1);
  return bits;
}

template <class T>
void divide(std::byte* values, const std::int64_t* counts, std::int64_t n) {
  T* x = reinterpret_cast<T*>(values);
  for (std::int64_t i = 0; i < n; ++i) {
    if constexpr (std::numeric_limits<T>::is_integer) {
      x[i] = counts[i] == 0 ? T{0} : x[i] / static_cast<T>(counts[i]);
    } else {
      x[i] /= static_cast<T>(counts[i]);
    }
  }
}

class Reduce final : public Kernel {
 public:
  explicit Reduce(const RegionView& region)
      : attrs_(region.attrs<miniinfer_reduce_attrs>()),
        shape_(make_reduce_shape(attrs_, region.in(0), region.out(0))),
        workers_(worker_count()),
        in_(region.arg_in(0)),
        out_(region.arg_out(0)),
        table_(primitives()) {
    const int dtype = region.in(0).dtype;
    const int acc = accumulator(dtype, attrs_.kind);
    dtype_ = acc;
    in_bytes_ = static_cast<std::int64_t>(element_bytes(dtype));
    acc_bytes_ = static_cast<std::int64_t>(element_bytes(acc));
    load_ = acc == dtype ? nullptr : table_.cast[dtype][acc];
    store_ = acc == dtype ? table_.op[MINIINFER_PW_COPY][dtype] : table_.cast[acc][dtype];
    const Kind kind = kind_of(attrs_.kind);
    combine_ = table_.op[kind.opcode][acc];
    row_ = table_.row[kind.row][acc];
    identity_ = identity(attrs_.kind, acc);
    in_parts_ = is_float(acc) && kind.row == kRowSum;
  }

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    const std::byte* in = address(run.args[in_]);
    std::byte* out = address(run.args[out_]);
    std::byte* scratch = address(run.workspace);
    const double positions = static_cast<double>(shape_.outer_positions());
    const ReduceAxis& inner = shape_.inner();
    if (inner.role == ReduceAxis::Whole) {
      const double cost = positions * (5 + 0.06 * static_cast<double>(inner.in));
      parallel(shape_.outer_outputs(), cost, workers_,
               [&](std::int64_t begin, std::int64_t end, std::uint32_t worker) {
                 std::byte* mine = scratch + worker * kReduceScratchBytes;
                 for (std::int64_t o = begin; o < end; ++o) reduce_rows(in, out, o, mine);
               });
      return MINIINFER_OK;
    }
    const std::int64_t blocks = (inner.out + kReduceColumns - 1) / kReduceColumns;
    const auto columns = static_cast<double>(std::min(inner.out, kReduceColumns));
    const double cost = positions * static_cast<double>(inner.window) * (8 + 0.12 * columns) + 30;
    parallel(shape_.outer_outputs() * blocks, cost, workers_,
             [&](std::int64_t begin, std::int64_t end, std::uint32_t worker) {
               std::byte* mine = scratch + worker * kReduceScratchBytes;
               for (std::int64_t item = begin; item < end; ++item) {
                 reduce_columns(in, out, item / blocks, item % blocks * kReduceColumns, mine);
               }
             });
    return MINIINFER_OK;
  }

 private:
  // The inner axis is reduced: a row of the input is combined at a time.
  void reduce_rows(const std::byte* in, std::byte* out, std::int64_t output,
                   std::byte* scratch) const {
    const ReduceWalk walk(shape_, output, attrs_.count_pad != 0);
    const std::int64_t length = shape_.inner().in;
    std::uint64_t total = identity_;
    double sum = 0;
    const auto add = [&](const std::byte* row, std::int64_t n) {
      if (in_parts_ && dtype_ == MINIINFER_FLOAT32) {
        float part = 0;
        row_(&part, row, n);
        sum += static_cast<double>(part);
      } else {
        row_(&total, row, n);
      }
    };
    if (length > 0) {
      walk.each([&](std::int64_t offset) {
        const std::byte* row = in + offset * in_bytes_;
        if (load_ == nullptr) return add(row, length);
        constexpr std::int64_t kPiece = 2 * kReduceColumns;
        for (std::int64_t i = 0; i < length; i += kPiece) {
          const std::int64_t n = std::min(kPiece, length - i);
          load_(scratch, row + i * in_bytes_, nullptr, nullptr, n);
          add(scratch, n);
        }
      });
    }
    if (in_parts_ && dtype_ == MINIINFER_FLOAT32) {
      total = std::bit_cast<std::uint32_t>(static_cast<float>(sum));
    }
    const std::int64_t count = walk.counted() * length;
    finish(reinterpret_cast<std::byte*>(&total), &count, 1, out + output * in_bytes_);
  }

  // Outputs [column, column + ..) of the inner axis side by side.
  void reduce_columns(const std::byte* in, std::byte* out, std::int64_t output, std::int64_t column,
                      std::byte* scratch) const {
    const ReduceWalk walk(shape_, output, attrs_.count_pad != 0);
    const ReduceAxis& inner = shape_.inner();
    const std::int64_t end = std::min(inner.out, column + kReduceColumns);
    const std::int64_t n = end - column;
    std::byte* acc = scratch;
    std::byte* total = scratch + kReduceColumns * 8;
    std::byte* loaded = scratch + 2 * kReduceColumns * 8;
    std::byte* gathered = scratch + 3 * kReduceColumns * 8;
    set_identity(acc, n);
    std::int64_t parts = 0;
    std::int64_t in_part = 0;
    walk.each([&](std::int64_t offset) {
      for (std::int64_t k = 0; k < inner.window; ++k) {
        const ReduceAxis::Range range = inner.outputs(k);
        const std::int64_t from = std::max(range.begin, column);
        const std::int64_t to = std::min(range.end, end);
        if (from >= to) continue;
        const std::int64_t position = from * inner.stride + k * inner.dilation - inner.pad_begin;
        const std::byte* src = in + (offset + position) * in_bytes_;
        if (inner.stride != 1) {
          gather(gathered, src, inner.stride, to - from);
          src = gathered;
        }
        if (load_ != nullptr) {
          load_(loaded, src, nullptr, nullptr, to - from);
          src = loaded;
        }
        std::byte* dst = acc + (from - column) * acc_bytes_;
        combine_(dst, dst, src, nullptr, to - from);
      }
      if (in_parts_ && ++in_part == kPart) {
        in_part = 0;
        add_part(total, acc, loaded, parts++ == 0, n);
        set_identity(acc, n);
      }
    });
    if (parts > 0) {
      add_part(total, acc, loaded, false, n);
      table_.cast[MINIINFER_FLOAT64][dtype_](acc, total, nullptr, nullptr, n);
    }
    auto* counts = reinterpret_cast<std::int64_t*>(total);
    if (attrs_.kind == MINIINFER_REDUCE_MEAN) {
      for (std::int64_t i = 0; i < n; ++i) {
        counts[i] = walk.counted() * inner.counted(column + i, attrs_.count_pad != 0);
      }
    }
    finish(acc, counts, n, out + (output * inner.out + column) * in_bytes_);
  }

  // Parts of a float sum are added in double.
  void add_part(std::byte* total, const std::byte* part, std::byte* wide, bool first,
                std::int64_t n) const {
    const Primitive widen = table_.cast[dtype_][MINIINFER_FLOAT64];
    widen(first ? total : wide, part, nullptr, nullptr, n);
    if (first) return;
    table_.op[MINIINFER_PW_ADD][MINIINFER_FLOAT64](total, total, wide, nullptr, n);
  }

  void set_identity(std::byte* acc, std::int64_t n) const {
    for (std::int64_t i = 0; i < n; ++i) {
      std::memcpy(acc + i * acc_bytes_, &identity_, static_cast<std::size_t>(acc_bytes_));
    }
  }

  void gather(std::byte* to, const std::byte* from, std::int64_t stride, std::int64_t n) const {
    if (in_bytes_ == 4) {
      table_.gather_strided_32(reinterpret_cast<std::uint32_t*>(to),
                               reinterpret_cast<const std::uint32_t*>(from), stride, n);
      return;
    }
    for (std::int64_t i = 0; i < n; ++i) {
      std::memcpy(to + i * in_bytes_, from + i * stride * in_bytes_,
                  static_cast<std::size_t>(in_bytes_));
    }
  }

  void finish(std::byte* acc, const std::int64_t* counts, std::int64_t n, std::byte* out) const {
    if (attrs_.kind == MINIINFER_REDUCE_MEAN) {
      switch (dtype_) {
        case MINIINFER_FLOAT32:
          divide<float>(acc, counts, n);
          break;
        case MINIINFER_FLOAT64:
          divide<double>(acc, counts, n);
          break;
        case MINIINFER_INT64:
          divide<std::int64_t>(acc, counts, n);
          break;
        default:
          divide<std::uint64_t>(acc, counts, n);
      }
    }
    store_(out, acc, nullptr, nullptr, n);
  }

  miniinfer_reduce_attrs attrs_;
  ReduceShape shape_;
  std::uint32_t workers_;
  int in_;
  int out_;
  const PrimitiveTable& table_;
  int dtype_;  // of the accumulator
  std::int64_t in_bytes_;
  std::int64_t acc_bytes_;
  Primitive load_;  // null: accumulated in the input's type
  Primitive store_;
  Primitive combine_;
  RowReduction row_;
  std::uint64_t identity_;
  bool in_parts_;
};

bool wants_index(const RegionView& region) {
  const auto kind = region.attrs<miniinfer_reduce_attrs>().kind;
  return kind >= MINIINFER_REDUCE_ARGMAX ||
         (region.node().out_count > 1 && !is_absent(region.out(1)));
}

miniinfer_code support(const RegionView& region, miniinfer_choice& choice) {
  if (region.node_count() != 1)
    return refuse_region(choice, "reduce: %u nodes", region.node_count());
  const auto& attrs = region.attrs<miniinfer_reduce_attrs>();
  const miniinfer_value& in = region.in(0);
  const miniinfer_value& out = region.out(0);
  if (attrs.kind < MINIINFER_REDUCE_SUM || attrs.kind > MINIINFER_REDUCE_ARGMIN) {
    return refuse_region(choice, "reduce: kind %d", attrs.kind);
  }
  if (in.rank != out.rank || in.rank > MINIINFER_MAX_RANK) {
    return refuse_region(choice, "reduce: rank %d to rank %d", in.rank, out.rank);
  }
  if (!is_row_major(in) || !is_row_major(out))
    return refuse_region(choice, "reduce: operands are not row-major");
  const bool is_arg = attrs.kind >= MINIINFER_REDUCE_ARGMAX;
  if (out.dtype != (is_arg ? miniinfer_dtype{MINIINFER_INT64} : in.dtype)) {
    return refuse_region(choice, "reduce: from element type %d to %d", in.dtype, out.dtype);
  }
  int reduced = 0;
  for (int i = 0; i < in.rank; ++i) {
    if (attrs.window[i] < 0 || attrs.stride[i] < 1 || attrs.dilation[i] < 1) {
      return refuse_region(choice, "reduce: axis %d has window %lld, stride %lld, dilation %lld", i,
                           static_cast<long long>(attrs.window[i]),
                           static_cast<long long>(attrs.stride[i]),
                           static_cast<long long>(attrs.dilation[i]));
    }
    const bool whole = attrs.window[i] == in.dims[i] && out.dims[i] == 1;
    if (attrs.window[i] != 1) ++reduced;
    if (is_arg && attrs.window[i] != 1 && !whole) {
      return refuse_region(choice, "reduce: a window is not a whole axis for ARGMAX");
    }
  }
  if (is_arg && reduced > 1) return refuse_region(choice, "reduce: ARGMAX over %d axes", reduced);
  const int acc = in.dtype > 0 && in.dtype < kDtypes ? accumulator(in.dtype, attrs.kind) : 0;
  const PrimitiveTable& table = primitives();
  const Kind kind = kind_of(is_arg ? int{MINIINFER_REDUCE_MAX} : attrs.kind);
  if (acc == 0 || table.row[kind.row][acc] == nullptr || table.op[kind.opcode][acc] == nullptr ||
      (in.dtype == MINIINFER_BOOL && attrs.kind == MINIINFER_REDUCE_MEAN)) {
    return refuse_region(choice, "reduce: kind %d of element type %d", attrs.kind, in.dtype);
  }
  if (wants_index(region)) {
    const miniinfer_value& position = is_arg ? out : region.out(1);
    if (position.dtype != MINIINFER_INT64 || !is_row_major(position) ||
        (!is_arg && attrs.kind != MINIINFER_REDUCE_MAX)) {
      return refuse_region(choice, "reduce: positions of kind %d as element type %d", attrs.kind,
                           position.dtype);
    }
  }
  double combined = static_cast<double>(element_count(out));
  for (int i = 0; i < in.rank; ++i) combined *= static_cast<double>(attrs.window[i]);
  choice.workspace_bytes =
      std::max<std::uint64_t>(kReduceScratchBytes, pool_scratch_bytes(region)) * worker_count();
  choice.cost_ns = static_cast<std::uint64_t>(100 + combined * (wants_index(region) ? 1 : 0.15));
  choice.flags = MINIINFER_CHOICE_DETERMINISTIC;
  return MINIINFER_OK;
}

std::unique_ptr<Kernel> create(const RegionView& region) {
  if (wants_index(region)) return make_reduce_index(region);
  if (pool_scratch_bytes(region) > 0) return make_pool(region);
  return std::make_unique<Reduce>(region);
}

}  // namespace

const Family kReduce = {MINIINFER_REDUCE, sizeof(miniinfer_reduce_attrs), support, create};

}  // namespace miniinfer::cpu
