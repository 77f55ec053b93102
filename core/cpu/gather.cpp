// gather/1 and scatter/1. All modes are one walk: an index position names a place in the data, from
// where a run of elements is copied, or where one is combined.

#include "miniinfer/abi/op/gather.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <type_traits>

#include "core/base/float16.hpp"
#include "core/cpu/parallel.hpp"
#include "core/cpu/rows.hpp"

namespace miniinfer::cpu {
namespace {

// How indices lead to places. Position p of [0, positions) has `depth` indices; each moves by its
// stride along its axis, from the place that p's own coordinates give.
struct IndexWalk {
  // `data` and `indices` of the node; mode, axis and batch_dims of its attributes.
  IndexWalk(const miniinfer_value& data, const miniinfer_value& indices, int mode, int axis_of,
            int batch_dims)
      : mode(mode) {
    const auto data_dims = dims(data);
    const auto index_dims = dims(indices);
    wide = indices.dtype == MINIINFER_INT64;
    const auto rank = static_cast<std::size_t>(data.rank);
    const auto axis = static_cast<std::size_t>(axis_of);
    if (mode == MINIINFER_GATHER_AXIS) {
      outer = product(data_dims, 0, axis);
      size[0] = data_dims[axis];
      run = product(data_dims, axis + 1, rank);
      stride[0] = run;
      positions = product(index_dims, 0, index_dims.size());
      return;
    }
    if (mode == MINIINFER_GATHER_ELEMENTS) {
      outer = product(index_dims, 0, axis);
      length = index_dims[axis];
      inner = product(index_dims, axis + 1, rank);
      size[0] = data_dims[axis];
      stride[0] = product(data_dims, axis + 1, rank);
      positions = outer * length * inner;
      this->rank = static_cast<int>(rank);
      this->axis = axis_of;
      for (std::size_t i = 0; i < rank; ++i) {
        dims_of_index[i] = index_dims[i];
        data_stride[i] = product(data_dims, i + 1, rank);
      }
      return;
    }
    const auto batches = static_cast<std::size_t>(batch_dims);
    depth = static_cast<int>(index_dims.back());
    positions = product(index_dims, 0, index_dims.size() - 1);
    const std::int64_t batch_count = product(data_dims, 0, batches);
    per_batch = batch_count == 0 ? 1 : std::max<std::int64_t>(1, positions / batch_count);
    batch_stride = product(data_dims, batches, rank);
    for (int i = 0; i < depth; ++i) {
      size[i] = data_dims[batches + static_cast<std::size_t>(i)];
      stride[i] = product(data_dims, batches + static_cast<std::size_t>(i) + 1, rank);
    }
    run = product(data_dims, batches + static_cast<std::size_t>(depth), rank);
  }

  std::int64_t index(const std::byte* indices, std::int64_t i) const {
    if (wide) return reinterpret_cast<const std::int64_t*>(indices)[i];
    return reinterpret_cast<const std::int32_t*>(indices)[i];
  }

  // Where position p's own coordinates lead, without its indices.
  std::int64_t base(std::int64_t p) const {
    if (mode == MINIINFER_GATHER_AXIS) return 0;
    if (mode == MINIINFER_GATHER_ND) return p / per_batch * batch_stride;
    std::int64_t at = 0;
    for (int i = rank - 1; i >= 0; --i) {
      const std::int64_t coordinate = p % dims_of_index[i];
      p /= dims_of_index[i];
      if (i != axis) at += coordinate * data_stride[i];
    }
    return at;
  }

  // The place of position p, or -1 after a fault.
  std::int64_t place(const std::byte* indices, std::int64_t p, const miniinfer_run& run_of) const {
    std::int64_t at = base(p);
    for (int i = 0; i < depth; ++i) {
      const std::int64_t given = index(indices, p * depth + i);
      const std::int64_t used = given < 0 ? given + size[i] : given;
      if (used < 0 || used >= size[i]) {
        report_fault(run_of, MINIINFER_FAULT_INDEX, given, size[i]);
        return -1;
      }
      at += used * stride[i];
    }
    return at;
  }

  int mode;
  bool wide;
  int depth = 1;
  std::int64_t positions = 0;
  std::int64_t run = 1;    // elements at a place
  std::int64_t outer = 1;  // AXIS: how often all positions are walked
  std::array<std::int64_t, MINIINFER_MAX_RANK> size{}, stride{};
  std::int64_t per_batch = 1, batch_stride = 0;  // ND
  std::int64_t length = 1, inner = 1;            // ELEMENTS
  int rank = 0, axis = 0;
  std::array<std::int64_t, MINIINFER_MAX_RANK> dims_of_index{}, data_stride{};
};

class Gather final : public Kernel {
 public:
  explicit Gather(const RegionView& region)
      : walk_(region.in(0), region.in(1), region.attrs<miniinfer_gather_attrs>().mode,
              region.attrs<miniinfer_gather_attrs>().axis,
              region.attrs<miniinfer_gather_attrs>().batch_dims),
        workers_(worker_count()),
        bytes_(static_cast<std::int64_t>(element_bytes(region.in(0).dtype))),
        data_(region.arg_in(0)),
        indices_(region.arg_in(1)),
        out_(region.arg_out(0)) {}

  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    const std::byte* data = address(run.args[data_]);
    const std::byte* indices = address(run.args[indices_]);
    std::byte* out = address(run.args[out_]);
    const std::int64_t run_bytes = walk_.run * bytes_;
    const bool by_axis = walk_.mode == MINIINFER_GATHER_AXIS;
    const std::int64_t slab = by_axis ? walk_.size[0] * run_bytes : 0;
    const std::int64_t walks = by_axis ? walk_.outer : 1;
    const double cost = 4 + static_cast<double>(run_bytes) * 0.06;
    parallel(walks * walk_.positions, cost, workers_,
             [&](std::int64_t begin, std::int64_t end, std::uint32_t) {
               for (std::int64_t i = begin; i < end; ++i) {
                 const std::int64_t outer = i / walk_.positions;
                 const std::int64_t at = walk_.place(indices, i - outer * walk_.positions, run);
                 std::byte* to = out + i * run_bytes;
                 if (at < 0) {
                   std::memset(to, 0, static_cast<std::size_t>(run_bytes));
                   continue;
                 }
                 copy(to, data + outer * slab + at * bytes_, run_bytes);
               }
             });
    return MINIINFER_OK;
  }

 private:
  static void copy(std::byte* to, const std::byte* from, std::int64_t bytes) noexcept {
    switch (bytes) {  // a single element needs no call
      case 1:
        *to = *from;
        return;
      case 4:
        std::memcpy(to, from, 4);
        return;
      case 8:
        std::memcpy(to, from, 8);
        return;
      default:
        std::memcpy(to, from, static_cast<std::size_t>(bytes));
    }
  }

  IndexWalk walk_;
  std::uint32_t workers_;
  std::int64_t bytes_;
  int data_, indices_, out_;
};

// What scatter does to one element.
using Combine = void (*)(std::byte* element, const std::byte* update);

template <class T>
struct Plain {
  static T load(const std::byte* p) {
    T x;
    std::memcpy(&x, p, sizeof x);
    return x;
  }
  static void store(std::byte* p, T x) { std::memcpy(p, &x, sizeof x); }
};
template <float (*widen)(std::uint16_t), std::uint16_t (*narrow)(float)>
struct Narrow {
  static float load(const std::byte* p) { return widen(Plain<std::uint16_t>::load(p)); }
  static void store(std::byte* p, float x) { Plain<std::uint16_t>::store(p, narrow(x)); }
};

template <class Type, int how>
void combine(std::byte* element, const std::byte* update) {
  const auto a = Type::load(element);
  const auto b = Type::load(update);
  using T = std::remove_const_t<decltype(a)>;
  using Wrap = std::conditional_t<std::is_floating_point_v<T>, T,
                                  std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>>;
  T result = b;
  if constexpr (how == MINIINFER_SCATTER_ADD) {
    result = static_cast<T>(static_cast<Wrap>(a) + static_cast<Wrap>(b));
  } else if constexpr (how == MINIINFER_SCATTER_MUL) {
    result = static_cast<T>(static_cast<Wrap>(a) * static_cast<Wrap>(b));
  } else if constexpr (how == MINIINFER_SCATTER_MAX) {
    result = a != a || a > b ? a : b;
  } else if constexpr (how == MINIINFER_SCATTER_MIN) {
    result = a != a || a < b ? a : b;
  }
  Type::store(element, result);
}

template <class Type>
Combine combine_as(int how) {
  constexpr Combine kTable[] = {
      combine<Type, MINIINFER_SCATTER_SET>, combine<Type, MINIINFER_SCATTER_ADD>,
      combine<Type, MINIINFER_SCATTER_MUL>, combine<Type, MINIINFER_SCATTER_MAX>,
      combine<Type, MINIINFER_SCATTER_MIN>};
  return kTable[how];
}

Combine find_combine(int dtype, int how) {
  switch (dtype) {
    case MINIINFER_FLOAT32:
      return combine_as<Plain<float>>(how);
    case MINIINFER_FLOAT64:
      return combine_as<Plain<double>>(how);
    case MINIINFER_FLOAT16:
      return combine_as<Narrow<float_from_half, half_from_float>>(how);
    case MINIINFER_BFLOAT16:
      return combine_as<Narrow<float_from_bfloat, bfloat_from_float>>(how);
    case MINIINFER_INT8:
      return combine_as<Plain<std::int8_t>>(how);
    case MINIINFER_INT16:
      return combine_as<Plain<std::int16_t>>(how);
    case MINIINFER_INT32:
      return combine_as<Plain<std::int32_t>>(how);
    case MINIINFER_INT64:
      return combine_as<Plain<std::int64_t>>(how);
    case MINIINFER_UINT8:
      return combine_as<Plain<std::uint8_t>>(how);
    case MINIINFER_UINT16:
      return combine_as<Plain<std::uint16_t>>(how);
    case MINIINFER_UINT32:
      return combine_as<Plain<std::uint32_t>>(how);
    case MINIINFER_UINT64:
      return combine_as<Plain<std::uint64_t>>(how);
    default:
      return nullptr;
  }
}

class Scatter final : public Kernel {
 public:
  explicit Scatter(const RegionView& region)
      : walk_(region.in(0), region.in(1), region.attrs<miniinfer_scatter_attrs>().mode,
              region.attrs<miniinfer_scatter_attrs>().axis, 0),
        bytes_(static_cast<std::int64_t>(element_bytes(region.in(0).dtype))),
        total_(element_count(region.in(0)) * bytes_),
        set_(region.attrs<miniinfer_scatter_attrs>().combine == MINIINFER_SCATTER_SET),
        combine_(set_ ? nullptr
                      : find_combine(region.in(0).dtype,
                                     region.attrs<miniinfer_scatter_attrs>().combine)),
        data_(region.arg_in(0)),
        indices_(region.arg_in(1)),
        updates_(region.arg_in(2)),
        out_(region.arg_out(0)) {}

  // One thread: updates of one element meet in their order, so equal inputs give equal bits.
  miniinfer_code run(const miniinfer_run& run) const noexcept override {
    const std::byte* data = address(run.args[data_]);
    const std::byte* indices = address(run.args[indices_]);
    const std::byte* updates = address(run.args[updates_]);
    std::byte* out = address(run.args[out_]);
    if (out != data && total_ > 0) std::memcpy(out, data, static_cast<std::size_t>(total_));
    const std::int64_t run_bytes = walk_.run * bytes_;
    for (std::int64_t p = 0; p < walk_.positions; ++p, updates += run_bytes) {
      const std::int64_t at = walk_.place(indices, p, run);
      if (at < 0) continue;
      std::byte* to = out + at * bytes_;
      if (set_) {
        std::memcpy(to, updates, static_cast<std::size_t>(run_bytes));
        continue;
      }
      for (std::int64_t i = 0; i < run_bytes; i += bytes_) combine_(to + i, updates + i);
    }
    return MINIINFER_OK;
  }

 private:
  IndexWalk walk_;
  std::int64_t bytes_, total_;
  bool set_;
  Combine combine_;
  int data_, indices_, updates_, out_;
};

miniinfer_code refuse(const RegionView& region, miniinfer_choice& choice, const char* op) {
  std::snprintf(choice.reason, sizeof choice.reason,
                "%s: %u nodes, data of element type %d, indices of type %d: one node, elements of "
                "whole bytes, int32 or int64 indices and row-major operands are served",
                op, region.node_count(), region.in(0).dtype, region.in(1).dtype);
  return MINIINFER_UNSUPPORTED;
}

bool is_served(const RegionView& region) {
  const miniinfer_value& data = region.in(0);
  const miniinfer_value& indices = region.in(1);
  const bool indexed = indices.dtype == MINIINFER_INT32 || indices.dtype == MINIINFER_INT64;
  return region.node_count() == 1 && element_bytes(data.dtype) > 0 && indexed &&
         region.out(0).dtype == data.dtype && is_row_major(data) && is_row_major(indices) &&
         is_row_major(region.out(0));
}

miniinfer_code support_gather(const RegionView& region, miniinfer_choice& choice) {
  const auto& attrs = region.attrs<miniinfer_gather_attrs>();
  if (!is_served(region) || attrs.mode < 0 || attrs.mode > MINIINFER_GATHER_ND) {
    return refuse(region, choice, "gather");
  }
  choice.cost_ns =
      static_cast<std::uint64_t>(50 + 2 * static_cast<double>(element_count(region.out(0))));
  choice.flags = MINIINFER_CHOICE_DETERMINISTIC;
  return MINIINFER_OK;
}

miniinfer_code support_scatter(const RegionView& region, miniinfer_choice& choice) {
  const auto& attrs = region.attrs<miniinfer_scatter_attrs>();
  const bool set = attrs.combine == MINIINFER_SCATTER_SET;
  if (!is_served(region) || !is_row_major(region.in(2)) ||
      (attrs.mode != MINIINFER_GATHER_ELEMENTS && attrs.mode != MINIINFER_GATHER_ND) ||
      attrs.combine < 0 || attrs.combine > MINIINFER_SCATTER_MIN ||
      (!set && find_combine(region.in(0).dtype, attrs.combine) == nullptr)) {
    return refuse(region, choice, "scatter");
  }
  choice.in_place = 1;
  choice.cost_ns =
      static_cast<std::uint64_t>(50 + static_cast<double>(element_count(region.out(0))) +
                                 4 * static_cast<double>(element_count(region.in(2))));
  choice.flags = MINIINFER_CHOICE_DETERMINISTIC;
  return MINIINFER_OK;
}

}  // namespace

const Family kGather = {MINIINFER_GATHER, sizeof(miniinfer_gather_attrs), support_gather,
                        [](const RegionView& region) -> std::unique_ptr<Kernel> {
                          return std::make_unique<Gather>(region);
                        }};
const Family kScatter = {MINIINFER_SCATTER, sizeof(miniinfer_scatter_attrs), support_scatter,
                         [](const RegionView& region) -> std::unique_ptr<Kernel> {
                           return std::make_unique<Scatter>(region);
                         }};

}  // namespace miniinfer::cpu
