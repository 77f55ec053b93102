#pragma once

#include <vector>

#include "core/graph/graph.hpp"
#include "miniinfer/runtime.hpp"

namespace miniinfer {

// A model as read: canonical operators, and what its file says of itself.
struct LoadedModel {
  Graph graph;
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  ModelSummary summary;
};

Result<LoadedModel> read_model(const Model& model);

}  // namespace miniinfer
