#include "miniinfer/trace.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>

#include "miniinfer/miniinfer.hpp"

namespace {

using namespace miniinfer;

Session digits() {
  const char* source = std::getenv("MINIINFER_SOURCE");
  REQUIRE_MESSAGE(source != nullptr, "run this by `meson test`, or set MINIINFER_SOURCE");
  const Runtime runtime;
  return runtime.load(std::filesystem::path(source) / "examples" / "digits" / "digits.onnx", "cpu")
      .value();
}

Tensor zeros() { return Tensor::from(std::vector<float>(64), {1, 1, 8, 8}).value(); }

TEST_SUITE("runtime.trace") {
  TEST_CASE("a trace has each step of the plan, in order, and all of its nodes") {
    const Session session = digits();
    Trace trace;
    RunOptions options;
    options.trace = &trace;
    REQUIRE(session.run(zeros(), options));
    const Placement placement = session.placement().value();
    CHECK(trace.steps.size() == static_cast<std::size_t>(placement.steps));
    std::set<std::string> names;
    std::chrono::nanoseconds at{0};
    for (const TraceStep& step : trace.steps) {
      CHECK(step.device == "cpu:0");
      CHECK(step.complete);
      CHECK(step.begin >= at);
      CHECK(step.duration.count() >= 0);
      at = step.begin + step.duration;
      names.insert(step.nodes.begin(), step.nodes.end());
    }
    CHECK(std::all_of(names.begin(), names.end(), [&](const std::string& name) {
      return std::any_of(placement.nodes.begin(), placement.nodes.end(),
                         [&](const PlacedNode& node) { return node.name == name; });
    }));
    // Flatten is a view: nothing is done for it.
    CHECK(names.size() == placement.nodes.size() - 1);
  }

  TEST_CASE("a step's bytes are those of its operands") {
    const Session session = digits();
    Trace trace;
    RunOptions options;
    options.trace = &trace;
    REQUIRE(session.run(zeros(), options));
    const TraceStep& first = trace.steps.front();
    // The image, what the convolution gives, and its weights and bias at least.
    CHECK(first.bytes > 64 * sizeof(float));
    const TraceStep& last = trace.steps.back();
    CHECK(last.bytes == 2 * 10 * sizeof(float));  // Softmax of ten
  }

  TEST_CASE("a binding traces as a run does, and a trace holds one run") {
    const Session session = digits();
    Binding binding = session.bind().value();
    REQUIRE(binding.set("image", zeros()).ok());
    Trace trace;
    RunOptions options;
    options.trace = &trace;
    REQUIRE(binding.run(options).ok());
    const std::size_t steps = trace.steps.size();
    REQUIRE(binding.run(options).ok());
    CHECK(trace.steps.size() == steps);
    REQUIRE(binding.run().ok());
    CHECK(trace.steps.size() == steps);
  }

  TEST_CASE("a run that is stopped leaves the steps it made") {
    const Session session = digits();
    Trace trace;
    trace.steps.resize(100);
    RunOptions options;
    options.trace = &trace;
    options.timeout = std::chrono::nanoseconds(1);
    CHECK(session.run(zeros(), options).status().code() == Code::Timeout);
    CHECK(trace.steps.empty());
  }

  TEST_CASE("a binding's run can time out") {
    const Session session = digits();
    Binding binding = session.bind().value();
    REQUIRE(binding.set("image", zeros()).ok());
    RunOptions options;
    options.timeout = std::chrono::nanoseconds(1);
    CHECK(binding.run(options).code() == Code::Timeout);
    options.timeout = std::chrono::seconds(60);
    CHECK(binding.run(options).ok());
  }
}

}  // namespace
