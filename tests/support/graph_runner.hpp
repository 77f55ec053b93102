#pragma once

// Builds small graphs of ONNX operators by hand and runs them on the built-in backend.

#include <doctest/doctest.h>

#include <initializer_list>
#include <random>
#include <string>
#include <vector>

#include "core/cpu/backend.hpp"
#include "core/graph/graph.hpp"
#include "core/passes/pass.hpp"
#include "core/runtime/device_list.hpp"
#include "core/runtime/evaluate.hpp"
#include "core/runtime/program.hpp"
#include "miniinfer/allocator.hpp"
#include "miniinfer/compare.hpp"

namespace miniinfer::testing {

inline OpenDevicePtr host_device() {
  REQUIRE(BackendRegistry::instance().add_builtin("cpu", miniinfer_cpu_entry).ok());
  return open_host().value();
}

inline Tensor random_floats(std::mt19937& random, Shape shape, float low = -1, float high = 1) {
  std::uniform_real_distribution<float> distribution(low, high);
  std::vector<float> values(*element_count(shape));
  for (float& value : values) value = distribution(random);
  return Tensor::from(values, std::move(shape)).value();
}

// A graph under construction. Values are named by their ids.
class GraphBuilder {
 public:
  Graph graph;

  ValueId input(DataType dtype, Shape shape) {
    const ValueId id = graph.add_value("in" + std::to_string(graph.inputs.size()), dtype, shape);
    graph.inputs.push_back(id);
    return id;
  }
  ValueId constant(const Tensor& tensor) {
    return graph.add_constant(make_constant(tensor.type(), tensor.bytes()));
  }
  ValueId floats(std::vector<float> values, Shape shape) {
    return constant(Tensor::from(values, std::move(shape)).value());
  }
  ValueId ints(std::vector<std::int64_t> values) {
    const auto count = static_cast<std::int64_t>(values.size());
    return constant(Tensor::from(values, {count}).value());
  }
  std::vector<ValueId> nodes(std::string op, std::vector<ValueId> inputs, std::size_t outputs,
                             Attributes attributes = {}) {
    Node node;
    node.op = std::move(op);
    node.attributes = std::move(attributes);
    node.inputs = std::move(inputs);
    node.origin.sources = {static_cast<NodeId>(graph.sources->size())};
    graph.sources->push_back({node.op + "_" + std::to_string(graph.sources->size()), node.op});
    for (std::size_t i = 0; i < outputs; ++i) {
      node.outputs.push_back(graph.add_value("v" + std::to_string(graph.value_count())));
    }
    std::vector<ValueId> made = node.outputs;
    graph.add_node(std::move(node));
    return made;
  }
  ValueId node(std::string op, std::vector<ValueId> inputs, Attributes attributes = {}) {
    return nodes(std::move(op), std::move(inputs), 1, std::move(attributes))[0];
  }
  void output(ValueId id) { graph.outputs.push_back(id); }
};

struct GraphRun {
  std::vector<Tensor> outputs;
  PlanPtr plan;
  Placement placement;
  int steps() const { return static_cast<int>(plan->steps.size()); }
};

// What LoadOptions::precision comes to.
struct RunSetup {
  PassContext passes;
  std::uint32_t math = 0;
};

// Loads (model passes), plans and runs. `disabled` names passes to leave out.
inline GraphRun run_graph(const Graph& source, const std::vector<Tensor>& inputs,
                          std::vector<std::string> disabled = {},
                          std::vector<OpenDevicePtr> devices = {}, const RunSetup& setup = {}) {
  const OpenDevicePtr host = host_device();
  Graph graph = source;
  PassContext passes;
  passes.evaluate = make_evaluator(host);
  const Status simplified = run_passes(PassStage::Model, graph, passes, disabled);
  REQUIRE_MESSAGE(simplified.ok(), simplified.to_string());
  auto shared = std::make_shared<ProgramShared>();
  if (devices.empty()) devices = {host};
  shared->devices = std::move(devices);
  shared->host = host;
  shared->allocator_of = [](const OpenDevice& device) { return device.allocator; };
  shared->constants = std::make_unique<ConstantStore>(shared->allocator_of);
  shared->disabled_passes = std::move(disabled);
  shared->contexts = 1;
  shared->passes = setup.passes;
  shared->math = setup.math;
  Program program(std::move(graph), shared, std::vector<bool>(inputs.size()));
  Result<std::vector<Tensor>> outputs = program.run(inputs, {}, StopCheck());
  REQUIRE_MESSAGE(outputs, outputs.status().to_string());
  return {std::move(*outputs), program.last_plan(), program.last_placement().value()};
}

inline void check_close(const Tensor& got, const Tensor& want, double rtol = 1e-5,
                        double atol = 1e-6) {
  const Result<Comparison> result = compare(got, want, rtol, atol);
  REQUIRE_MESSAGE(result, result.status().to_string());
  CHECK_MESSAGE(result->equal, result->different << " differ, first at " << result->worst
                                                 << ", max abs " << result->max_abs_error);
}

// A pass must not change results; it may only change how they are computed.
inline void check_same_results(const Graph& graph, const std::vector<Tensor>& inputs,
                               const std::string& pass, double rtol = 1e-5, double atol = 1e-6) {
  const GraphRun with = run_graph(graph, inputs);
  const GraphRun without = run_graph(graph, inputs, {pass});
  REQUIRE(with.outputs.size() == without.outputs.size());
  for (std::size_t i = 0; i < with.outputs.size(); ++i) {
    check_close(with.outputs[i], without.outputs[i], rtol, atol);
  }
}

}  // namespace miniinfer::testing
