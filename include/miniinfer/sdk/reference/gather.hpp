#pragma once

// gather/1: abi/op/gather.h.

#include <cstring>
#include <vector>

#include "miniinfer/abi/op/gather.h"
#include "miniinfer/sdk/reference/number.hpp"
#include "miniinfer/sdk/reference/operation.hpp"

namespace miniinfer::sdk::reference {

class Gather final : public Operation {
 public:
  Gather(const Region& region, std::uint32_t node)
      : attrs_(region.attrs<miniinfer_gather_attrs>(node)),
        data_(make_operand(region.in(0, node))),
        indices_(make_operand(region.in(1, node))),
        out_(make_operand(region.out(0, node))) {
    if (indices_.dtype != MINIINFER_INT32 && indices_.dtype != MINIINFER_INT64) {
      fail(MINIINFER_UNSUPPORTED, "gather by indices of type %s is not implemented",
           dtype_name(indices_.dtype));
    }
    if (data_.dtype != out_.dtype) {
      fail(MINIINFER_INVALID_ARGUMENT, "gather from %s to %s", dtype_name(data_.dtype),
           dtype_name(out_.dtype));
    }
    if (attrs_.mode < MINIINFER_GATHER_AXIS || attrs_.mode > MINIINFER_GATHER_ND) {
      fail(MINIINFER_UNSUPPORTED, "gather mode %d is not known", attrs_.mode);
    }
    if (attrs_.mode == MINIINFER_GATHER_ND) {
      check_nd();
    } else if (attrs_.mode == MINIINFER_GATHER_ELEMENTS && indices_.rank() != data_.rank()) {
      fail(MINIINFER_INVALID_ARGUMENT, "gather of elements of rank %zu by indices of rank %zu",
           data_.rank(), indices_.rank());
    } else if (attrs_.axis < 0 || static_cast<std::size_t>(attrs_.axis) >= data_.rank()) {
      fail(MINIINFER_INVALID_ARGUMENT, "gather along axis %d of rank %zu", attrs_.axis,
           data_.rank());
    }
    if (out_.dims != expected_dims()) {
      fail(MINIINFER_INVALID_ARGUMENT, "gather to a shape that does not follow from its inputs");
    }
  }

  void run(std::span<const std::byte* const> in, std::span<std::byte* const> out,
           const FaultSink& fault) const override {
    std::vector<std::int64_t> source(data_.rank());
    for_each_index(out_.dims, [&](Index index) {
      std::byte* to = out[0] + out_.offset(index);
      locate(in[1], index, source);
      if (!inside(source, fault)) {
        std::memset(to, 0, static_cast<std::size_t>(out_.bytes));
        return;
      }
      std::memcpy(to, in[0] + data_.offset(source), static_cast<std::size_t>(out_.bytes));
    });
  }

 private:
  using Position = std::vector<std::int64_t>;

  void check_nd() const {
    const std::size_t batch = static_cast<std::size_t>(attrs_.batch_dims);
    if (indices_.rank() == 0 || attrs_.batch_dims < 0 || batch >= indices_.rank() ||
        batch + static_cast<std::size_t>(indices_.dims.back()) > data_.rank()) {
      fail(MINIINFER_INVALID_ARGUMENT, "gather of positions with %d batch axes from rank %zu",
           attrs_.batch_dims, data_.rank());
    }
  }

  std::vector<std::int64_t> expected_dims() const {
    std::vector<std::int64_t> dims = indices_.dims;
    if (attrs_.mode == MINIINFER_GATHER_ELEMENTS) return dims;
    if (attrs_.mode == MINIINFER_GATHER_AXIS) {
      dims.insert(dims.begin(), data_.dims.begin(), data_.dims.begin() + attrs_.axis);
      dims.insert(dims.end(), data_.dims.begin() + attrs_.axis + 1, data_.dims.end());
      return dims;
    }
    const std::int64_t used = attrs_.batch_dims + dims.back();
    dims.pop_back();
    dims.insert(dims.end(), data_.dims.begin() + used, data_.dims.end());
    return dims;
  }

  std::int64_t index_at(const std::byte* indices, Index at) const {
    const std::byte* address = indices + indices_.offset(at);
    return indices_.dtype == MINIINFER_INT32 ? load<std::int32_t>(address)
                                             : load<std::int64_t>(address);
  }

  // Where the output element at `out` comes from, with indices as they are in the data.
  void locate(const std::byte* indices, Index out, Position& source) const {
    switch (attrs_.mode) {
      case MINIINFER_GATHER_AXIS:
        return from_axis(indices, out, source);
      case MINIINFER_GATHER_ELEMENTS:
        return from_element(indices, out, source);
      default:
        return from_nd(indices, out, source);
    }
  }

  void from_axis(const std::byte* indices, Index out, Position& source) const {
    const auto axis = static_cast<std::size_t>(attrs_.axis);
    std::copy_n(out.begin(), axis, source.begin());
    source[axis] = index_at(indices, out.subspan(axis, indices_.rank()));
    const Index rest = out.subspan(axis + indices_.rank());
    std::copy(rest.begin(), rest.end(), source.begin() + static_cast<std::ptrdiff_t>(axis) + 1);
  }

  void from_element(const std::byte* indices, Index out, Position& source) const {
    std::copy(out.begin(), out.end(), source.begin());
    source[static_cast<std::size_t>(attrs_.axis)] = index_at(indices, out);
  }

  void from_nd(const std::byte* indices, Index out, Position& source) const {
    const auto batch = static_cast<std::size_t>(attrs_.batch_dims);
    const std::size_t outer = indices_.rank() - 1;
    const auto depth = static_cast<std::size_t>(indices_.dims.back());
    std::copy_n(out.begin(), batch, source.begin());
    Position at(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(outer));
    at.push_back(0);
    for (std::size_t k = 0; k < depth; ++k) {
      at[outer] = static_cast<std::int64_t>(k);
      source[batch + k] = index_at(indices, at);
    }
    const Index rest = out.subspan(outer);
    std::copy(rest.begin(), rest.end(),
              source.begin() + static_cast<std::ptrdiff_t>(batch + depth));
  }

  // Counts negative numbers from the end; false, and a fault, for an index that names nothing.
  bool inside(Position& source, const FaultSink& fault) const {
    for (std::size_t axis = 0; axis < source.size(); ++axis) {
      const std::int64_t given = source[axis];
      if (given < 0) source[axis] += data_.dims[axis];
      if (source[axis] >= 0 && source[axis] < data_.dims[axis]) continue;
      fault.report(MINIINFER_FAULT_INDEX, given, data_.dims[axis]);
      return false;
    }
    return true;
  }

  miniinfer_gather_attrs attrs_;
  Operand data_;
  Operand indices_;
  Operand out_;
};

}  // namespace miniinfer::sdk::reference
