#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/graph/graph.hpp"

namespace miniinfer::test {

inline ValueId input(Graph& graph, std::string name) {
  graph.inputs.push_back(graph.add_value(std::move(name), DataType::Float32, Shape{1}));
  return graph.inputs.back();
}

// A node with one output, which is returned.
inline ValueId add(Graph& graph, std::string op, std::vector<ValueId> inputs) {
  Node node;
  node.op = std::move(op);
  node.inputs = std::move(inputs);
  node.outputs = {graph.add_value("")};
  const ValueId output = node.outputs[0];
  graph.add_node(std::move(node));
  return output;
}

inline std::string ops(const Graph& graph) {
  std::string text;
  for (const Node& node : graph.nodes()) {
    if (!node.removed) text += (text.empty() ? "" : " ") + node.op;
  }
  return text;
}

}  // namespace miniinfer::test
