#include "miniinfer/abi/op/resize.h"

#include "tests/ops/op_model.hpp"

using namespace miniinfer;
using namespace miniinfer::test;

namespace {

std::optional<Shape> resized(Shape in, const std::vector<float>& scales, const Ints& sizes,
                             Attributes attributes) {
  OpModel m;
  const ValueId s = scales.empty()
                        ? kNoValue
                        : m.constant(floats(scales, {static_cast<std::int64_t>(scales.size())}));
  const ValueId z = sizes.empty() ? kNoValue : m.constant(ints(sizes));
  const ValueId y = m.node("Resize", {m.unknown(DataType::Float32, std::move(in)), kNoValue, s, z},
                           std::move(attributes));
  return m.infer().ok() ? m.value(y).shape : std::nullopt;
}

}  // namespace

TEST_CASE("Resize's sizes come from scales or sizes") {
  CHECK(resized({1, 1, 2, 4}, {1, 1, 0.6f, 0.6f}, {}, {}) == Shape{1, 1, 1, 2});
  CHECK(resized({1, 1, 2, 2}, {1, 1, 2, 3}, {}, {}) == Shape{1, 1, 4, 6});
  CHECK(resized({10}, {0.7f}, {}, {}) == Shape{7});
  CHECK(resized({100000}, {0.999997f}, {}, {}) == Shape{99999});
  CHECK(resized({1, 1, 2, 4}, {}, {1, 1, 7, 8}, {}) == Shape{1, 1, 7, 8});
  CHECK(resized({1, 1, 2, 4}, {}, {8, 7}, attributes({{"axes", Ints{3, 2}}})) == Shape{1, 1, 7, 8});
  const auto keeps = [](const char* policy) {
    return attributes({{"axes", Ints{2, 3}}, {"keep_aspect_ratio_policy", std::string(policy)}});
  };
  CHECK(resized({1, 1, 2, 4}, {}, {7, 8}, keeps("not_larger")) == Shape{1, 1, 4, 8});
  CHECK(resized({1, 1, 2, 4}, {}, {7, 8}, keeps("not_smaller")) == Shape{1, 1, 7, 14});
  CHECK_FALSE(resized({4}, {}, {}, {}).has_value());
  CHECK_FALSE(resized({4}, {0}, {}, {}).has_value());
  CHECK_FALSE(resized({4}, {1, 1}, {}, {}).has_value());
}

TEST_CASE("Resize by sizes not known yet leaves only the rank known") {
  OpModel m;
  const ValueId y = m.node("Resize", {m.unknown(DataType::Float32, Shape{1, 4}), kNoValue, kNoValue,
                                      m.unknown(DataType::Int64, Shape{2})});
  REQUIRE(m.infer().ok());
  CHECK(m.value(y).shape == Shape{-1, -1});
}

TEST_CASE("Upsample became Resize with asymmetric coordinates") {
  OpModel m;
  const ValueId y = m.node("Upsample", {m.input(floats({1, 2}, {1, 2}))},
                           attributes({{"scales", std::vector<float>{1, 2}}}), 7);
  Result<Graph> lowered = m.lowered({y});
  REQUIRE_MESSAGE(lowered.ok(), lowered.status().to_string());
  CHECK(m.value(y).shape == Shape{1, 4});
  const auto& attrs = *static_cast<const miniinfer_resize_attrs*>(lowered->node(0).kernel->abi());
  CHECK(attrs.coordinate == MINIINFER_COORD_ASYMMETRIC);
  CHECK(attrs.nearest == MINIINFER_NEAREST_FLOOR);
  CHECK(attrs.scale[1] == 2);
}

TEST_CASE(
    "the nearest neighbour of opset 10 is above where an axis shrinks, below where it grows") {
  const auto lower = [](const std::vector<float>& scales) {
    OpModel m;
    const ValueId y =
        m.node("Resize",
               {m.input(floats(std::vector<float>(20), {2, 10})), m.constant(floats(scales, {2}))},
               {}, 10);
    Result<Graph> lowered = m.lowered({y});
    REQUIRE_MESSAGE(lowered.ok(), lowered.status().to_string());
    std::vector<std::pair<int, Shape>> nodes;
    for (const Node& node : lowered->nodes()) {
      const auto& attrs = *static_cast<const miniinfer_resize_attrs*>(node.kernel->abi());
      CHECK(attrs.coordinate == MINIINFER_COORD_ASYMMETRIC);
      nodes.emplace_back(attrs.nearest, *lowered->value(node.outputs[0]).shape);
    }
    return nodes;
  };
  using Nodes = std::vector<std::pair<int, Shape>>;
  CHECK(lower({1, 0.6F}) == Nodes{{MINIINFER_NEAREST_CEIL, {2, 6}}});
  CHECK(lower({2, 1.5F}) == Nodes{{MINIINFER_NEAREST_FLOOR, {4, 15}}});
  CHECK(lower({2, 0.6F}) ==
        Nodes{{MINIINFER_NEAREST_CEIL, {2, 6}}, {MINIINFER_NEAREST_FLOOR, {4, 6}}});
}

TEST_CASE("the coordinates of opset 11 for nearest neighbours are those of half pixels") {
  OpModel m;
  const ValueId y =
      m.node("Resize", {m.input(floats({1, 2}, {2})), kNoValue, m.constant(floats({2}, {1}))},
             attributes({{"coordinate_transformation_mode", std::string("tf_half_pixel_for_nn")},
                         {"nearest_mode", std::string("floor")}}),
             11);
  Result<Graph> lowered = m.lowered({y});
  REQUIRE_MESSAGE(lowered.ok(), lowered.status().to_string());
  const auto& attrs = *static_cast<const miniinfer_resize_attrs*>(lowered->node(0).kernel->abi());
  CHECK(attrs.coordinate == MINIINFER_COORD_HALF_PIXEL);
  CHECK(attrs.nearest == MINIINFER_NEAREST_ROUND_PREFER_CEIL);
}
