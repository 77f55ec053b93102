#pragma once

// reduce/1: abi/op/reduce.h.

#include <array>
#include <cmath>
#include <limits>

#include "miniinfer/abi/op/reduce.h"
#include "miniinfer/sdk/reference/number.hpp"
#include "miniinfer/sdk/reference/operation.hpp"

namespace miniinfer::sdk::reference {

class Reduce final : public Operation {
 public:
  Reduce(const Region& region, std::uint32_t node)
      : attrs_(region.attrs<miniinfer_reduce_attrs>(node)),
        in_(make_operand(region.in(0, node))),
        out_(make_operand(region.out(0, node))) {
    if (region.out_count(node) > 1) position_ = make_operand(region.out(1, node));
    if (!is_numeric(static_cast<std::uint32_t>(in_.dtype))) {
      fail(MINIINFER_UNSUPPORTED, "reduce of %s is not implemented", dtype_name(in_.dtype));
    }
    if (attrs_.kind < MINIINFER_REDUCE_SUM || attrs_.kind > MINIINFER_REDUCE_ARGMIN) {
      fail(MINIINFER_UNSUPPORTED, "reduce kind %d is not known", attrs_.kind);
    }
    if (in_.rank() != out_.rank() || in_.rank() > MINIINFER_MAX_RANK) {
      fail(MINIINFER_INVALID_ARGUMENT, "reduce of rank %zu to rank %zu", in_.rank(), out_.rank());
    }
    if (region.out_count(node) > 1 && !position_.absent && position_.dtype != MINIINFER_INT64) {
      fail(MINIINFER_INVALID_ARGUMENT, "reduce gives positions as int64, not %s",
           dtype_name(position_.dtype));
    }
    if (out_.dtype != (is_arg() ? MINIINFER_INT64 : in_.dtype)) {
      fail(MINIINFER_INVALID_ARGUMENT, "reduce of %s to %s", dtype_name(in_.dtype),
           dtype_name(out_.dtype));
    }
  }

  void run(std::span<const std::byte* const> in, std::span<std::byte* const> out,
           const FaultSink&) const override {
    with_type(in_.dtype, [&](auto type) {
      using S = typename decltype(type)::Stored;
      for_each_index(out_.dims, [&](Index index) {
        if (attrs_.kind == MINIINFER_REDUCE_SUM || attrs_.kind == MINIINFER_REDUCE_MEAN ||
            attrs_.kind == MINIINFER_REDUCE_PROD) {
          combine<S>(in[0], out[0] + out_.offset(index), index);
          return;
        }
        const Found<S> found = search<S>(in[0], index);
        if (is_arg()) {
          store<std::int64_t>(out[0] + out_.offset(index), found.along_axis);
        } else {
          store<S>(out[0] + out_.offset(index), found.value);
        }
        if (out.size() > 1 && out[1] != nullptr) {
          store<std::int64_t>(out[1] + position_.offset(index), found.flat);
        }
      });
    });
  }

 private:
  template <class S>
  struct Found {
    Compute<S> value;
    std::int64_t flat = -1;  // no position at all
    std::int64_t along_axis = 0;
  };

  bool is_arg() const { return attrs_.kind >= MINIINFER_REDUCE_ARGMAX; }
  bool is_max() const {
    return attrs_.kind == MINIINFER_REDUCE_MAX || attrs_.kind == MINIINFER_REDUCE_ARGMAX;
  }

  // Calls f(input position, whether it is inside the input) for the window of an output element.
  template <class F>
  void for_each_in_window(Index out_index, F&& f) const {
    std::array<std::int64_t, MINIINFER_MAX_RANK> at{};
    for_each_index(Index(attrs_.window, in_.rank()), [&](Index k) {
      bool inside = true;
      for (std::size_t axis = 0; axis < in_.rank(); ++axis) {
        at[axis] = out_index[axis] * attrs_.stride[axis] + k[axis] * attrs_.dilation[axis] -
                   attrs_.pad_begin[axis];
        inside = inside && at[axis] >= 0 && at[axis] < in_.dims[axis];
      }
      f(Index(at.data(), in_.rank()), inside);
    });
  }

  bool is_padding(Index at) const {
    for (std::size_t axis = 0; axis < in_.rank(); ++axis) {
      if (at[axis] < -attrs_.pad_begin[axis] || at[axis] >= in_.dims[axis] + attrs_.pad_end[axis]) {
        return false;
      }
    }
    return true;
  }

  template <class S>
  void combine(const std::byte* in, std::byte* out, Index index) const {
    Accumulator<S> total = attrs_.kind == MINIINFER_REDUCE_PROD ? 1 : 0;
    std::int64_t count = 0;
    for_each_in_window(index, [&](Index at, bool inside) {
      if (inside || (attrs_.count_pad != 0 && is_padding(at))) ++count;
      if (!inside) return;
      const auto value = static_cast<Accumulator<S>>(load<S>(in + in_.offset(at)));
      total = attrs_.kind == MINIINFER_REDUCE_PROD ? total * value : total + value;
    });
    if (attrs_.kind != MINIINFER_REDUCE_MEAN) {
      store<S>(out, total);
    } else if constexpr (kIsFloat<S>) {
      store<S>(out, total / static_cast<double>(count));  // 0 / 0 is NaN
    } else if constexpr (std::is_signed_v<Compute<S>>) {
      store<S>(out, count == 0 ? 0 : static_cast<std::int64_t>(total) / count);
    } else {
      store<S>(out, count == 0 ? 0 : total / static_cast<std::uint64_t>(count));
    }
  }

  template <class S>
  static Compute<S> identity(bool lowest) {
    using Limits = std::numeric_limits<Compute<S>>;
    if constexpr (kIsFloat<S>) return lowest ? -Limits::infinity() : Limits::infinity();
    if constexpr (std::is_same_v<S, Bool>) return lowest ? 0 : 1;
    return lowest ? Limits::lowest() : Limits::max();
  }

  // The largest or smallest element; a NaN is both.
  template <class S>
  Found<S> search(const std::byte* in, Index index) const {
    Found<S> best{identity<S>(is_max())};
    for_each_in_window(index, [&](Index at, bool inside) {
      if (!inside) return;
      const auto value = load<S>(in + in_.offset(at));
      const bool tie = value == best.value || (value != value && best.value != best.value);
      const bool better = best.value == best.value &&
                          (value != value || (is_max() ? value > best.value : value < best.value));
      if (best.flat < 0 || better || (tie && attrs_.select_last != 0)) {
        best = {value, flatten(at), along_axis(at)};
      }
    });
    return best;
  }

  // Row-major; or with the axes from 2 on (the spatial ones) column-major.
  std::int64_t flatten(Index at) const {
    const std::size_t rank = in_.rank();
    const std::size_t straight =
        attrs_.index_column_major != 0 ? std::min<std::size_t>(rank, 2) : rank;
    std::int64_t flat = 0;
    for (std::size_t axis = 0; axis < straight; ++axis) flat = flat * in_.dims[axis] + at[axis];
    for (std::size_t axis = straight; axis < rank; ++axis) flat *= in_.dims[axis];
    std::int64_t step = 1;
    for (std::size_t axis = straight; axis < rank; ++axis) {
      flat += at[axis] * step;
      step *= in_.dims[axis];
    }
    return flat;
  }

  // ARGMAX and ARGMIN reduce one axis: the one with a window.
  std::int64_t along_axis(Index at) const {
    for (std::size_t axis = 0; axis < in_.rank(); ++axis) {
      if (attrs_.window[axis] > 1) return at[axis];
    }
    return 0;
  }

  miniinfer_reduce_attrs attrs_;
  Operand in_;
  Operand out_;
  Operand position_;
};

}  // namespace miniinfer::sdk::reference
