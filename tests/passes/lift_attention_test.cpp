#include <algorithm>
#include <cmath>
#include <limits>

#include "core/ops/decompose.hpp"
#include "core/ops/operator.hpp"
#include "miniinfer/abi/op/attention.h"
#include "tests/support/graph_runner.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

constexpr float kInf = std::numeric_limits<float>::infinity();

enum class Scale { None, Div, Mul, OnQuery, OnBoth, BeforeTranspose };
enum class Mask { None, Added, AddedFirst, Computed, Causal, Chosen, Lowest };

// Ways to write the same attention, and ways to write almost the same.
struct Written {
  std::int64_t batch = 2, heads = 3, queries = 5, keys = 7, depth = 4, width = 4;
  Scale scale = Scale::Div;
  Mask mask = Mask::Added;
  Shape mask_shape = {2, 1, 1, 7};
  bool two_transposes = false;  // k to [B,H,S,D], and its last axes then
  bool flat_heads = false;      // products of three axes, as scripted exporters write them
  bool shared_keys = false;     // one head of k and v for all
  bool zero_nan = false;        // NaN probabilities become 0
  bool half = false;            // float16, with the softmax in float32
  std::int64_t axis = -1;
  float shift = 0;  // added to the scores, multiplied after it with 2
  std::string also_output = "none";
};

struct Model {
  Graph graph;
  std::vector<Tensor> inputs;
};

Model write(const Written& how) {
  std::mt19937 random(31);
  GraphBuilder b;
  Model model;
  std::vector<std::pair<std::string, ValueId>> made;
  const auto emit = [&](const char* role, std::string op, std::vector<ValueId> inputs,
                        Attributes attributes = {}) {
    const ValueId id = b.node(std::move(op), std::move(inputs), std::move(attributes));
    made.emplace_back(role, id);
    return id;
  };
  const DataType dtype = how.half ? DataType::Float16 : DataType::Float32;
  const auto cast = [&](ValueId id, DataType to) {
    Attributes attributes;
    attributes.set("to", static_cast<std::int64_t>(to));
    return b.node("Cast", {id}, attributes);
  };
  const auto given = [&](Shape shape, float low = -2, float high = 2) {
    const ValueId id = b.input(DataType::Float32, shape);
    model.inputs.push_back(random_floats(random, shape, low, high));
    return how.half ? cast(id, dtype) : id;
  };
  const auto number = [&](double value) {
    return b.graph.add_constant(make_constant_scalar(dtype, value));
  };
  const auto transpose = [&](ValueId id, std::vector<std::int64_t> perm) {
    Attributes attributes;
    attributes.set("perm", std::move(perm));
    return b.node("Transpose", {id}, attributes);
  };
  const double factor = 1 / std::sqrt(static_cast<double>(how.depth));
  const auto rooted = [&](ValueId id) { return b.node("Mul", {id, number(std::sqrt(factor))}); };
  const std::int64_t groups = how.shared_keys ? 1 : how.heads;
  const auto heads_of = [&](std::int64_t heads, std::int64_t rows, std::int64_t size) {
    const ValueId x = given({how.batch, rows, heads * size});
    return b.node("Reshape", {x, b.ints({0, 0, heads, size})});
  };
  ValueId q = transpose(heads_of(how.heads, how.queries, how.depth), {0, 2, 1, 3});
  ValueId k = heads_of(groups, how.keys, how.depth);
  ValueId v = transpose(heads_of(groups, how.keys, how.width), {0, 2, 1, 3});
  if (how.scale == Scale::BeforeTranspose) k = b.node("Mul", {k, number(factor)});
  if (how.two_transposes) {
    k = transpose(transpose(k, {0, 2, 1, 3}), {0, 1, 3, 2});
  } else {
    k = transpose(k, {0, 2, 3, 1});
  }
  if (how.scale == Scale::OnQuery) q = b.node("Mul", {q, number(factor)});
  if (how.scale == Scale::OnBoth) {
    q = rooted(q);
    k = rooted(k);
  }
  const auto flat = [&](ValueId id, std::int64_t rows, std::int64_t columns) {
    return how.flat_heads ? b.node("Reshape", {id, b.ints({how.batch * how.heads, rows, columns})})
                          : id;
  };
  ValueId s =
      emit("scores", "MatMul", {flat(q, how.queries, how.depth), flat(k, how.depth, how.keys)});
  if (how.flat_heads) {
    s = b.node("Reshape", {s, b.ints({how.batch, how.heads, how.queries, how.keys})});
  }
  if (how.scale == Scale::Div) s = emit("scaled", "Div", {s, number(1 / factor)});
  if (how.scale == Scale::Mul) s = emit("scaled", "Mul", {number(factor), s});
  const auto causal = [&](float low) {
    std::vector<float> values;
    for (std::int64_t i = 0; i < how.queries; ++i) {
      for (std::int64_t j = 0; j < how.keys; ++j) values.push_back(j <= i ? 0 : low);
    }
    return b.floats(values, {1, 1, how.queries, how.keys});
  };
  switch (how.mask) {
    case Mask::None:
      break;
    case Mask::Added:
      s = emit("masked", "Add", {s, given(how.mask_shape, -5, 0)});
      break;
    case Mask::AddedFirst:
      s = emit("masked", "Add", {given(how.mask_shape, -5, 0), s});
      break;
    case Mask::Computed: {
      const ValueId kept = given(how.mask_shape, 0, 1);
      const ValueId gone = b.node("Sub", {number(1), kept});
      s = emit("masked", "Add", {s, b.node("Mul", {gone, number(-10000)})});
      break;
    }
    case Mask::Causal:
      s = emit("masked", "Add", {s, causal(-kInf)});
      break;
    case Mask::Lowest:
      s = emit("masked", "Add", {s, causal(std::numeric_limits<float>::lowest())});
      break;
    case Mask::Chosen: {
      const ValueId kept = given(how.mask_shape, -1, 3);
      const ValueId meets = b.node("Greater", {kept, number(0)});
      s = emit("masked", "Where", {meets, s, number(std::numeric_limits<float>::lowest())});
      break;
    }
  }
  if (how.shift != 0) {
    s = b.node("Mul", {b.node("Add", {s, given({1, 1, 1, how.keys})}), number(2)});
  }
  if (how.half) s = cast(s, DataType::Float32);
  Attributes along;
  along.set("axis", how.axis);
  ValueId p = emit("probabilities", "Softmax", {s}, along);
  if (how.zero_nan) {
    p = b.node("Where", {b.node("IsNaN", {p}), b.floats({0}, {}), p});
  }
  if (how.half) p = cast(p, dtype);
  ValueId y = emit("y", "MatMul", {flat(p, how.queries, how.keys), flat(v, how.keys, how.width)});
  if (how.flat_heads) {
    y = b.node("Reshape", {y, b.ints({how.batch, how.heads, how.queries, how.width})});
  }
  y = transpose(y, {0, 2, 1, 3});
  b.output(how.half ? cast(y, DataType::Float32) : y);
  for (const auto& [role, id] : made) {
    if (role == how.also_output) b.output(id);
  }
  model.graph = std::move(b.graph);
  return model;
}

// The kernels' graph as `specialise` leaves it to the passes, and after them.
Graph lowered(const Graph& model, DataType compute = DataType::Float32) {
  Graph graph = model;
  PassContext context;
  context.compute = compute;
  context.narrow_constants = std::make_shared<NarrowConstants>();
  context.evaluate = make_evaluator(host_device());
  REQUIRE(fold(graph, context));
  Graph kernels = lower(graph).value();
  REQUIRE(run_passes(PassStage::Kernel, kernels, context, {}).ok());
  return kernels;
}

const Node* attention_in(const Graph& graph) {
  const auto found = std::ranges::find(graph.nodes(), std::string_view(MINIINFER_ATTENTION),
                                       [](const Node& node) { return std::string_view(node.op); });
  return found == graph.nodes().end() ? nullptr : &*found;
}

std::size_t count_of(const Graph& graph, std::string_view op) {
  return static_cast<std::size_t>(std::ranges::count_if(
      graph.nodes(), [&](const Node& node) { return !node.removed && node.op == op; }));
}

const miniinfer_attention_attrs& attrs_of(const Node& node) {
  return *static_cast<const miniinfer_attention_attrs*>(node.kernel->abi());
}

miniinfer_attention_attrs check_lifted(const Written& how, std::size_t inputs, double scale = 0.5) {
  const Model model = write(how);
  const double near = how.half ? 2e-3 : 1e-5;
  check_same_results(model.graph, model.inputs, "lift-attention", near, near);
  Graph graph = lowered(model.graph);
  const Node* node = attention_in(graph);
  REQUIRE(node != nullptr);
  CHECK(count_of(graph, "contract/1") == 0);
  CHECK(count_of(graph, "softmax/1") == 0);
  CHECK(node->inputs.size() == inputs);
  CHECK(*graph.value(node->inputs[0]).shape == Shape{how.batch, how.heads, how.queries, how.depth});
  const miniinfer_attention_attrs attrs = attrs_of(*node);
  if (how.scale == Scale::None) scale = 1;
  CHECK(static_cast<double>(attrs.scale) == doctest::Approx(scale));
  return attrs;
}

void check_untouched(const Written& how) {
  CHECK(attention_in(lowered(write(how).graph)) == nullptr);
}

}  // namespace

TEST_CASE("attention as exporters write it becomes one node") {
  for (const Scale scale : {Scale::None, Scale::Div, Scale::Mul, Scale::OnQuery, Scale::OnBoth,
                            Scale::BeforeTranspose}) {
    for (const bool two : {false, true}) {
      for (const bool flat : {false, true}) {
        CAPTURE(static_cast<int>(scale));
        CAPTURE(two);
        CAPTURE(flat);
        // What stands before two transposes is not looked for, and changes nothing.
        const bool far = two && scale == Scale::BeforeTranspose;
        check_lifted({.scale = scale, .two_transposes = two, .flat_heads = flat}, 4, far ? 1 : 0.5);
      }
    }
  }
}

TEST_CASE("k is copied once, into the order the node reads") {
  for (const bool two : {false, true}) {
    const Graph graph = lowered(write({.two_transposes = two}).graph);
    CHECK(count_of(graph, "copy/1") == 4);  // q, k, v and y
  }
}

TEST_CASE("what is added to the scores is the mask, however it is made and broadcast") {
  for (const Shape& shape :
       {Shape{2, 1, 1, 7}, {1, 1, 5, 7}, {2, 3, 5, 7}, {7}, {5, 1}, {3, 1, 7}}) {
    CAPTURE(to_string(shape));
    for (const Mask mask : {Mask::Added, Mask::AddedFirst, Mask::Computed, Mask::Chosen}) {
      CAPTURE(static_cast<int>(mask));
      check_lifted({.mask = mask, .mask_shape = shape}, 4);
    }
  }
  check_lifted({.mask = Mask::None}, 3);
}

TEST_CASE("a constant that leaves out later keys becomes a flag") {
  for (const Mask mask : {Mask::Causal, Mask::Lowest}) {
    const auto square = check_lifted({.queries = 6, .keys = 6, .mask = mask}, 3);
    CHECK(square.flags == MINIINFER_ATTENTION_CAUSAL);
    CHECK(square.past == 0);
    check_lifted({.mask = mask}, 4);  // queries and keys do not align
  }
}

TEST_CASE("one head of keys and values may serve all heads") {
  check_lifted({.shared_keys = true}, 4);
}

TEST_CASE("probabilities that are NaN become zeros where the model says so") {
  const auto attrs = check_lifted({.zero_nan = true}, 4);
  CHECK(attrs.flags == MINIINFER_ATTENTION_NAN_TO_ZERO);
}

TEST_CASE("float16 attention with its softmax in float32 is one node of float16") {
  check_lifted({.half = true}, 4);
  const Graph graph = lowered(write({.half = true}).graph);
  const Node* node = attention_in(graph);
  for (const ValueId input : node->inputs) CHECK(graph.value(input).dtype == DataType::Float16);
}

TEST_CASE("attention computed in a lower precision has all its operands in it") {
  const Graph graph = lowered(write({}).graph, DataType::BFloat16);
  const Node* node = attention_in(graph);
  REQUIRE(node != nullptr);
  for (const ValueId input : node->inputs) CHECK(graph.value(input).dtype == DataType::BFloat16);
  CHECK(graph.value(node->outputs[0]).dtype == DataType::BFloat16);
}

TEST_CASE("attention whose scores or probabilities someone else reads stays as it is") {
  for (const char* role : {"scores", "scaled", "masked", "probabilities"}) {
    CAPTURE(role);
    check_untouched({.also_output = role});
  }
}

TEST_CASE("what is almost attention stays as it is") {
  check_untouched({.axis = 2});   // over the queries
  check_untouched({.shift = 1});  // the mask is multiplied too
}

TEST_CASE("the node's parts give what it gives") {
  for (const Written& how :
       {Written{}, Written{.mask = Mask::None}, Written{.shared_keys = true},
        Written{.queries = 6, .keys = 6, .mask = Mask::Causal}, Written{.zero_nan = true}}) {
    const Model model = write(how);
    Graph graph = lowered(model.graph);
    for (NodeId id = 0; id < graph.node_count(); ++id) {
      if (graph.node(id).op == MINIINFER_ATTENTION) REQUIRE(decompose(graph, id));
    }
    REQUIRE(graph.sort().ok());
    graph.compact();
    REQUIRE(verify(graph).ok());
    CHECK(attention_in(graph) == nullptr);
    CHECK(count_of(graph, "contract/1") == 2);
  }
}
