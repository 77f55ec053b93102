#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/graph/graph.hpp"
#include "core/passes/pass.hpp"

namespace miniinfer {

// What a plan is made for: the type of each graph input, and its value where a size depends on it.
struct InputFact {
  TensorType type;
  ConstantPtr value;  // null: not needed
};

// What must wait until data is known: nodes behind an operator whose output size depends on data,
// or whose HOST operand (a Reshape's shape) is computed on a device.
struct Rest {
  Graph graph;                         // its inputs are the values carried over
  std::vector<std::uint32_t> carried;  // for each of them, the index of a result of the first part
  std::vector<bool> read_on_host;      // and whether its value is needed to plan
};

// An output of the first part whose size the run finds out.
struct DynamicResult {
  std::uint32_t result = 0;  // its memory has room for the upper bound
  std::uint32_t count = 0;   // the result (INT64, one element) that says how many
  std::uint32_t axis = 0;    // the axis that has that many
};

struct Specialised {
  Graph kernels;  // lowered; its outputs are the results of this part
  // For each output of the model: an index into the results, or results + an index into the rest's.
  std::vector<std::uint32_t> outputs;
  std::vector<DynamicResult> dynamic;
  std::optional<Rest> rest;
  std::vector<NodeId> host_shape;  // source nodes worked out here, on the host
};

// Works a model out for concrete inputs: shapes, everything that follows from shapes and constants
// alone, and the lowering of what is left. The model is not changed.
Result<Specialised> specialise(const Graph& model, std::span<const InputFact> inputs,
                               PassContext& context, std::span<const std::string> disabled_passes);

}  // namespace miniinfer
