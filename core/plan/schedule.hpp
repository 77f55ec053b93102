#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/device/backend_registry.hpp"
#include "core/graph/graph.hpp"
#include "core/plan/placement.hpp"

namespace miniinfer {

// One thing the executor does.
struct Item {
  enum Kind : std::uint8_t {
    Kernel,    // nodes, fused, on `device`
    Transfer,  // value `from` of `from_device` becomes value `to` of `device`
  } kind = Kernel;
  std::uint32_t device = 0;
  std::vector<NodeId> nodes;
  ValueId from = kNoValue;
  ValueId to = kNoValue;
  std::uint32_t from_device = 0;
};

// Items in the order they run, and on which device each value lives.
struct Schedule {
  std::vector<Item> items;
  std::vector<std::uint32_t> home;  // by value; constants: meaningless
};

// Groups the nodes of a placed graph into kernels: a pointwise node joins the convolution, product
// or reduction before it where the device runs both as one (unless `fuse` is false). Where a value
// is needed on a device of another memory domain a transfer is added and the reader's operand
// changed. `input_home` says where each graph input lives.
Schedule make_schedule(Graph& graph, std::span<const OpenDevicePtr> devices,
                       std::span<const NodePlace> places, std::span<const std::uint32_t> input_home,
                       bool fuse, std::uint32_t math = 0);

}  // namespace miniinfer
