#pragma once

// attention/1: abi/op/attention.h.

#include <cmath>
#include <limits>
#include <vector>

#include "miniinfer/abi/op/attention.h"
#include "miniinfer/sdk/reference/number.hpp"
#include "miniinfer/sdk/reference/operation.hpp"

namespace miniinfer::sdk::reference {

class Attention final : public Operation {
 public:
  Attention(const Region& region, std::uint32_t node)
      : attrs_(region.attrs<miniinfer_attention_attrs>(node)),
        q_(make_operand(region.in(0, node))),
        k_(make_operand(region.in(1, node))),
        v_(make_operand(region.in(2, node))),
        y_(make_operand(region.out(0, node))) {
    if (region.in_count(node) > 3) mask_ = make_operand(region.in(3, node));
    bool one_float =
        with_type(q_.dtype, [](auto type) { return kIsFloat<typename decltype(type)::Stored>; });
    bool fits = true;
    for (const Operand* operand : {&k_, &v_, &y_, &mask_}) {
      if (operand->absent) continue;
      one_float = one_float && operand->dtype == q_.dtype;
      fits = fits && operand->rank() == 4 && q_.rank() == 4;
    }
    if (!one_float) {
      fail(MINIINFER_UNSUPPORTED, "attention of %s, %s and %s to %s: one float type",
           dtype_name(q_.dtype), dtype_name(k_.dtype), dtype_name(v_.dtype), dtype_name(y_.dtype));
    }
    if (!fits) fail(MINIINFER_INVALID_ARGUMENT, "attention of operands that are not of rank 4");
    const auto agree = [&](std::int64_t a, std::int64_t b) { fits = fits && a == b && a > 0; };
    for (const Operand* operand : {&k_, &v_, &y_}) agree(operand->dims[0], q_.dims[0]);
    agree(k_.dims[3], q_.dims[3]);
    agree(v_.dims[1], k_.dims[1]);
    agree(v_.dims[2], k_.dims[2]);
    agree(y_.dims[1], q_.dims[1]);
    agree(y_.dims[2], q_.dims[2]);
    agree(y_.dims[3], v_.dims[3]);
    fits = fits && q_.dims[1] % k_.dims[1] == 0;
    for (std::size_t axis = 0; axis < 4 && !mask_.absent && fits; ++axis) {
      fits = mask_.dims[axis] == 1 ||
             mask_.dims[axis] == (axis < 3 ? y_ : v_).dims[axis < 3 ? axis : 2];
      if (mask_.dims[axis] == 1) mask_.strides[axis] = 0;
    }
    if (!fits) fail(MINIINFER_INVALID_ARGUMENT, "attention of shapes that do not fit");
  }

  void run(std::span<const std::byte* const> in, std::span<std::byte* const> out,
           const FaultSink&) const override {
    with_type(y_.dtype, [&](auto type) {
      using S = typename decltype(type)::Stored;
      if constexpr (kIsFloat<S>) {
        for_each_index(Index(y_.dims).first(3), [&](Index at) { row<S>(in, out[0], at); });
      }
    });
  }

 private:
  template <class S>
  void row(std::span<const std::byte* const> in, std::byte* out, Index at) const {
    const std::int64_t group = at[1] / (q_.dims[1] / k_.dims[1]);
    const std::int64_t keys =
        (attrs_.flags & MINIINFER_ATTENTION_CAUSAL) == 0
            ? k_.dims[2]
            : std::clamp<std::int64_t>(at[2] + attrs_.past + 1, 0, k_.dims[2]);
    std::vector<double> p(static_cast<std::size_t>(keys));
    double most = -std::numeric_limits<double>::infinity();
    for (std::int64_t j = 0; j < keys; ++j) {
      double score = 0;
      for (std::int64_t d = 0; d < q_.dims[3]; ++d) {
        score += element<S>(in[0], q_, at[0], at[1], at[2], d) *
                 element<S>(in[1], k_, at[0], group, j, d);
      }
      score *= static_cast<double>(attrs_.scale);
      if (!mask_.absent) score += element<S>(in[3], mask_, at[0], at[1], at[2], j);
      most = std::fmax(most, score);
      p[static_cast<std::size_t>(j)] = score;
    }
    double sum = 0;
    for (double& x : p) sum += x = std::exp(x - most);
    const bool zero = (attrs_.flags & MINIINFER_ATTENTION_NAN_TO_ZERO) != 0 && !(sum > 0);
    for (std::int64_t d = 0; d < y_.dims[3]; ++d) {
      double y = 0;
      for (std::int64_t j = 0; j < keys && !zero; ++j) {
        y += p[static_cast<std::size_t>(j)] / sum * element<S>(in[2], v_, at[0], group, j, d);
      }
      if (keys == 0 && !zero) y = std::numeric_limits<double>::quiet_NaN();
      const std::int64_t place[] = {at[0], at[1], at[2], d};
      store<S>(out + y_.offset(place), y);
    }
  }

  template <class S>
  static double element(const std::byte* base, const Operand& operand, std::int64_t a,
                        std::int64_t b, std::int64_t c, std::int64_t d) {
    const std::int64_t place[] = {a, b, c, d};
    return static_cast<double>(load<S>(base + operand.offset(place)));
  }

  static Operand left_out() {
    Operand operand;
    operand.absent = true;
    return operand;
  }

  miniinfer_attention_attrs attrs_;
  Operand q_, k_, v_, y_;
  Operand mask_ = left_out();
};

}  // namespace miniinfer::sdk::reference
