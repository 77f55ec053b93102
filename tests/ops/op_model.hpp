#pragma once

// Small graphs for tests of operators: made by hand, checked, inferred, lowered, and run by the
// reference that says what the kernel operators mean.

#include <doctest/doctest.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "core/ops/decompose.hpp"
#include "core/ops/operator.hpp"
#include "miniinfer/abi/op.h"
#include "miniinfer/sdk/reference/program.hpp"

namespace miniinfer::test {

template <class T>
ConstantPtr tensor(const std::vector<T>& values, Shape shape) {
  if constexpr (std::is_same_v<T, bool>) {
    const std::vector<std::uint8_t> bytes(values.begin(), values.end());
    return make_constant({DataType::Bool, std::move(shape)}, std::as_bytes(std::span(bytes)));
  } else {
    return make_constant({data_type_of<T>, std::move(shape)}, std::as_bytes(std::span(values)));
  }
}

inline ConstantPtr floats(const std::vector<float>& values, Shape shape) {
  return tensor<float>(values, std::move(shape));
}

inline ConstantPtr ints(const std::vector<std::int64_t>& values) {
  return make_constant_ints(values);
}

// Runs a lowered graph, one kernel after the other.
class Interpreter {
 public:
  explicit Interpreter(const Graph& graph) : graph_(graph) {}

  std::vector<ConstantPtr> run(const std::vector<ConstantPtr>& inputs) {
    for (std::size_t i = 0; i < inputs.size(); ++i) values_[graph_.inputs[i]] = inputs[i];
    for (const Node& node : graph_.nodes()) {
      if (node.removed) continue;
      if (node.op == "view") {
        auto view = std::make_shared<Constant>(*value(node.inputs[0]));
        view->type = type(node.outputs[0]);
        REQUIRE(*byte_count(view->type.dtype, view->type.shape) == view->bytes.size());
        values_[node.outputs[0]] = view;
      } else {
        run_kernel(node);
      }
    }
    std::vector<ConstantPtr> outputs;
    for (const ValueId id : graph_.outputs) outputs.push_back(value(id));
    return outputs;
  }

 private:
  TensorType type(ValueId id) const { return {graph_.value(id).dtype, *graph_.value(id).shape}; }
  ConstantPtr value(ValueId id) const {
    const auto found = values_.find(id);
    return found != values_.end() ? found->second : graph_.value(id).constant;
  }

  void run_kernel(const Node& node) {
    std::vector<std::vector<std::int64_t>> sizes;
    std::vector<miniinfer_value> values;
    std::vector<std::uint32_t> numbers;
    std::vector<std::vector<std::byte>> buffers;
    const auto add = [&](ValueId id) {
      const TensorType t = type(id);
      std::vector<std::int64_t> dims_and_strides = t.shape;
      std::int64_t stride = 1;
      dims_and_strides.resize(t.shape.size() * 2);
      for (std::size_t i = t.shape.size(); i-- > 0;) {
        dims_and_strides[t.shape.size() + i] = t.shape[i] == 1 ? 0 : stride;
        stride *= t.shape[i];
      }
      sizes.push_back(std::move(dims_and_strides));
      miniinfer_value v{};
      v.head = MINIINFER_HEAD(miniinfer_value);
      v.dtype = static_cast<miniinfer_dtype>(t.dtype);
      v.rank = static_cast<std::int32_t>(t.shape.size());
      v.dims = sizes.back().data();
      v.strides = sizes.back().data() + t.shape.size();
      numbers.push_back(static_cast<std::uint32_t>(values.size()));
      values.push_back(v);
      std::vector<std::byte> bytes(*byte_count(t.dtype, t.shape) + 1);
      if (const ConstantPtr known = value(id)) {
        std::copy(known->bytes.begin(), known->bytes.end(), bytes.begin());
      }
      buffers.push_back(std::move(bytes));
    };
    for (const ValueId id : node.inputs) add(id);
    for (const ValueId id : node.outputs) add(id);

    miniinfer_node kernel{};
    kernel.head = MINIINFER_HEAD(miniinfer_node);
    kernel.op = node.op.c_str();
    kernel.attrs = node.kernel->abi();
    kernel.in_count = static_cast<std::uint32_t>(node.inputs.size());
    kernel.out_count = static_cast<std::uint32_t>(node.outputs.size());
    kernel.in = numbers.data();
    kernel.out = numbers.data() + node.inputs.size();
    std::vector<const miniinfer_value*> pointers;
    for (const miniinfer_value& v : values) pointers.push_back(&v);
    const miniinfer_node* nodes[] = {&kernel};
    miniinfer_region region{};
    region.head = MINIINFER_HEAD(miniinfer_region);
    region.value_count = static_cast<std::uint32_t>(values.size());
    region.node_count = 1;
    region.in_count = kernel.in_count;
    region.out_count = kernel.out_count;
    region.values = pointers.data();
    region.nodes = nodes;
    region.in = kernel.in;
    region.out = kernel.out;
    std::vector<std::byte*> args;
    for (std::vector<std::byte>& buffer : buffers) args.push_back(buffer.data());
    sdk::reference::run_region(region, args);
    for (std::size_t i = 0; i < node.outputs.size(); ++i) {
      std::vector<std::byte>& bytes = buffers[node.inputs.size() + i];
      bytes.pop_back();
      values_[node.outputs[i]] = make_constant(type(node.outputs[i]), bytes);
    }
  }

  const Graph& graph_;
  std::map<ValueId, ConstantPtr> values_;
};

// A graph under construction; inputs come with the data to run it on.
class OpModel {
 public:
  ValueId input(ConstantPtr data) {
    const ValueId id =
        graph.add_value("x" + std::to_string(feeds_.size()), data->type.dtype, data->type.shape);
    graph.inputs.push_back(id);
    feeds_.push_back(std::move(data));
    return id;
  }
  ValueId unknown(DataType dtype, std::optional<Shape> shape) {
    return graph.add_value("unknown", dtype, std::move(shape));
  }
  ValueId constant(ConstantPtr data) { return graph.add_constant(std::move(data)); }

  // A node as its file has it at that opset, brought to the newest. The last is the output.
  ValueId node(std::string op, std::vector<ValueId> inputs, Attributes attributes = {},
               std::int64_t opset = 28) {
    return nodes(std::move(op), std::move(inputs), 1, std::move(attributes), opset)[0];
  }
  std::vector<ValueId> nodes(std::string op, std::vector<ValueId> inputs, std::size_t outputs,
                             Attributes attributes = {}, std::int64_t opset = 28) {
    Node node;
    node.op = std::move(op);
    node.inputs = std::move(inputs);
    node.attributes = std::move(attributes);
    for (std::size_t i = 0; i < outputs; ++i) node.outputs.push_back(graph.add_value("y"));
    std::vector<ValueId> result = node.outputs;
    node.origin.sources = {static_cast<NodeId>(graph.sources->size())};
    graph.sources->push_back({"node" + std::to_string(graph.sources->size()), node.op});
    const Operator* found = find_operator(node.op);
    REQUIRE(found != nullptr);
    if (found->upgrade != nullptr) {
      UpgradeContext upgrade{graph, node, opset};
      status_ = found->upgrade(upgrade);
      found = find_operator(node.op);  // Scatter becomes ScatterElements
      REQUIRE(found != nullptr);
    }
    if (status_.ok()) status_ = check_schema(*found, node);
    graph.add_node(std::move(node));
    return result;
  }

  Status infer() { return status_.ok() ? infer_shapes(graph) : status_; }
  const Value& value(ValueId id) const { return graph.value(id); }

  Result<Graph> lowered(const std::vector<ValueId>& outputs) {
    if (Status status = infer(); !status.ok()) return status;
    graph.outputs = outputs;
    return lower(graph);
  }

  std::vector<ConstantPtr> run(const std::vector<ValueId>& outputs) {
    Result<Graph> kernels = lowered(outputs);
    REQUIRE_MESSAGE(kernels.ok(), kernels.status().to_string());
    CHECK_MESSAGE(verify(*kernels).ok(), verify(*kernels).to_string());
    // The reference knows the five families only; the rest is taken apart as for a small backend.
    for (NodeId id = 0; id < kernels->node_count(); ++id) {
      if (!kernels->node(id).removed) decompose(*kernels, id);
    }
    REQUIRE(kernels->sort().ok());
    std::vector<ConstantPtr> results = Interpreter(*kernels).run(feeds_);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      CHECK(results[i]->type == TensorType{value(outputs[i]).dtype, *value(outputs[i]).shape});
    }
    return results;
  }
  std::vector<double> run(ValueId output) { return run(std::vector{output})[0]->as_doubles(); }

  Graph graph;

 private:
  std::vector<ConstantPtr> feeds_;
  Status status_;
};

inline Attributes attributes(std::vector<std::pair<std::string, AttributeValue>> items) {
  Attributes out;
  for (auto& [name, value] : items) out.set(std::move(name), std::move(value));
  return out;
}

using Values = std::vector<double>;
using Ints = std::vector<std::int64_t>;

inline void check_near(const Values& got, const Values& wanted) {
  REQUIRE(got.size() == wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    CHECK(got[i] == doctest::Approx(wanted[i]).epsilon(1e-5));
  }
}

}  // namespace miniinfer::test
