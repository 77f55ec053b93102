#include "core/base/format.hpp"
#include "core/graph/graph.hpp"

namespace miniinfer {
namespace {

std::string type_of(const Value& value) {
  std::string text(to_string(value.dtype));
  return text + (value.shape ? to_string(*value.shape) : "[..]");
}

// " by 0312" for an operand whose axes the node sees in that order.
std::string order_text(const std::vector<Order>& orders, std::size_t i) {
  if (orders.empty() || orders[i].empty()) return {};
  std::string text = " by ";
  for (const std::uint8_t axis : orders[i]) text += std::to_string(axis);
  return text;
}

}  // namespace

std::string print(const Graph& graph) {
  std::string text;
  for (const ValueId input : graph.inputs) {
    text += format("%%%u %s  # input %s\n", input, type_of(graph.value(input)).c_str(),
                   printable(graph.value(input).name).c_str());
  }
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    const Node& node = graph.node(id);
    if (node.removed) continue;
    std::string outputs;
    for (std::size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueId output = node.outputs[i];
      outputs += outputs.empty() ? "" : ", ";
      outputs += output == kNoValue
                     ? "_"
                     : format("%%%u %s", output, type_of(graph.value(output)).c_str());
      outputs += order_text(node.output_orders, i);
    }
    std::string inputs;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId input = node.inputs[i];
      inputs += inputs.empty() ? "" : ", ";
      inputs += input == kNoValue ? "_" : format("%%%u", input);
      inputs += order_text(node.input_orders, i);
    }
    text += outputs + " = " + printable(node.op) + "(" + inputs + ")  # " +
            describe(graph, id, "").name + "\n";
  }
  std::string outputs;
  for (const ValueId output : graph.outputs) outputs += format(" %%%u", output);
  return text + "outputs" + outputs + "\n";
}

NodeReport describe(const Graph& graph, NodeId id, std::string reason) {
  const Node& node = graph.node(id);
  NodeReport report;
  report.op = node.op;
  report.reason = std::move(reason);
  const std::vector<NodeId>& sources = node.origin.sources;
  if (!sources.empty() && sources.front() < graph.sources->size()) {
    report.name = printable((*graph.sources)[sources.front()].name);
  } else {
    report.name = format("%s_%u", printable(node.op).c_str(), id);
  }
  for (const ValueId input : node.inputs) {
    if (!report.types.empty()) report.types += ", ";
    report.types += input == kNoValue ? "-" : type_of(graph.value(input));
  }
  return report;
}

}  // namespace miniinfer
