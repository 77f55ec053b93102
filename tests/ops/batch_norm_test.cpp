#include <cmath>

#include "tests/ops/op_model.hpp"

using namespace miniinfer;
using namespace miniinfer::test;

namespace {

const std::vector<float> kX = {1, 2, 3, 4, -1, -2, -3, -4};  // [2, 2, 2]

Values expected() {
  const double scale[] = {2, 0.5}, bias[] = {1, -1}, mean[] = {1.5, 3}, var[] = {4, 0.25};
  Values out;
  for (std::size_t i = 0; i < kX.size(); ++i) {
    const std::size_t c = i / 2 % 2;
    out.push_back((kX[i] - mean[c]) / std::sqrt(var[c] + 1e-5) * scale[c] + bias[c]);
  }
  return out;
}

std::vector<ConstantPtr> parameters() {
  return {floats({2, 0.5f}, {2}), floats({1, -1}, {2}), floats({1.5f, 3}, {2}),
          floats({4, 0.25f}, {2})};
}

}  // namespace

TEST_CASE("BatchNormalization of constant parameters is one line for each channel") {
  OpModel m;
  std::vector<ValueId> inputs = {m.input(floats(kX, {2, 2, 2}))};
  for (const ConstantPtr& parameter : parameters()) inputs.push_back(m.constant(parameter));
  const ValueId y = m.node("BatchNormalization", inputs);
  check_near(m.run(y), expected());
  Result<Graph> kernels = m.lowered({y});
  REQUIRE(kernels.ok());
  CHECK(kernels->node_count() == 1);
}

TEST_CASE("BatchNormalization of computed parameters gives the same") {
  OpModel m;
  std::vector<ValueId> inputs = {m.input(floats(kX, {2, 2, 2}))};
  for (const ConstantPtr& parameter : parameters()) inputs.push_back(m.input(parameter));
  check_near(m.run(m.node("BatchNormalization", inputs)), expected());
}

TEST_CASE("in training mode the batch's own statistics are used and the running ones move") {
  OpModel m;
  std::vector<ValueId> inputs = {m.input(floats({1, 3, 10, 30}, {2, 2}))};
  const std::vector<ConstantPtr> start = {floats({1, 1}, {2}), floats({0, 0}, {2}),
                                          floats({0, 10}, {2}), floats({1, 1}, {2})};
  for (const ConstantPtr& parameter : start) inputs.push_back(m.input(parameter));
  const auto y = m.nodes("BatchNormalization", inputs, 3,
                         attributes({{"training_mode", std::int64_t{1}}, {"momentum", 0.5f}}));
  const auto results = m.run(y);
  const double a = 4.5 / std::sqrt(4.5 * 4.5 + 1e-5);
  const double b = 13.5 / std::sqrt(13.5 * 13.5 + 1e-5);
  check_near(results[0]->as_doubles(), {-a, -b, a, b});
  check_near(results[1]->as_doubles(), {2.75, 13.25});
  check_near(results[2]->as_doubles(), {10.625, 91.625});
}

TEST_CASE("the channels must agree") {
  OpModel m;
  std::vector<ValueId> inputs = {m.input(floats({1, 2, 3}, {1, 3}))};
  for (const ConstantPtr& parameter : parameters()) inputs.push_back(m.input(parameter));
  m.node("BatchNormalization", inputs);
  CHECK(m.infer().code() == Code::InvalidArgument);
}
