// Operators that become copies: Transpose, DepthToSpace, Expand, Tile, Pad, CenterCropPad.

#include "tests/ops/op_model.hpp"

using namespace miniinfer;
using namespace miniinfer::test;

namespace {

ConstantPtr counting(Shape shape) {
  std::vector<float> data(*element_count(shape));
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<float>(i);
  return floats(data, std::move(shape));
}

Values padded(const char* mode, Shape shape, const Ints& pads) {
  OpModel m;
  return m.run(m.node("Pad", {m.input(counting(std::move(shape))), m.constant(ints(pads))},
                      attributes({{"mode", std::string(mode)}})));
}

}  // namespace

TEST_CASE("Transpose reverses the axes or permutes them") {
  OpModel m;
  const ValueId x = m.input(counting({2, 3}));
  CHECK(m.run(m.node("Transpose", {x})) == Values{0, 3, 1, 4, 2, 5});
  const ValueId y = m.input(counting({2, 2, 2}));
  CHECK(m.run(m.node("Transpose", {y}, attributes({{"perm", Ints{1, 0, 2}}}))) ==
        Values{0, 1, 4, 5, 2, 3, 6, 7});
  OpModel wrong;
  wrong.node("Transpose", {wrong.input(counting({2, 2}))}, attributes({{"perm", Ints{0, 0}}}));
  CHECK_FALSE(wrong.infer().ok());
}

TEST_CASE("a transpose that only moves axes of size 1 is a view") {
  OpModel m;
  const ValueId y = m.node("Transpose", {m.input(counting({1, 3, 1, 2}))},
                           attributes({{"perm", Ints{1, 0, 3, 2}}}));
  Result<Graph> kernels = m.lowered({y});
  REQUIRE(kernels.ok());
  REQUIRE(kernels->node_count() == 1);
  CHECK(kernels->node(0).op == "view");
}

TEST_CASE("a transpose of many axes is done when few of them really move") {
  OpModel m;
  const ValueId x = m.input(counting({1, 2, 1, 1, 1, 1, 1, 1, 1, 3}));
  const ValueId y =
      m.node("Transpose", {x}, attributes({{"perm", Ints{9, 0, 2, 3, 4, 5, 6, 7, 8, 1}}}));
  CHECK(m.run(y) == Values{0, 3, 1, 4, 2, 5});
}

TEST_CASE("DepthToSpace and SpaceToDepth undo each other in both modes") {
  for (const char* mode : {"DCR", "CRD"}) {
    CAPTURE(mode);
    OpModel m;
    const auto how = attributes({{"blocksize", std::int64_t{2}}, {"mode", std::string(mode)}});
    const ValueId x = m.input(counting({1, 8, 2, 3}));
    const ValueId wide = m.node("DepthToSpace", {x}, how);
    const ValueId back = m.node("SpaceToDepth", {wide}, how);
    CHECK(m.run(back) == counting({1, 8, 2, 3})->as_doubles());
    CHECK(m.value(wide).shape == Shape{1, 2, 4, 6});
  }
  OpModel m;
  const ValueId y = m.node("DepthToSpace", {m.input(counting({1, 4, 1, 2}))},
                           attributes({{"blocksize", std::int64_t{2}}}));
  CHECK(m.run(y) == Values{0, 2, 1, 3, 4, 6, 5, 7});
}

TEST_CASE("Expand broadcasts both the input and the shape") {
  OpModel m;
  const ValueId x = m.input(counting({2, 1}));
  CHECK(m.run(m.node("Expand", {x, m.constant(ints({3}))})) == Values{0, 0, 0, 1, 1, 1});
  const ValueId y = m.node("Expand", {x, m.constant(ints({2, 1, 1}))});
  CHECK(m.run(y) == Values{0, 1, 0, 1});
  CHECK(m.value(y).shape == Shape{2, 2, 1});
}

TEST_CASE("Tile repeats each axis") {
  OpModel m;
  const ValueId x = m.input(counting({2, 2}));
  CHECK(m.run(m.node("Tile", {x, m.constant(ints({2, 2}))})) ==
        Values{0, 1, 0, 1, 2, 3, 2, 3, 0, 1, 0, 1, 2, 3, 2, 3});
  CHECK(m.run(m.node("Tile", {x, m.constant(ints({0, 1}))})).empty());
  OpModel wrong;
  wrong.node("Tile", {wrong.input(counting({2})), wrong.constant(ints({1, 1}))});
  CHECK_FALSE(wrong.infer().ok());
}

TEST_CASE("Pad surrounds by a value, and crops where the amounts are negative") {
  CHECK(padded("constant", {2}, {1, 2}) == Values{0, 0, 1, 0, 0});
  OpModel m;
  const ValueId x = m.input(counting({2, 3}));
  const ValueId seven = m.constant(floats({7}, {}));
  CHECK(m.run(m.node("Pad", {x, m.constant(ints({1, -1, 0, 1})), seven})) ==
        Values{7, 7, 7, 1, 2, 7, 4, 5, 7});
  CHECK(m.run(m.node("Pad", {x, m.constant(ints({1, 1})), seven, m.constant(ints({-1}))})) ==
        Values{7, 0, 1, 2, 7, 7, 3, 4, 5, 7});
  CHECK(m.run(m.node("Pad", {x}, attributes({{"pads", Ints{0, 1, 0, 0}}, {"value", 5.0f}}), 2)) ==
        Values{5, 0, 1, 2, 5, 3, 4, 5});
}

TEST_CASE("an input without elements is padded to nothing but the value") {
  CHECK(padded("constant", {0, 2}, {1, 0, 0, 0}) == Values{0, 0});
}

TEST_CASE("Pad mirrors, repeats the edge, and wraps around, over more than one length") {
  CHECK(padded("reflect", {3}, {2, 3}) == Values{2, 1, 0, 1, 2, 1, 0, 1});
  CHECK(padded("reflect", {3}, {5, 0}) == Values{1, 0, 1, 2, 1, 0, 1, 2});
  CHECK(padded("reflect", {1}, {2, 1}) == Values{0, 0, 0, 0});
  CHECK(padded("edge", {3}, {2, 1}) == Values{0, 0, 0, 1, 2, 2});
  CHECK(padded("wrap", {3}, {4, 2}) == Values{2, 0, 1, 2, 0, 1, 2, 0, 1});
  CHECK(padded("edge", {2, 2}, {1, 0, 0, 1}) == Values{0, 1, 1, 0, 1, 1, 2, 3, 3});
  CHECK(padded("reflect", {4}, {-1, 1}) == Values{1, 2, 3, 2});
}

TEST_CASE("padding that would take too many regions is refused, not attempted") {
  OpModel m;
  const ValueId y = m.node("Pad", {m.input(counting({2})), m.constant(ints({1 << 20, 0}))},
                           attributes({{"mode", std::string("wrap")}}));
  CHECK(m.lowered({y}).status().code() == Code::Unsupported);
}

TEST_CASE("CenterCropPad puts the odd element at the end") {
  OpModel m;
  const ValueId x = m.input(counting({4}));
  CHECK(m.run(m.node("CenterCropPad", {x, m.constant(ints({1}))})) == Values{1});
  CHECK(m.run(m.node("CenterCropPad", {x, m.constant(ints({7}))})) == Values{0, 0, 1, 2, 3, 0, 0});
}

TEST_CASE("a movement along more axes than the boundary has is refused with their number") {
  OpModel m;
  const ValueId y = m.node("Transpose", {m.input(counting(Shape(9, 2)))});
  const Status status = m.lowered({y}).status();
  CHECK(status.code() == Code::Unsupported);
  CHECK(status.message().find("9 axes") != std::string::npos);
}
