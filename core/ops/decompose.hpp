#pragma once

#include "core/graph/graph.hpp"

namespace miniinfer {

// Replaces a kernel node that a backend refused by simpler ones of the five families. softmax/1,
// layer_norm/1 and conv/1 are known; for anything else the graph stays as it is and this is false.
// New nodes stand at the end; sort() puts them in order.
bool decompose(Graph& graph, NodeId node);

}  // namespace miniinfer
