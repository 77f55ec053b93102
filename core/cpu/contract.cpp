// contract/1: batched matrix products.

#include "miniinfer/abi/op/contract.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <type_traits>

#include "core/cpu/epilogue.hpp"
#include "core/cpu/gemm_driver.hpp"
#include "core/cpu/parallel.hpp"
#include "core/cpu/primitives.hpp"
#include "core/cpu/rows.hpp"

namespace miniinfer::cpu {
namespace {

// The product's batches and how each operand walks through them, in elements.
struct ContractShape {
  explicit ContractShape(const RegionView& region) {
    const auto& attrs = region.attrs<miniinfer_contract_attrs>();
    const miniinfer_value& va = region.in(0);
    const miniinfer_value& vb = region.in(1);
    const miniinfer_value& vc = region.out(0);
    const int row = vc.rank - 2, column = vc.rank - 1;
    const int a_inner = attrs.transpose_a ? row : column,
              b_inner = attrs.transpose_b ? column : row;
    plan.m = vc.dims[row];
    plan.n = vc.dims[column];
    plan.k = va.dims[a_inner];
    a_row = va.strides[row + column - a_inner];
    a_step = va.strides[a_inner];
    b_column = plan.n == 1 ? 1 : vb.strides[row + column - b_inner];
    b_step = vb.strides[b_inner];
    c_row = vc.strides[row];
    axes = row;
    b_shared = true;
    for (int i = 0; i < axes; ++i) {
      dims[i] = vc.dims[i];
      batches *= vc.dims[i];
      a_stride[i] = va.dims[i] == 1 ? 0 : va.strides[i];
      b_stride[i] = vb.dims[i] == 1 ? 0 : vb.strides[i];
      c_stride[i] = vc.strides[i];
      b_shared &= vb.dims[i] == 1;
    }
    if (b_shared) join_batches(va);
  }

  // One b for all batches of rows that follow each other: a single, taller product.
  void join_batches(const miniinfer_value& va) {
    std::int64_t rows = plan.m, row_a = a_row, row_c = c_row;
    for (int i = axes - 1; i >= 0; --i) {
      if (dims[i] == 1) continue;
      if (rows == 1) row_a = a_stride[i], row_c = c_stride[i];
      if (va.dims[i] != dims[i] || a_stride[i] != rows * row_a || c_stride[i] != rows * row_c) {
        return;
      }
      rows *= dims[i];
    }
    plan.m = rows;
    a_row = row_a;
    c_row = row_c;
    batches = 1;
    axes = 0;
  }

  struct Offsets {
    std::int64_t a = 0, b = 0, c = 0;
  };
  Offsets offsets(std::int64_t batch) const {
    Offsets at;
    for (int i = axes - 1; i >= 0; --i) {
      const std::int64_t place = batch % dims[i];
      batch /= dims[i];
      at.a += place * a_stride[i];
      at.b += place * b_stride[i];
      at.c += place * c_stride[i];
    }
    return at;
  }

  GemmPlan plan;
  std::int64_t batches = 1;
  bool b_shared = false;
  std::int64_t a_row, a_step, b_column, b_step, c_row;
  int axes = 0;
  std::array<std::int64_t, MINIINFER_MAX_RANK> dims{}, a_stride{}, b_stride{}, c_stride{};
};

// Whether the elements are all there, in some order of the axes.
bool is_gapless(const miniinfer_value& v) {
  std::int64_t stride = 1;
  std::array<bool, MINIINFER_MAX_RANK> met{};
  for (int i = 0; i < v.rank; ++i) {
    int next = -1;
    for (int axis = v.rank - 1; axis >= 0 && next < 0; --axis) {
      if (!met[axis] && (v.dims[axis] == 1 || v.strides[axis] == stride)) next = axis;
    }
    if (next < 0) return element_count(v) == 0;
    met[next] = true;
    stride *= v.dims[next];
  }
  return v.block <= 1;
}

bool is_narrow(int dtype) { return dtype == MINIINFER_FLOAT16 || dtype == MINIINFER_BFLOAT16; }

constexpr double kFlopsPerNs = 60;

// Where the pieces of the workspace begin, in bytes.
struct ContractSpace {
  ContractSpace(const RegionView& region, const ContractShape& shape, const GemmTable& table,
                std::uint32_t workers) {
    const GemmPlan& plan = shape.plan;
    const bool narrow = is_narrow(region.in(0).dtype);
    b_constant = (region.in(1).flags & MINIINFER_VALUE_CONSTANT) != 0 && shape.b_shared;
    by_batch = shape.batches > 1;
    // A single panel of rows meets each element of b once: packing it would double the work.
    pack_b = !b_constant && !(plan.m <= table.mr && shape.b_column == 1);
    pack_a = plan.n > 2 * table.nr && plan.m > table.mr;
    std::uint64_t at = 0;
    const auto take = [&](std::uint64_t floats) {
      const std::uint64_t begin = at;
      at += align64(floats * 4);
      return begin;
    };
    if (narrow) {
      const auto count = [](const miniinfer_value& v) {
        return static_cast<std::uint64_t>(element_count(v));
      };
      wide_a = take(count(region.in(0)));
      wide_b = b_constant ? 0 : take(count(region.in(1)));
      wide_c = take(count(region.out(0)));
    }
    scratch = at;
    packed_b = align64((pack_a ? plan.packed_a_floats(table) : 0) * 4);
    tail_b = packed_b + align64((pack_b ? plan.packed_b_floats(table) : 0) * 4);
    // The last columns, padded to whole vectors, of a b that is read where it lies.
    const bool has_tail = !b_constant && !pack_b && plan.n % table.nr != 0;
    scratch_each =
        tail_b + align64((has_tail ? static_cast<std::uint64_t>(table.nr * plan.k) : 0) * 4);
    epilogue = scratch + scratch_each * (by_batch ? workers : 1);
  }
  bool b_constant, by_batch, pack_a, pack_b;
  std::uint64_t wide_a = 0, wide_b = 0, wide_c = 0;
  std::uint64_t scratch, packed_b, tail_b, scratch_each, epilogue;
};

class ContractFloat final : public Kernel {
 public:
  explicit ContractFloat(const RegionView& region)
      : table_(gemm()),
        workers_(worker_count()),
        shape_(region),
        space_(region, shape_, table_, workers_),
        epilogue_(region),
        dtype_(region.in(0).dtype),
        a_count_(element_count(region.in(0))),
        b_count_(element_count(region.in(1))),
        a_(region.arg_in(0)),
        b_(region.arg_in(1)) {
    const GemmPlan& plan = shape_.plan;
    mp_ = plan.row_panels(table_);
    np_ = plan.column_panels(table_);
    // About 240 by 256 elements a tile; smaller where that leaves a worker without one.
    tile_m_ = std::clamp<std::int64_t>(mp_, 1, 240 / table_.mr);
    tile_n_ = std::clamp<std::int64_t>(np_, 1, 256 / table_.nr);
    const auto tiles = [&] {
      return ((mp_ + tile_m_ - 1) / tile_m_) * ((np_ + tile_n_ - 1) / tile_n_);
    };
    while (workers_ > 1 && tiles() < 4 * workers_ && (tile_m_ > 2 || tile_n_ > 2)) {
      const bool tall = tile_m_ * table_.mr > tile_n_ * table_.nr;
      (tile_n_ <= 2 || (tall && tile_m_ > 2) ? tile_m_ : tile_n_) -= 1;
    }
  }

  miniinfer_code packed(std::uint32_t operand, miniinfer_packed& out) const noexcept override {
    out.bytes = 0;
    if (static_cast<int>(operand) != b_ || !space_.b_constant) return MINIINFER_OK;
    out.bytes = std::max<std::uint64_t>(64, shape_.plan.packed_b_floats(table_) * 4);
    out.alignment = 64;
    std::snprintf(out.key, sizeof out.key, "cpu.columns%d%s", table_.nr,
                  shape_.b_column == 1 ? "" : ".t");
    return MINIINFER_OK;
  }

  miniinfer_code pack(std::uint32_t, const std::byte* src, std::byte* dst) const noexcept override {
    const auto* b = reinterpret_cast<const float*>(src);
    std::unique_ptr<float[]> wide;
    if (is_narrow(dtype_)) {
      wide.reset(new (std::nothrow) float[static_cast<std::size_t>(b_count_)]);
      if (wide == nullptr) {
        return fail(MINIINFER_OUT_OF_MEMORY, "packing %lld elements of contract's b: out of memory",
                    static_cast<long long>(b_count_));
      }
      primitives().cast[dtype_][MINIINFER_FLOAT32](wide.get(), src, nullptr, nullptr, b_count_);
      b = wide.get();
    }
    pack_columns(table_, shape_.plan, reinterpret_cast<float*>(dst), b, shape_.b_column,
                 shape_.b_step, 0, np_);
    return MINIINFER_OK;
  }

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    std::byte* workspace = address(run.workspace);
    const auto floats = [](std::byte* p) { return reinterpret_cast<float*>(p); };
    const float* a = floats(address(run.args[a_]));
    const float* b = floats(address(run.args[b_]));
    std::byte* out = address(run.args[epilogue_.target()]);
    float* c = floats(out);
    const bool narrow = is_narrow(dtype_);
    const std::int64_t c_count = shape_.batches * shape_.plan.m * shape_.plan.n;
    if (narrow) {
      const Primitive widen = primitives().cast[dtype_][MINIINFER_FLOAT32];
      widen(workspace + space_.wide_a, a, nullptr, nullptr, a_count_);
      a = floats(workspace + space_.wide_a);
      if (!space_.b_constant) {
        widen(workspace + space_.wide_b, b, nullptr, nullptr, b_count_);
        b = floats(workspace + space_.wide_b);
      }
      c = floats(workspace + space_.wide_c);
    }
    Epilogue::Operands operands;
    if (epilogue_.has_loop()) epilogue_.bind(run, &operands);
    const Job job{run, operands, workspace + space_.epilogue, a, b, c};
    if (space_.by_batch) {
      const double cost = 2.0 * static_cast<double>(shape_.plan.m * shape_.plan.n) *
                              static_cast<double>(shape_.plan.k) / kFlopsPerNs +
                          50;
      parallel(shape_.batches, cost, workers_,
               [&](std::int64_t begin, std::int64_t end, std::uint32_t worker) {
                 std::byte* scratch = workspace + space_.scratch + worker * space_.scratch_each;
                 for (std::int64_t i = begin; i < end; ++i) product(job, i, scratch, 1, worker);
               });
    } else if (shape_.batches == 1) {
      product(job, 0, workspace + space_.scratch, workers_, 0);
    }
    if (narrow) {
      primitives().cast[MINIINFER_FLOAT32][dtype_](out, c, nullptr, nullptr, c_count);
    }
    return MINIINFER_OK;
  }

 private:
  struct Job {
    const miniinfer_run& run;
    const Epilogue::Operands& operands;
    std::byte* epilogue_scratch;
    const float* a;
    const float* b;
    float* c;
  };

  void product(const Job& job, std::int64_t batch, std::byte* scratch, std::uint32_t workers,
               std::uint32_t worker) const noexcept {
    const GemmPlan& plan = shape_.plan;
    if (plan.m == 0 || plan.n == 0) return;
    const ContractShape::Offsets at = shape_.offsets(batch);
    GemmOperands x;
    x.a = job.a + at.a;
    x.a_row = shape_.a_row;
    x.a_step = shape_.a_step;
    x.a_packed = space_.pack_a;
    x.b = space_.b_constant ? job.b : job.b + at.b;
    x.b_packed = space_.b_constant || space_.pack_b;
    x.b_step = shape_.b_step;
    x.c = job.c + at.c;
    x.c_row = shape_.c_row;
    x.bias = nullptr;
    x.clamp = epilogue_.is_clamp();
    x.low = epilogue_.low();
    x.high = epilogue_.high();
    const double depth = static_cast<double>(plan.k);
    if (space_.pack_a) {
      auto* to = reinterpret_cast<float*>(scratch);
      parallel(mp_, depth * table_.mr * 0.4, workers,
               [&, from = x.a](std::int64_t begin, std::int64_t end, std::uint32_t) {
                 pack_rows(table_, plan, to, from, shape_.a_row, shape_.a_step, begin, end);
               });
      x.a = to;
    }
    if (space_.pack_b) {
      auto* to = reinterpret_cast<float*>(scratch + space_.packed_b);
      parallel(np_, depth * table_.nr * 0.3, workers,
               [&, from = x.b](std::int64_t begin, std::int64_t end, std::uint32_t) {
                 pack_columns(table_, plan, to, from, shape_.b_column, shape_.b_step, begin, end);
               });
      x.b = to;
    }
    const std::int64_t whole = x.b_packed ? np_ : plan.n / table_.nr;
    auto* tail = reinterpret_cast<float*>(scratch + space_.tail_b);
    if (whole < np_) {
      const std::int64_t column = whole * table_.nr;
      table_.pack(tail, x.b + column, 1, shape_.b_step, plan.k,
                  static_cast<std::int32_t>(plan.n - column), table_.nr);
    }
    const std::int64_t tm = (mp_ + tile_m_ - 1) / tile_m_;
    const std::int64_t tn = (np_ + tile_n_ - 1) / tile_n_;
    const double cost = 2.0 * depth * static_cast<double>(tile_m_ * table_.mr) *
                            static_cast<double>(tile_n_ * table_.nr) / kFlopsPerNs +
                        30;
    parallel(tm * tn, cost, workers,
             [&](std::int64_t begin, std::int64_t end, std::uint32_t inner) {
               for (std::int64_t i = begin; i < end; ++i) {
                 const std::int64_t m0 = i % tm * tile_m_, m1 = std::min(mp_, m0 + tile_m_);
                 const std::int64_t n0 = i / tm * tile_n_, n1 = std::min(np_, n0 + tile_n_);
                 multiply(table_, plan, x, m0, m1, n0, std::min(n1, whole));
                 if (n1 > whole) multiply_tail(x, tail, m0, m1, whole);
                 if (epilogue_.has_loop()) {
                   finish(job, batch, m0, m1, n0, n1, workers == 1 ? worker : inner);
                 }
               }
             });
  }

  // The last columns, from their padded copy.
  void multiply_tail(GemmOperands x, const float* tail, std::int64_t m0, std::int64_t m1,
                     std::int64_t whole) const noexcept {
    GemmPlan plan = shape_.plan;
    plan.n -= whole * table_.nr;
    x.b = tail;
    x.b_packed = true;
    x.c += whole * table_.nr;
    multiply(table_, plan, x, m0, m1, 0, 1);
  }

  void finish(const Job& job, std::int64_t batch, std::int64_t m0, std::int64_t m1, std::int64_t n0,
              std::int64_t n1, std::uint32_t worker) const noexcept {
    const GemmPlan& plan = shape_.plan;
    std::byte* scratch = job.epilogue_scratch + worker * align64(epilogue_.scratch_bytes());
    const std::int64_t row0 = m0 * table_.mr, row1 = std::min(plan.m, m1 * table_.mr);
    const std::int64_t column0 = n0 * table_.nr, column1 = std::min(plan.n, n1 * table_.nr);
    const std::int64_t base = batch * plan.m * plan.n;
    if (column1 - column0 == plan.n) {
      epilogue_.apply(job.operands, base + row0 * plan.n, (row1 - row0) * plan.n, scratch, job.run);
      return;
    }
    for (std::int64_t row = row0; row < row1; ++row) {
      epilogue_.apply(job.operands, base + row * plan.n + column0, column1 - column0, scratch,
                      job.run);
    }
  }

  const GemmTable& table_;
  std::uint32_t workers_;
  ContractShape shape_;
  ContractSpace space_;
  Epilogue epilogue_;
  int dtype_;
  std::int64_t a_count_;
  std::int64_t b_count_;
  int a_;
  int b_;
  std::int64_t mp_, np_, tile_m_, tile_n_;
};

// float64, and integers that wrap.
template <class T>
class ContractPlain final : public Kernel {
  // Wide enough that no promotion to int overflows.
  using Wrap = std::conditional_t<std::is_floating_point_v<T>, T,
                                  std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>>;

 public:
  explicit ContractPlain(const RegionView& region)
      : workers_(worker_count()),
        shape_(region),
        a_(region.arg_in(0)),
        b_(region.arg_in(1)),
        c_(region.arg_out(0)) {}

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    const auto* a = reinterpret_cast<const T*>(address(run.args[a_]));
    const auto* b = reinterpret_cast<const T*>(address(run.args[b_]));
    auto* c = reinterpret_cast<T*>(address(run.args[c_]));
    const GemmPlan& plan = shape_.plan;
    const double cost = 1.0 * static_cast<double>(plan.k) * static_cast<double>(plan.n) + 5;
    parallel(shape_.batches * plan.m, cost, workers_,
             [&](std::int64_t begin, std::int64_t end, std::uint32_t) {
               for (std::int64_t i = begin; i < end; ++i) {
                 const ContractShape::Offsets at = shape_.offsets(i / plan.m);
                 const std::int64_t line = i % plan.m;
                 row(a + at.a + line * shape_.a_row, b + at.b, c + at.c + line * shape_.c_row);
               }
             });
    return MINIINFER_OK;
  }

 private:
  void row(const T* a, const T* b, T* c) const noexcept {
    const GemmPlan& plan = shape_.plan;
    if (shape_.b_column != 1) {
      for (std::int64_t j = 0; j < plan.n; ++j) {
        Wrap sum = 0;
        for (std::int64_t k = 0; k < plan.k; ++k) {
          sum += static_cast<Wrap>(a[k * shape_.a_step]) *
                 static_cast<Wrap>(b[j * shape_.b_column + k * shape_.b_step]);
        }
        c[j] = static_cast<T>(sum);
      }
      return;
    }
    std::fill(c, c + plan.n, T{0});
    for (std::int64_t k = 0; k < plan.k; ++k) {
      const auto x = static_cast<Wrap>(a[k * shape_.a_step]);
      const T* line = b + k * shape_.b_step;
      for (std::int64_t j = 0; j < plan.n; ++j) {
        c[j] = static_cast<T>(static_cast<Wrap>(c[j]) + x * static_cast<Wrap>(line[j]));
      }
    }
  }

  std::uint32_t workers_;
  ContractShape shape_;
  int a_, b_, c_;
};

template <class T>
std::unique_ptr<Kernel> make_plain(const RegionView& region) {
  return std::make_unique<ContractPlain<T>>(region);
}
std::unique_ptr<Kernel> make_float(const RegionView& region) {
  return std::make_unique<ContractFloat>(region);
}

using Make = std::unique_ptr<Kernel> (*)(const RegionView&);
Make maker(int dtype) {
  switch (dtype) {
    case MINIINFER_FLOAT32:
    case MINIINFER_FLOAT16:
    case MINIINFER_BFLOAT16:
      return make_float;
    case MINIINFER_FLOAT64:
      return make_plain<double>;
    case MINIINFER_INT8:  // what wraps is the same with a sign and without
    case MINIINFER_UINT8:
      return make_plain<std::uint8_t>;
    case MINIINFER_INT16:
    case MINIINFER_UINT16:
      return make_plain<std::uint16_t>;
    case MINIINFER_INT32:
    case MINIINFER_UINT32:
      return make_plain<std::uint32_t>;
    case MINIINFER_INT64:
    case MINIINFER_UINT64:
      return make_plain<std::uint64_t>;
    default:
      return nullptr;
  }
}

// Operands are read through strides, but for a constant b, and rows are written as they are.
bool is_laid_out(const miniinfer_value& a, const miniinfer_value& b, const miniinfer_value& c) {
  const bool b_fits = (b.flags & MINIINFER_VALUE_CONSTANT) != 0 ? is_row_major(b) : is_gapless(b);
  const int column = c.rank - 1;
  return is_gapless(a) && b_fits && is_gapless(c) &&
         (c.dims[column] == 1 || c.strides[column] == 1);
}

miniinfer_code support(const RegionView& region, miniinfer_choice& choice) {
  const miniinfer_value& a = region.in(0);
  const miniinfer_value& b = region.in(1);
  const miniinfer_value& c = region.out(0);
  if (maker(a.dtype) == nullptr || a.dtype != b.dtype || a.dtype != c.dtype || a.rank < 2 ||
      a.rank != b.rank || a.rank != c.rank || !is_laid_out(a, b, c)) {
    std::snprintf(choice.reason, sizeof choice.reason,
                  "contract: element types %d, %d, %d of ranks %d, %d, %d: one number type, one "
                  "rank of at least 2, operands without gaps and whole rows of the output are "
                  "served",
                  a.dtype, b.dtype, c.dtype, a.rank, b.rank, c.rank);
    return MINIINFER_UNSUPPORTED;
  }
  const std::uint32_t workers = worker_count();
  const ContractShape shape(region);
  const bool is_float = maker(a.dtype) == make_float;
  choice.workspace_bytes = is_float ? ContractSpace(region, shape, gemm(), workers).epilogue : 0;
  if (!Epilogue::support(region, workers, choice)) return MINIINFER_UNSUPPORTED;
  const double flops = 2.0 * static_cast<double>(shape.batches * shape.plan.m * shape.plan.n) *
                       static_cast<double>(shape.plan.k);
  choice.cost_ns =
      static_cast<std::uint64_t>(50 + flops / ((is_float ? kFlopsPerNs : 1) * workers));
  choice.flags = MINIINFER_CHOICE_DETERMINISTIC;
  return MINIINFER_OK;
}

std::unique_ptr<Kernel> create(const RegionView& region) {
  return maker(region.in(0).dtype)(region);
}

}  // namespace

const Family kContract = {MINIINFER_CONTRACT, sizeof(miniinfer_contract_attrs), support, create};

}  // namespace miniinfer::cpu
