#include <algorithm>

#include "tests/support/graph_runner.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

// Ways to write the same normalisation, and ways to write almost the same.
struct Written {
  Shape x = {2, 3, 5, 8};
  std::vector<std::int64_t> axes = {-1};
  DataType dtype = DataType::Float32;
  bool rms = false;
  bool two_subs = false;
  bool multiply = false;                           // d * d, not d to the power of 2
  bool reciprocal = false;                         // times Reciprocal(root), not divided by it
  bool one_over = false;                           // times Div(1, root)
  bool swapped = false;                            // constants stand first
  std::vector<Shape> scale = {{8}}, bias = {{8}};  // empty: none
  Shape epsilon = {};
  double exponent = 2;
  double one = 1;
  std::int64_t keepdims = 1;
  std::string also_read = "none";  // which result someone else reads
  std::string also_output = "none";
};

ValueId typed(GraphBuilder& b, const Tensor& floats, DataType dtype) {
  std::vector<std::byte> bytes;
  const Constant as_floats{floats.type(), floats.bytes(), nullptr, {}};
  for (const double value : as_floats.as_doubles()) {
    const ConstantPtr one = make_constant_scalar(dtype, value);
    bytes.insert(bytes.end(), one->bytes.begin(), one->bytes.end());
  }
  return b.graph.add_constant(make_constant({dtype, floats.type().shape}, bytes));
}

Graph write(std::mt19937& random, const Written& how) {
  GraphBuilder b;
  std::vector<std::pair<std::string, ValueId>> made;
  const auto emit = [&](const char* role, std::string op, std::vector<ValueId> inputs,
                        Attributes attributes = {}) {
    const ValueId id = b.node(std::move(op), std::move(inputs), std::move(attributes));
    made.emplace_back(role, id);
    return id;
  };
  const auto commuted = [&](const char* role, const char* op, ValueId value, ValueId constant) {
    return how.swapped ? emit(role, op, {constant, value}) : emit(role, op, {value, constant});
  };
  const auto number = [&](double value, const Shape& shape = {}) {
    const std::vector<float> values(element_count(shape).value(), static_cast<float>(value));
    return typed(b, Tensor::from(values, shape).value(), how.dtype);
  };
  const ValueId given = b.input(how.dtype, how.x);
  const ValueId x = b.node("Tanh", {given});
  Attributes keep;
  keep.set("keepdims", how.keepdims);
  ValueId squared = x;
  ValueId divided = x;
  if (!how.rms) {
    const ValueId mean = emit("mean", "ReduceMean", {x, b.ints(how.axes)}, keep);
    squared = divided = emit("centred", "Sub", {x, mean});
    if (how.two_subs) divided = emit("again", "Sub", {x, mean});
  }
  const ValueId square = how.multiply ? emit("square", "Mul", {squared, squared})
                                      : emit("square", "Pow", {squared, number(how.exponent)});
  const ValueId variance = emit("variance", "ReduceMean", {square, b.ints(how.axes)}, keep);
  const ValueId sum = commuted("sum", "Add", variance, number(1e-3, how.epsilon));
  const ValueId root = emit("root", "Sqrt", {sum});
  ValueId y = kNoValue;
  if (how.reciprocal || how.one_over) {
    const ValueId inverse = how.reciprocal ? emit("inverse", "Reciprocal", {root})
                                           : emit("inverse", "Div", {number(how.one), root});
    y = how.swapped ? emit("y", "Mul", {inverse, divided}) : emit("y", "Mul", {divided, inverse});
  } else {
    y = emit("y", "Div", {divided, root});
  }
  for (const Shape& shape : how.scale) {
    y = commuted("scaled", "Mul", y, typed(b, random_floats(random, shape), how.dtype));
  }
  for (const Shape& shape : how.bias) {
    y = commuted("biased", "Add", y, typed(b, random_floats(random, shape), how.dtype));
  }
  b.output(b.node("Neg", {y}));
  for (const auto& [role, id] : made) {
    if (role == how.also_read) b.output(b.node("Abs", {id}));
    if (role == how.also_output) b.output(id);
  }
  return b.graph;
}

Tensor input_for(std::mt19937& random, const Written& how) {
  GraphBuilder b;
  const ValueId id = typed(b, random_floats(random, how.x, -2, 2), how.dtype);
  const Constant& constant = *b.graph.value(id).constant;
  return Tensor::from_bytes(constant.bytes, constant.type).value();
}

// What is left after the passes of the model before it, and it.
Graph lifted(Graph graph, int times) {
  PassContext context;
  REQUIRE(fold(graph, context).value() == 0);
  CHECK(lift_layer_norm(graph, context).value() == times);
  graph.compact();
  REQUIRE(verify(graph).ok());
  return graph;
}

// Tanh, the normalisation and what `after` counts, Neg.
void check_lifted(const Written& how, const char* op = "LayerNormalization", std::size_t after = 0,
                  double tolerance = 1e-5) {
  std::mt19937 random(21);
  const Graph graph = write(random, how);
  const Tensor input = input_for(random, how);
  check_same_results(graph, {input}, "lift-layer-norm", tolerance, tolerance);
  CHECK(run_graph(graph, {input}).steps() < run_graph(graph, {input}, {"lift-layer-norm"}).steps());

  const Graph small = lifted(graph, 1);
  CHECK(small.node_count() == 3 + after);
  CHECK(small.node(1).op == op);
  const bool wide = how.dtype == DataType::Float64;
  CHECK(small.node(1).attributes.get_int("stash_type", 1) == (wide ? 11 : 1));
  // Every node of the file is still accounted for, once.
  std::vector<NodeId> sources;
  for (const Node& node : small.nodes()) {
    sources.insert(sources.end(), node.origin.sources.begin(), node.origin.sources.end());
  }
  std::sort(sources.begin(), sources.end());
  REQUIRE(sources.size() == graph.node_count());
  for (NodeId id = 0; id < sources.size(); ++id) CHECK(sources[id] == id);
}

void check_untouched(const Written& how) {
  std::mt19937 random(22);
  const Graph graph = write(random, how);
  CHECK(lifted(graph, 0).node_count() == graph.node_count());
}

TEST_SUITE("passes.lift_layer_norm") {
  TEST_CASE("each way to write a layer normalisation becomes one node of equal results") {
    check_lifted({});
    check_lifted({.two_subs = true});
    check_lifted({.multiply = true});
    check_lifted({.reciprocal = true});
    check_lifted({.one_over = true});
    check_lifted({.swapped = true});
    check_lifted({.two_subs = true, .multiply = true, .reciprocal = true, .swapped = true});
    check_lifted({.epsilon = {1, 1}});
  }

  TEST_CASE("scale and bias may be left out, or broadcast") {
    check_lifted({.scale = {}, .bias = {}});
    check_lifted({.bias = {}});
    check_lifted({.scale = {}});
    check_lifted({.scale = {{}}, .bias = {{1, 1, 8}}});
    check_lifted({.scale = {{1}}, .bias = {{1, 1, 1, 1}}});
  }

  TEST_CASE("the axes may be several, named in any order") {
    check_lifted({.axes = {3, 2}, .scale = {{5, 8}}, .bias = {{5, 8}}});
    check_lifted({.axes = {-2, -1}, .scale = {{5, 1}}, .bias = {{8}}});
    check_lifted({.axes = {1, 2, 3}, .scale = {{3, 1, 1}}, .bias = {{1, 5, 8}}});
    check_lifted({.axes = {}, .scale = {{2, 3, 5, 8}}, .bias = {{8}}});
  }

  TEST_CASE("what is no parameter of the normalised axes stays behind it") {
    check_lifted({.scale = {{5, 8}}}, "LayerNormalization", 2);
    check_lifted({.bias = {{3, 1, 1}}}, "LayerNormalization", 1);
    check_lifted({.scale = {{8}, {8}}}, "LayerNormalization", 2);
    check_lifted({.bias = {{1, 1, 1, 1, 8}}}, "LayerNormalization", 1);
    check_lifted({.also_read = "scaled"}, "LayerNormalization", 2);
    check_lifted({.also_output = "scaled"}, "LayerNormalization", 1);
  }

  TEST_CASE("float16 and float64 are normalised in types that hold them") {
    check_lifted({.dtype = DataType::Float16}, "LayerNormalization", 0, 4e-3);
    check_lifted({.dtype = DataType::Float64}, "LayerNormalization", 0, 1e-9);
  }

  TEST_CASE("a normalisation by the root mean square becomes one node") {
    const char* op = "RMSNormalization";
    check_lifted({.rms = true, .bias = {}}, op);
    check_lifted({.rms = true, .multiply = true, .reciprocal = true, .scale = {}, .bias = {}}, op);
    check_lifted({.rms = true, .one_over = true, .swapped = true, .bias = {}}, op);
    check_lifted({.axes = {2, 3}, .rms = true, .scale = {{5, 8}}, .bias = {{8}}}, op, 1);
  }

  TEST_CASE("a chain of normalisations is lifted whole") {
    std::mt19937 random(23);
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {4, 6});
    ValueId y = x;
    for (int i = 0; i < 3; ++i) {
      const ValueId axes = b.ints({1});
      const ValueId d = b.node("Sub", {y, b.node("ReduceMean", {y, axes})});
      const ValueId v = b.node("ReduceMean", {b.node("Mul", {d, d}), axes});
      const ValueId root = b.node("Sqrt", {b.node("Add", {b.floats({1e-5F}, {}), v})});
      y = b.node("Add", {b.node("Div", {d, root}), i == 1 ? y : b.floats({0.5F}, {})});
    }
    b.output(y);
    check_same_results(b.graph, {random_floats(random, {4, 6})}, "lift-layer-norm", 1e-4, 1e-5);
    CHECK(lifted(b.graph, 3).node_count() == 4);
  }

  TEST_CASE("where someone else wants what comes between, it stays") {
    for (const char* role :
         {"mean", "centred", "again", "square", "variance", "sum", "root", "inverse"}) {
      CAPTURE(role);
      check_untouched({.two_subs = true, .reciprocal = true, .also_read = role});
      check_untouched({.two_subs = true, .reciprocal = true, .also_output = role});
    }
  }

  TEST_CASE("what only resembles a layer normalisation stays") {
    check_untouched({.axes = {1}});
    check_untouched({.axes = {1, 3}});
    check_untouched({.epsilon = {8}});
    check_untouched({.epsilon = {1, 1, 1, 1, 1}});
    check_untouched({.exponent = 3});
    check_untouched({.one_over = true, .one = 2});
    check_untouched({.x = {8, 8}, .keepdims = 0});
    check_untouched({.x = {2, 3, 5, -1}, .scale = {}, .bias = {}});
    check_untouched({.dtype = DataType::BFloat16});
  }

  TEST_CASE("means over different axes are no layer normalisation") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {3, 4, 5});
    const ValueId d = b.node("Sub", {x, b.node("ReduceMean", {x, b.ints({1, 2})})});
    const ValueId v = b.node("ReduceMean", {b.node("Mul", {d, d}), b.ints({2})});
    const ValueId root = b.node("Sqrt", {b.node("Add", {v, b.floats({1e-5F}, {})})});
    b.output(b.node("Div", {d, root}));
    CHECK(lifted(b.graph, 0).node_count() == b.graph.node_count());
  }
}

}  // namespace
