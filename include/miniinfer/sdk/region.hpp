#pragma once

// A region, read comfortably. Lives no longer than the call that got the region.

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "miniinfer/abi/op.h"
#include "miniinfer/sdk/data_type.hpp"
#include "miniinfer/sdk/versioned.hpp"

namespace miniinfer::sdk {

inline std::span<const std::int64_t> dims(const miniinfer_value& value) noexcept {
  return {value.dims, static_cast<std::size_t>(value.rank)};
}

inline std::span<const std::int64_t> strides(const miniinfer_value& value) noexcept {
  return {value.strides, static_cast<std::size_t>(value.rank)};
}

inline std::int64_t element_count(std::span<const std::int64_t> dims) noexcept {
  std::int64_t count = 1;
  for (const std::int64_t dim : dims) count *= dim;
  return count;
}

inline bool is_absent(const miniinfer_value& value) noexcept {
  return (value.flags & MINIINFER_VALUE_ABSENT) != 0;
}

// Whether the elements lie row-major without gaps and not in blocks.
inline bool is_contiguous(const miniinfer_value& value) noexcept {
  if (value.block > 1) return false;
  std::int64_t expected = 1;
  for (std::int32_t axis = value.rank; axis-- > 0;) {
    if (value.dims[axis] != 1 && value.strides[axis] != expected) return false;
    expected *= value.dims[axis];
  }
  return true;
}

class Region {
 public:
  explicit Region(const miniinfer_region& region) : raw_(read<miniinfer_region>(&region)) {
    values_.reserve(raw_.value_count);
    nodes_.reserve(raw_.node_count);
    for (std::uint32_t i = 0; i < raw_.value_count; ++i) {
      values_.push_back(read<miniinfer_value>(raw_.values[i]));
    }
    for (std::uint32_t i = 0; i < raw_.node_count; ++i) {
      nodes_.push_back(read<miniinfer_node>(raw_.nodes[i]));
    }
  }

  std::uint32_t node_count() const { return raw_.node_count; }
  std::uint32_t value_count() const { return raw_.value_count; }
  std::span<const std::uint32_t> inputs() const { return {raw_.in, raw_.in_count}; }
  std::span<const std::uint32_t> outputs() const { return {raw_.out, raw_.out_count}; }
  const miniinfer_value& value(std::uint32_t index) const { return values_[index]; }

  const miniinfer_node& node(std::uint32_t node = 0) const { return nodes_[node]; }
  std::string_view op(std::uint32_t node = 0) const { return nodes_[node].op; }
  // The i-th operand of a node. Test in_count first where an operand may be left off the end.
  const miniinfer_value& in(std::uint32_t i, std::uint32_t node = 0) const {
    return values_[nodes_[node].in[i]];
  }
  const miniinfer_value& out(std::uint32_t i = 0, std::uint32_t node = 0) const {
    return values_[nodes_[node].out[i]];
  }
  std::uint32_t in_count(std::uint32_t node = 0) const { return nodes_[node].in_count; }
  std::uint32_t out_count(std::uint32_t node = 0) const { return nodes_[node].out_count; }

  // The operator's attributes, by value: fields the host does not know are zero. What they point to
  // is the host's and lives for the call.
  template <class T>
  T attrs(std::uint32_t node = 0) const {
    return read<T>(nodes_[node].attrs);
  }

  // Where miniinfer_run.args has a value of the region; -1 for one that exists only inside.
  int arg_of(std::uint32_t value) const {
    for (std::uint32_t i = 0; i < raw_.in_count; ++i) {
      if (raw_.in[i] == value) return static_cast<int>(i);
    }
    for (std::uint32_t i = 0; i < raw_.out_count; ++i) {
      if (raw_.out[i] == value) return static_cast<int>(raw_.in_count + i);
    }
    return -1;
  }
  int arg_in(std::uint32_t i, std::uint32_t node = 0) const { return arg_of(nodes_[node].in[i]); }
  int arg_out(std::uint32_t i, std::uint32_t node = 0) const { return arg_of(nodes_[node].out[i]); }

 private:
  miniinfer_region raw_;
  std::vector<miniinfer_value> values_;
  std::vector<miniinfer_node> nodes_;
};

}  // namespace miniinfer::sdk
