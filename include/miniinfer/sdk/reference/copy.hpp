#pragma once

// copy/1: abi/op/copy.h.

#include <vector>

#include "miniinfer/abi/op/copy.h"
#include "miniinfer/sdk/reference/operation.hpp"

namespace miniinfer::sdk::reference {

class Copy final : public Operation {
 public:
  Copy(const Region& region, std::uint32_t node)
      : attrs_(region.attrs<miniinfer_copy_attrs>(node)), out_(make_operand(region.out(0, node))) {
    for (std::uint32_t i = 0; i < attrs_.region_count; ++i) {
      regions_.push_back(read<miniinfer_copy_region>(attrs_.regions[i]));
      check(region, node, i);
    }
    attrs_.regions = nullptr;
  }

  void run(std::span<const std::byte* const> in, std::span<std::byte* const> out,
           const FaultSink&) const override {
    if (attrs_.fill != 0) fill(out[0]);
    for (const miniinfer_copy_region& region : regions_) {
      const std::byte* src = in[region.input] + region.src_offset * out_.bytes;
      std::byte* dst = out[0] + region.dst_offset * out_.bytes;
      const Index dims(region.dims, static_cast<std::size_t>(region.rank));
      for_each_index(dims, [&](Index index) {
        std::int64_t from = 0;
        std::int64_t to = 0;
        for (std::size_t axis = 0; axis < dims.size(); ++axis) {
          from += index[axis] * region.src_strides[axis];
          to += index[axis] * region.dst_strides[axis];
        }
        std::memcpy(dst + to * out_.bytes, src + from * out_.bytes,
                    static_cast<std::size_t>(out_.bytes));
      });
    }
  }

 private:
  // A region stays inside both operands, so that a wrong one is an answer and not a crash.
  void check(const Region& region, std::uint32_t node, std::uint32_t i) const {
    const miniinfer_copy_region& copy = regions_[i];
    if (copy.input >= region.in_count(node)) {
      fail(MINIINFER_INVALID_ARGUMENT, "copy region %u reads input %u of %u", i, copy.input,
           region.in_count(node));
    }
    const Operand in = make_operand(region.in(copy.input, node));
    if (in.bytes != out_.bytes) {
      fail(MINIINFER_INVALID_ARGUMENT, "copy from %s to %s", dtype_name(in.dtype),
           dtype_name(out_.dtype));
    }
    if (copy.rank < 0 || copy.rank > MINIINFER_MAX_RANK) {
      fail(MINIINFER_INVALID_ARGUMENT, "copy region %u has rank %d", i, copy.rank);
    }
    if (!reaches_only(in, copy, copy.src_offset, copy.src_strides) ||
        !reaches_only(out_, copy, copy.dst_offset, copy.dst_strides)) {
      fail(MINIINFER_INVALID_ARGUMENT, "copy region %u reaches past its operand", i);
    }
  }

  static bool reaches_only(const Operand& operand, const miniinfer_copy_region& copy,
                           std::int64_t offset, const std::int64_t* strides) {
    std::int64_t first = offset;
    std::int64_t last = offset;
    for (std::int32_t axis = 0; axis < copy.rank; ++axis) {
      if (copy.dims[axis] == 0) return true;
      (strides[axis] < 0 ? first : last) += (copy.dims[axis] - 1) * strides[axis];
    }
    return first >= 0 &&
           static_cast<std::uint64_t>((last + 1) * operand.bytes) <= operand.extent_bytes();
  }

  void fill(std::byte* out) const {
    std::byte element[16] = {};  // complex128 has more bytes than fill_bits; the rest is 0
    std::memcpy(element, &attrs_.fill_bits, sizeof attrs_.fill_bits);
    for_each_index(out_.dims, [&](Index index) {
      std::memcpy(out + out_.offset(index), element, static_cast<std::size_t>(out_.bytes));
    });
  }

  miniinfer_copy_attrs attrs_;
  Operand out_;
  std::vector<miniinfer_copy_region> regions_;
};

}  // namespace miniinfer::sdk::reference
