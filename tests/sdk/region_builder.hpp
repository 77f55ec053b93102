#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "miniinfer/abi/op.h"
#include "miniinfer/sdk/data_type.hpp"

namespace miniinfer::test {

// Makes regions for tests, values and nodes in any number; the region lives as long as the builder.
//
//   RegionBuilder builder;
//   auto a = builder.input(MINIINFER_FLOAT32, {2, 3});
//   auto y = builder.output(MINIINFER_FLOAT32, {2, 3});
//   builder.node(MINIINFER_POINTWISE, &attrs, {a}, {y});
class RegionBuilder {
 public:
  std::uint32_t value(miniinfer_dtype dtype, std::vector<std::int64_t> dims,
                      std::vector<std::int64_t> strides = {}) {
    if (strides.empty()) {
      strides.resize(dims.size());
      std::int64_t stride = 1;
      for (std::size_t axis = dims.size(); axis-- > 0; stride *= dims[axis]) strides[axis] = stride;
    }
    shapes_.push_back(std::move(dims));
    shapes_.push_back(std::move(strides));
    miniinfer_value& value = values_.emplace_back();
    value.head = MINIINFER_HEAD(miniinfer_value);
    value.dtype = dtype;
    value.rank = static_cast<std::int32_t>(shapes_.back().size());
    value.dims = shapes_[shapes_.size() - 2].data();
    value.strides = shapes_.back().data();
    return static_cast<std::uint32_t>(values_.size() - 1);
  }
  std::uint32_t absent() {
    const std::uint32_t index = value(MINIINFER_UNDEFINED, {});
    values_[index].flags = MINIINFER_VALUE_ABSENT;
    return index;
  }
  std::uint32_t input(miniinfer_dtype dtype, std::vector<std::int64_t> dims,
                      std::vector<std::int64_t> strides = {}) {
    in_.push_back(value(dtype, std::move(dims), std::move(strides)));
    return in_.back();
  }
  std::uint32_t output(miniinfer_dtype dtype, std::vector<std::int64_t> dims,
                       std::vector<std::int64_t> strides = {}) {
    out_.push_back(value(dtype, std::move(dims), std::move(strides)));
    return out_.back();
  }
  // `attrs` must outlive the builder's use; its head is filled in here.
  template <class Attrs>
  void node(const char* op, Attrs* attrs, std::vector<std::uint32_t> in,
            std::vector<std::uint32_t> out, std::uint32_t math = 0) {
    attrs->head = MINIINFER_HEAD(Attrs);
    operands_.push_back(std::move(in));
    operands_.push_back(std::move(out));
    const auto& ins = operands_[operands_.size() - 2];
    const auto& outs = operands_.back();
    miniinfer_node& node = nodes_.emplace_back();
    node.head = MINIINFER_HEAD(miniinfer_node);
    node.op = op;
    node.attrs = attrs;
    node.in_count = static_cast<std::uint32_t>(ins.size());
    node.out_count = static_cast<std::uint32_t>(outs.size());
    node.in = ins.data();
    node.out = outs.data();
    node.math = math;
  }

  miniinfer_value& operator[](std::uint32_t value) { return values_[value]; }

  const miniinfer_region& region() {
    value_pointers_.clear();
    node_pointers_.clear();
    for (const miniinfer_value& value : values_) value_pointers_.push_back(&value);
    for (const miniinfer_node& node : nodes_) node_pointers_.push_back(&node);
    region_.head = MINIINFER_HEAD(miniinfer_region);
    region_.value_count = static_cast<std::uint32_t>(values_.size());
    region_.node_count = static_cast<std::uint32_t>(nodes_.size());
    region_.in_count = static_cast<std::uint32_t>(in_.size());
    region_.out_count = static_cast<std::uint32_t>(out_.size());
    region_.values = value_pointers_.data();
    region_.nodes = node_pointers_.data();
    region_.in = in_.data();
    region_.out = out_.data();
    return region_;
  }

 private:
  std::deque<std::vector<std::int64_t>> shapes_;
  std::deque<std::vector<std::uint32_t>> operands_;
  std::deque<miniinfer_value> values_;
  std::deque<miniinfer_node> nodes_;
  std::vector<const miniinfer_value*> value_pointers_;
  std::vector<const miniinfer_node*> node_pointers_;
  std::vector<std::uint32_t> in_;
  std::vector<std::uint32_t> out_;
  miniinfer_region region_{};
};

template <class T>
std::byte* bytes(std::vector<T>& values) {
  return reinterpret_cast<std::byte*>(values.data());
}

}  // namespace miniinfer::test
