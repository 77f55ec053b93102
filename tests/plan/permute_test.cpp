#include "core/plan/permute.hpp"

#include <numeric>

#include "core/plan/boxes.hpp"
#include "miniinfer/abi/op/reduce.h"
#include "miniinfer/abi/op/resize.h"
#include "tests/plan/plan_case.hpp"

namespace {

using namespace miniinfer;
using namespace miniinfer::testing;

// The copy that a node of the model lowers to.
Graph lowered(const GraphBuilder& model) { return PlanCase(model.graph).kernels(); }

TEST_SUITE("plan.permute") {
  TEST_CASE("a copy that permutes is known, whatever axes were joined or have one place") {
    for (const Shape& shape : {Shape{2, 3, 4, 5}, Shape{1, 3, 1, 5}, Shape{2, 2, 2, 2}}) {
      std::vector<std::int64_t> perm(4);
      std::iota(perm.begin(), perm.end(), 0);
      do {
        GraphBuilder b;
        const ValueId x = b.input(DataType::Float32, shape);
        b.output(b.node("Transpose", {x}, attribute("perm", perm)));
        const Graph graph = lowered(b);
        const Order wanted(perm.begin(), perm.end());
        if (moves_nothing(shape, wanted)) continue;
        REQUIRE(ops(graph) == "copy/1");
        const auto order = find_transposition(graph, graph.node(0));
        REQUIRE(order.has_value());
        // Axes of one place may change places among themselves.
        CHECK(permuted(shape, *order) == permuted(shape, wanted));
        for (std::size_t axis = 0; axis < 4; ++axis) {
          if (shape[wanted[axis]] > 1) CHECK((*order)[axis] == wanted[axis]);
        }
        CHECK(compose(*order, inverse(*order)) == Order{0, 1, 2, 3});
      } while (std::next_permutation(perm.begin(), perm.end()));
    }
  }

  TEST_CASE("a slice, a part of a concatenation and an expansion are no transpositions") {
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {4, 4});
    b.output(b.node("Slice", {x, b.ints({1}), b.ints({3}), b.ints({0})}));
    b.output(b.node("Concat", {x, x}, attribute("axis", std::int64_t{1})));
    b.output(b.node("Expand", {x, b.ints({2, 4, 4})}));
    const Graph graph = lowered(b);
    for (const Node& node : graph.nodes()) CHECK_FALSE(find_transposition(graph, node).has_value());
  }

  TEST_CASE("constants are permuted, and share their bytes where nothing moves") {
    const ConstantPtr x = make_constant_ints(std::vector<std::int64_t>{0, 1, 2, 3, 4, 5});
    auto matrix = std::make_shared<Constant>(*x);
    matrix->type.shape = {2, 3};
    CHECK(permuted(matrix, {1, 0})->as_ints() == std::vector<std::int64_t>{0, 3, 1, 4, 2, 5});
    matrix->type.shape = {1, 6};
    const ConstantPtr same = permuted(matrix, {1, 0});
    CHECK(same->type.shape == Shape{6, 1});
    CHECK(same->bytes.data() == matrix->bytes.data());
  }

  TEST_CASE("numbers that belong to axes go with them, and positions do not allow it") {
    const Order last = {0, 2, 3, 1};
    GraphBuilder b;
    const ValueId x = b.input(DataType::Float32, {1, 2, 6, 6});
    b.output(b.node("Resize", {x, kNoValue, b.floats({1, 1, 2, 3}, {4})}));
    Attributes window = attribute("kernel_shape", std::vector<std::int64_t>{3, 2});
    window.set("strides", std::vector<std::int64_t>{2, 1});
    window.set("pads", std::vector<std::int64_t>{1, 0, 0, 1});
    b.output(b.node("MaxPool", {x}, window));
    b.output(b.nodes("MaxPool", {x}, 2, window)[1]);
    const Graph graph = lowered(b);
    REQUIRE(ops(graph) == "resize/1 reduce/1 reduce/1");
    const KernelAttrsPtr resized = permuted_attrs(graph, graph.node(0), last);
    REQUIRE(resized != nullptr);
    const auto& scale = static_cast<const miniinfer_resize_attrs*>(resized->abi())->scale;
    CHECK(std::vector<double>(scale, scale + 4) == std::vector<double>{1, 2, 3, 1});
    const KernelAttrsPtr pooled = permuted_attrs(graph, graph.node(1), last);
    REQUIRE(pooled != nullptr);
    const auto& attrs = *static_cast<const miniinfer_reduce_attrs*>(pooled->abi());
    CHECK(std::vector<std::int64_t>(attrs.window, attrs.window + 4) == Shape{1, 3, 2, 1});
    CHECK(std::vector<std::int64_t>(attrs.stride, attrs.stride + 4) == Shape{1, 2, 1, 1});
    CHECK(std::vector<std::int64_t>(attrs.pad_begin, attrs.pad_begin + 4) == Shape{0, 1, 0, 0});
    CHECK(std::vector<std::int64_t>(attrs.pad_end, attrs.pad_end + 4) == Shape{0, 0, 1, 0});
    CHECK(permuted_attrs(graph, graph.node(2), last) == nullptr);
  }

  TEST_CASE("boxes are found behind joined axes, and nothing else is one") {
    const Shape from = {2, 6, 4, 5}, to = {3, 9, 4, 8};
    Box box{{2, 3, 4, 2}, {0, 1, 0, 1}, {1, 2, 1, 3}, {1, 2, 0, 4}, {1, 3, 1, 2}};
    for (const bool whole : {false, true}) {
      if (whole) box = {{2, 3, 4, 5}, {0, 2, 0, 0}, {1, 1, 1, 1}, {0, 5, 0, 0}, {1, 1, 1, 1}};
      const Shape target = whole ? Shape{2, 9, 4, 5} : to;
      CopyPiece piece = box.piece(from, target);
      simplify(piece);
      const auto found = find_box(to_region(piece), from, target);
      REQUIRE(found.has_value());
      CHECK(found->sizes == box.sizes);
      CHECK(found->from == box.from);
      CHECK(found->to == box.to);
      CHECK(found->from_step == box.from_step);
      CHECK(found->to_step == box.to_step);
    }
    CopyPiece turned{0, 0, 0, {4, 6}, {1, 4}, {6, 1}};
    CHECK_FALSE(find_box(to_region(turned), {6, 4}, {4, 6}).has_value());
    CopyPiece backwards{0, 5, 0, {6}, {-1}, {1}};
    CHECK_FALSE(find_box(to_region(backwards), {6}, {6}).has_value());
    CopyPiece over_the_edge{0, 2, 0, {4}, {1}, {1}};
    CHECK_FALSE(find_box(to_region(over_the_edge), {3, 4}, {1, 4}).has_value());
  }
}

}  // namespace
