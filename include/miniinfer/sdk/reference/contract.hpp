#pragma once

// contract/1: abi/op/contract.h.

#include <utility>

#include "miniinfer/abi/op/contract.h"
#include "miniinfer/sdk/reference/number.hpp"
#include "miniinfer/sdk/reference/operation.hpp"

namespace miniinfer::sdk::reference {

class Contract final : public Operation {
 public:
  Contract(const Region& region, std::uint32_t node)
      : a_(make_operand(region.in(0, node))),
        b_(make_operand(region.in(1, node))),
        out_(make_operand(region.out(0, node))) {
    if (!is_numeric(static_cast<std::uint32_t>(out_.dtype)) || a_.dtype != out_.dtype ||
        b_.dtype != out_.dtype) {
      fail(MINIINFER_UNSUPPORTED, "contract of %s and %s to %s is not implemented",
           dtype_name(a_.dtype), dtype_name(b_.dtype), dtype_name(out_.dtype));
    }
    const std::size_t rank = out_.rank();
    if (rank < 2 || a_.rank() != rank || b_.rank() != rank) {
      fail(MINIINFER_INVALID_ARGUMENT, "contract of ranks %zu and %zu to %zu", a_.rank(), b_.rank(),
           rank);
    }
    // Stored as [.., m, k] and [.., k, n] from here on.
    const auto attrs = region.attrs<miniinfer_contract_attrs>(node);
    if (attrs.transpose_a != 0) swap_last(a_);
    if (attrs.transpose_b != 0) swap_last(b_);
    bool fits = a_.dims[rank - 1] == b_.dims[rank - 2] &&
                a_.dims[rank - 2] == out_.dims[rank - 2] &&
                b_.dims[rank - 1] == out_.dims[rank - 1];
    for (std::size_t axis = 0; axis + 2 < rank; ++axis) {
      for (Operand* operand : {&a_, &b_}) {
        fits = fits && (operand->dims[axis] == out_.dims[axis] || operand->dims[axis] == 1);
        if (operand->dims[axis] == 1) operand->strides[axis] = 0;
      }
    }
    if (!fits) fail(MINIINFER_INVALID_ARGUMENT, "contract of shapes that do not fit");
  }

  void run(std::span<const std::byte* const> in, std::span<std::byte* const> out,
           const FaultSink&) const override {
    with_type(out_.dtype, [&](auto type) {
      using S = typename decltype(type)::Stored;
      const std::size_t m = out_.rank() - 2;
      const std::int64_t depth = a_.dims[m + 1];
      const std::int64_t a_step = a_.strides[m + 1] * a_.bytes;
      const std::int64_t b_step = b_.strides[m] * b_.bytes;
      std::vector<std::int64_t> at(out_.rank());
      for_each_index(out_.dims, [&](Index index) {
        std::copy(index.begin(), index.end(), at.begin());
        at[m + 1] = 0;
        const std::byte* a = in[0] + a_.offset(at);
        std::copy(index.begin(), index.end(), at.begin());
        at[m] = 0;
        const std::byte* b = in[1] + b_.offset(at);
        Accumulator<S> sum = 0;
        for (std::int64_t k = 0; k < depth; ++k) {
          sum += static_cast<Accumulator<S>>(load<S>(a + k * a_step)) *
                 static_cast<Accumulator<S>>(load<S>(b + k * b_step));
        }
        store<S>(out[0] + out_.offset(index), sum);
      });
    });
  }

 private:
  static void swap_last(Operand& operand) {
    const std::size_t rank = operand.rank();
    std::swap(operand.dims[rank - 1], operand.dims[rank - 2]);
    std::swap(operand.strides[rank - 1], operand.strides[rank - 2]);
  }

  Operand a_;
  Operand b_;
  Operand out_;
};

}  // namespace miniinfer::sdk::reference
