#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/plan/plan.hpp"
#include "tests/support/fake_devices.hpp"
#include "tests/support/graph_runner.hpp"

namespace miniinfer::testing {

// What build_plan and its stages are asked with: a graph for the types of its inputs, which come
// from the host, on a list of devices.
struct PlanCase {
  explicit PlanCase(const Graph& graph, std::vector<OpenDevicePtr> devices = {}) : model(graph) {
    host = host_device();
    if (devices.empty()) devices = {host};
    request.model = &model;
    for (const ValueId id : graph.inputs) {
      request.inputs.push_back({{graph.value(id).dtype, *graph.value(id).shape}, nullptr});
    }
    request.devices = std::move(devices);
    request.host = host;
    std::uint32_t home = 0;
    while (home < request.devices.size() && request.devices[home] != host) ++home;
    request.input_devices.assign(graph.inputs.size(), home);
    request.constants = &constants;
    request.passes.evaluate = make_evaluator(host);
  }
  PlanCase(const PlanCase&) = delete;

  Result<PlanPtr> build() { return build_plan(request); }
  // The lowered graph that placement is given.
  Graph kernels() {
    Result<Specialised> made =
        specialise(model, request.inputs, request.passes, request.disabled_passes);
    REQUIRE_MESSAGE(made, made.status().to_string());
    REQUIRE_FALSE(made->rest.has_value());
    return std::move(made->kernels);
  }

  Graph model;
  OpenDevicePtr host;
  ConstantStore constants{[](const OpenDevice& device) { return device.allocator; }};
  PlanRequest request;
};

inline Attributes attribute(std::string name, AttributeValue value) {
  Attributes attributes;
  attributes.set(std::move(name), std::move(value));
  return attributes;
}

// The operators of a graph that were not removed, in order: "conv/1 pointwise/1".
inline std::string ops(const Graph& graph) {
  std::string text;
  for (const Node& node : graph.nodes()) {
    if (!node.removed) text += (text.empty() ? "" : " ") + node.op;
  }
  return text;
}

inline std::string labels(const Plan& plan) {
  std::string text;
  for (const Step& step : plan.steps) {
    text += (text.empty() ? "" : ", ") + step.label + " on " +
            std::string(plan.devices[step.device]->device.id());
  }
  return text;
}

}  // namespace miniinfer::testing
