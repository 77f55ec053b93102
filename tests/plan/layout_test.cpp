#include "core/plan/layout.hpp"

#include <algorithm>

#include "tests/plan/plan_case.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

// A fake device whose convolutions prefer channels-last operands.
struct LastDevice {
  LastDevice() : fake((setenv("MINIINFER_FAKE_LAYOUT", "channels-last", 1), 20)) {
    unsetenv("MINIINFER_FAKE_LAYOUT");
  }
  FakeDevice fake;
};

struct Model : GraphBuilder {
  std::mt19937 random{7};
  std::vector<Tensor> inputs;

  ValueId image(Shape shape) {
    inputs.push_back(random_floats(random, shape));
    return input(DataType::Float32, std::move(shape));
  }
  ValueId weights(Shape shape) { return constant(random_floats(random, std::move(shape))); }
  ValueId conv(ValueId x, Shape window, std::int64_t group = 1, std::int64_t stride = 1,
               bool bias = true) {
    const std::size_t axes = window.size() - 2;
    Attributes attributes;
    std::vector<std::int64_t> pads;
    for (int end = 0; end < 2; ++end) {
      for (std::size_t axis = 0; axis < axes; ++axis) pads.push_back(window[2 + axis] / 2);
    }
    attributes.set("pads", pads);
    attributes.set("strides", std::vector<std::int64_t>(axes, stride));
    attributes.set("group", group);
    std::vector<ValueId> operands = {x, weights(window)};
    if (bias) operands.push_back(weights({window[0]}));
    return node("Conv", operands, std::move(attributes));
  }
  ValueId relu(ValueId x) { return node("Relu", {x}); }
};

Attributes window(std::vector<std::int64_t> size, std::vector<std::int64_t> stride) {
  Attributes attributes;
  attributes.set("kernel_shape", std::move(size));
  attributes.set("strides", std::move(stride));
  return attributes;
}

int count(const Plan& plan, std::string_view op) {
  return static_cast<int>(std::count_if(plan.steps.begin(), plan.steps.end(), [&](const Step& s) {
    return s.label.substr(0, op.size()) == op;
  }));
}

// Runs on the fake device and the built-in backend. Gives how many copies the layouts cost, or
// nothing where they were left as they are.
int check_model(const Model& model, bool expect_change = true) {
  const LastDevice last;
  const GraphRun want = run_graph(model.graph, model.inputs);
  const GraphRun plain = run_graph(model.graph, model.inputs, {"layout"}, {last.fake.open()});
  const GraphRun got = run_graph(model.graph, model.inputs, {}, {last.fake.open()});
  REQUIRE(got.outputs.size() == want.outputs.size());
  for (std::size_t i = 0; i < want.outputs.size(); ++i) {
    check_close(got.outputs[i], want.outputs[i], 1e-4, 1e-4);
    check_close(plain.outputs[i], want.outputs[i], 1e-4, 1e-4);
  }
  CHECK(count(*got.plan, "conv/1") == count(*plain.plan, "conv/1"));
  CHECK(count(*got.plan, "pointwise/1") == count(*plain.plan, "pointwise/1"));
  const int copies = count(*got.plan, "copy/1") - count(*plain.plan, "copy/1");
  CHECK((got.plan->steps.size() != plain.plan->steps.size()) == (expect_change && copies != 0));
  CHECK(got.placement.per_device == plain.placement.per_device);
  return copies;
}

TEST_SUITE("plan.layout") {
  TEST_CASE("convolutions one after another are turned once, at the beginning") {
    Model m;
    ValueId x = m.image({1, 3, 12, 12});
    for (const std::int64_t in : {3, 8, 8}) x = m.relu(m.conv(x, {8, in, 3, 3}));
    m.output(m.node("Flatten", {m.node("GlobalAveragePool", {x})}));
    CHECK(check_model(m) == 1);
  }

  TEST_CASE("a lone convolution is not worth the copies at its border") {
    Model m;
    m.output(m.relu(m.conv(m.image({1, 4, 8, 8}), {4, 4, 3, 3})));
    CHECK(check_model(m, false) == 0);
  }

  TEST_CASE("a residual network stays channels-last through its sums and its pooling") {
    Model m;
    ValueId x = m.relu(m.conv(m.image({2, 3, 16, 16}), {8, 3, 7, 7}, 1, 2));
    x = m.node("MaxPool", {x}, window({2, 2}, {2, 2}));
    for (int i = 0; i < 2; ++i) {
      const ValueId inner = m.conv(m.relu(m.conv(x, {8, 8, 3, 3})), {8, 8, 3, 3});
      x = m.relu(m.node("Add", {inner, x}));
    }
    const ValueId pooled = m.node("Flatten", {m.node("GlobalAveragePool", {x})});
    m.output(m.node("Gemm", {pooled, m.weights({8, 5})}));
    CHECK(check_model(m) == 1);
  }

  TEST_CASE("a dense network stays channels-last through its concatenations") {
    Model m;
    ValueId x = m.conv(m.image({1, 3, 10, 10}), {6, 3, 3, 3});
    for (std::int64_t channels = 6; channels < 15; channels += 4) {
      const ValueId grown = m.relu(m.conv(m.relu(x), {4, channels, 3, 3}));
      x = m.node("Concat", {x, grown}, attribute("axis", std::int64_t{1}));
    }
    x = m.node("AveragePool", {x}, window({2, 2}, {2, 2}));
    m.output(m.node("Flatten", {m.node("GlobalMaxPool", {x})}));
    CHECK(check_model(m) == 1);
  }

  TEST_CASE("depthwise and grouped convolutions, and gates of one number a channel, go along") {
    Model m;
    ValueId x = m.relu(m.conv(m.image({1, 3, 9, 9}), {8, 3, 3, 3}, 1, 2));
    x = m.relu(m.conv(x, {8, 1, 3, 3}, 8));
    const ValueId gate =
        m.node("Sigmoid", {m.conv(m.node("GlobalAveragePool", {x}), {8, 8, 1, 1})});
    x = m.node("Mul", {x, gate});
    x = m.conv(m.node("HardSwish", {x}), {12, 4, 3, 3}, 2);
    m.output(m.node("ReduceMean", {x, m.ints({2, 3})}, attribute("keepdims", std::int64_t{0})));
    CHECK(check_model(m) == 1);
  }

  TEST_CASE("a gate through a product meets the convolutions in views") {
    Model m;
    ValueId x = m.relu(m.conv(m.image({1, 3, 9, 9}), {8, 3, 3, 3}));
    ValueId gate = m.node("Flatten", {m.node("GlobalAveragePool", {x})});
    gate = m.node("Sigmoid", {m.node("MatMul", {gate, m.weights({8, 8})})});
    gate = m.node("Reshape", {gate, m.ints({1, 8, 1, 1})});
    x = m.conv(m.node("Mul", {x, gate}), {8, 8, 3, 3});
    m.output(m.node("GlobalMaxPool", {x}));
    CHECK(check_model(m) == 1);
  }

  TEST_CASE("slices, padding and splits work axis by axis") {
    Model m;
    ValueId x = m.conv(m.image({1, 4, 8, 10}), {8, 4, 3, 3});
    const auto halves = m.nodes("Split", {x}, 2, attribute("axis", std::int64_t{1}));
    x = m.node("Concat", {m.relu(halves[1]), halves[0]}, attribute("axis", std::int64_t{2}));
    x = m.node("Slice", {x, m.ints({1, 2}), m.ints({16, 9}), m.ints({2, 3}), m.ints({2, 1})});
    x = m.node("Pad", {x, m.ints({0, 1, 0, 2, 0, 0, 1, 1}), m.floats({0.5}, {})});
    x = m.conv(x, {6, 5, 3, 3});
    x = m.conv(x, {6, 6, 3, 3});
    m.output(m.node("GlobalAveragePool", {x}));
    CHECK(check_model(m) == 1);
  }

  TEST_CASE("one and three spatial axes do as two") {
    for (const Shape& image : {Shape{2, 4, 20}, Shape{1, 4, 5, 6, 7}}) {
      Model m;
      ValueId x = m.image(image);
      Shape window(image.size(), 3);
      window[0] = window[1] = 4;
      for (int i = 0; i < 4; ++i) x = m.relu(m.conv(x, window));
      m.output(m.node("GlobalAveragePool", {x}));
      CHECK(check_model(m) == 1);
    }
  }

  TEST_CASE("values that are asked for stay row-major") {
    Model m;
    ValueId x = m.image({1, 4, 8, 8});
    for (int i = 0; i < 5; ++i) x = m.relu(m.conv(x, {4, 4, 3, 3}));
    m.output(x);
    m.output(m.conv(x, {4, 4, 1, 1}));
    CHECK(check_model(m) == 3);
  }

  TEST_CASE("a model that transposes by itself pays nothing at the border") {
    Model m;
    const auto turn = [&](ValueId x, std::vector<std::int64_t> perm) {
      return m.node("Transpose", {x}, attribute("perm", std::move(perm)));
    };
    ValueId x = turn(m.image({1, 8, 8, 3}), {0, 3, 1, 2});
    x = m.relu(m.conv(x, {4, 3, 3, 3}));
    x = m.conv(x, {4, 4, 3, 3});
    m.output(turn(x, {0, 2, 3, 1}));
    CHECK(check_model(m) == -2);
  }

  TEST_CASE("without costs there is no preference") {
    Model m;
    ValueId x = m.image({1, 4, 8, 8});
    for (int i = 0; i < 4; ++i) x = m.relu(m.conv(x, {4, 4, 3, 3}));
    m.output(x);
    const FakeDevice fake;
    const GraphRun got = run_graph(m.graph, m.inputs, {}, {fake.open()});
    CHECK(count(*got.plan, "copy/1") == 0);
  }

  TEST_CASE("attention's transpositions are read and written through") {
    Model m;
    const std::int64_t batch = 2, length = 5, heads = 3, size = 4, width = heads * size;
    const ValueId x = m.image({batch, length, width});
    const auto turn = [&](ValueId v, std::vector<std::int64_t> perm) {
      return m.node("Transpose", {v}, attribute("perm", std::move(perm)));
    };
    const auto split = [&](std::vector<std::int64_t> perm) {
      const ValueId y =
          m.node("Add", {m.node("MatMul", {x, m.weights({width, width})}), m.weights({width})});
      return turn(m.node("Reshape", {y, m.ints({batch, length, heads, size})}), std::move(perm));
    };
    ValueId scores = m.node("MatMul", {split({0, 2, 1, 3}), split({0, 2, 3, 1})});
    scores = m.node("Softmax", {scores});
    const ValueId context = turn(m.node("MatMul", {scores, split({0, 2, 1, 3})}), {0, 2, 1, 3});
    m.output(m.node("MatMul", {m.node("Reshape", {context, m.ints({batch, length, width})}),
                               m.weights({width, width})}));
    const GraphRun plain = run_graph(m.graph, m.inputs, {"layout", "lift-attention"});
    const GraphRun got = run_graph(m.graph, m.inputs, {"lift-attention"});
    CHECK(count(*plain.plan, "copy/1") == 4);
    CHECK(count(*got.plan, "copy/1") == 0);
    CHECK(got.steps() == plain.steps() - 4);
    CHECK(got.placement.per_device == plain.placement.per_device);
    check_close(got.outputs[0], plain.outputs[0], 1e-4, 1e-5);
    const GraphRun whole = run_graph(m.graph, m.inputs);
    CHECK(count(*whole.plan, "attention/1") == 1);
    CHECK(count(*whole.plan, "copy/1") == 0);
    check_close(whole.outputs[0], plain.outputs[0], 1e-4, 1e-5);
    const FakeDevice fake;
    const GraphRun other = run_graph(m.graph, m.inputs, {}, {fake.open()});
    check_close(other.outputs[0], plain.outputs[0], 1e-4, 1e-5);
  }

  TEST_CASE("transpositions one after another are joined, and go where they undo each other") {
    Model m;
    const ValueId x = m.image({2, 3, 4});
    const auto turn = [&](ValueId v, std::vector<std::int64_t> perm) {
      return m.node("Transpose", {v}, attribute("perm", std::move(perm)));
    };
    const ValueId once = turn(m.node("Neg", {x}), {1, 2, 0});
    m.output(m.node("Exp", {turn(once, {1, 2, 0})}));
    m.output(m.node("Abs", {turn(once, {2, 0, 1})}));
    const GraphRun plain = run_graph(m.graph, m.inputs, {"layout"});
    const GraphRun got = run_graph(m.graph, m.inputs);
    CHECK(count(*plain.plan, "copy/1") == 3);
    CHECK(count(*got.plan, "copy/1") == 1);
    CHECK(got.placement.per_device == plain.placement.per_device);
    for (std::size_t i = 0; i < 2; ++i) check_close(got.outputs[i], plain.outputs[i], 0, 0);
  }
}

}  // namespace
