#pragma once

#include <deque>
#include <string>

#include "core/onnx/limits.hpp"
#include "core/onnx/model.hpp"

namespace miniinfer::onnx {

// Replaces every call of a function of the model by the function's nodes, in the graph and its
// subgraphs, until none is left. Inner values get names of their own, which `names` owns; a node
// that came from a call is called "<call>/<node>". INVALID_ARGUMENT for a function that calls
// itself or gets too many inputs, LIMIT_EXCEEDED where that gives too many nodes.
Status inline_functions(Model& model, const ImportLimits& limits, std::deque<std::string>& names);

}  // namespace miniinfer::onnx
