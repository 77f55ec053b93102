#include <cmath>

#include "tests/ops/op_model.hpp"

using namespace miniinfer;
using namespace miniinfer::test;

namespace {

Values softmax(const Values& x) {
  double sum = 0;
  for (const double value : x) sum += std::exp(value);
  Values out;
  for (const double value : x) out.push_back(std::exp(value) / sum);
  return out;
}

}  // namespace

TEST_CASE("Softmax runs along its axis, and does not overflow") {
  OpModel m;
  const ValueId x = m.input(floats({1, 2, 3, 1, 1, 1}, {2, 3}));
  Values wanted = softmax({1, 2, 3});
  wanted.insert(wanted.end(), 3, 1.0 / 3);
  check_near(m.run(m.node("Softmax", {x})), wanted);
  Values logs;
  for (const double value : wanted) logs.push_back(std::log(value));
  check_near(m.run(m.node("LogSoftmax", {x})), logs);
  check_near(m.run(m.node("Softmax", {m.input(floats({1000, 1000}, {2}))})), {0.5, 0.5});
  const Values column = softmax({1, 1});
  const Values second = softmax({2, 1});
  const Values third = softmax({3, 1});
  check_near(m.run(m.node("Softmax", {x}, attributes({{"axis", std::int64_t{0}}}))),
             {column[0], second[0], third[0], column[1], second[1], third[1]});
}

TEST_CASE("before opset 13 Softmax took the axes from `axis` on as one") {
  OpModel m;
  const ValueId x = m.input(floats({0, 0, 0, 0, 1, 1, 1, 1}, {2, 2, 2}));
  check_near(m.run(m.node("Softmax", {x}, {}, 11)), Values(8, 0.25));
  check_near(m.run(m.node("Softmax", {x}, {}, 13)), Values(8, 0.5));
}

TEST_CASE("Hardmax marks the first maximum") {
  OpModel m;
  CHECK(m.run(m.node("Hardmax", {m.input(floats({3, 3, 3, 1, 0, 1, 2, 3}, {2, 4}))})) ==
        Values{1, 0, 0, 0, 0, 0, 0, 1});
}

TEST_CASE("LayerNormalization gives the mean and deviation too where they are wanted") {
  OpModel m;
  const ValueId x = m.input(floats({1, 3, 10, 30}, {2, 2}));
  const ValueId scale = m.input(floats({2, 1}, {2}));
  const ValueId bias = m.input(floats({0, 5}, {2}));
  const auto exact = attributes({{"epsilon", 0.0f}});
  check_near(m.run(m.node("LayerNormalization", {x, scale, bias}, exact)), {-2, 6, -2, 6});
  const auto outputs = m.nodes("LayerNormalization", {x, scale, bias}, 3, exact);
  const auto results = m.run(outputs);
  check_near(results[0]->as_doubles(), {-2, 6, -2, 6});
  check_near(results[1]->as_doubles(), {2, 20});
  check_near(results[2]->as_doubles(), {1, 0.1});
  CHECK(m.value(outputs[1]).shape == Shape{2, 1});
}

TEST_CASE("RMSNormalization takes off no mean") {
  OpModel m;
  const ValueId x = m.input(floats({3, 4, 6, 8}, {2, 2}));
  const double rms = std::sqrt(12.5);
  check_near(m.run(m.node("RMSNormalization", {x, m.input(floats({1, 2}, {2}))},
                          attributes({{"epsilon", 0.0f}}))),
             {3 / rms, 8 / rms, 3 / rms, 8 / rms});
}

TEST_CASE("Instance- and GroupNormalization differ in what they take together") {
  OpModel m;
  const ValueId x = m.input(floats({1, 3, 10, 30, 5, 5, 7, 7}, {1, 4, 2}));
  const ValueId ones = m.input(floats({1, 1, 1, 1}, {4}));
  const ValueId bias = m.input(floats({0, 1, 2, 3}, {4}));
  const auto epsilon = [](float value) { return attributes({{"epsilon", value}}); };
  check_near(m.run(m.node("InstanceNormalization", {x, ones, bias}, epsilon(1e-12f))),
             {-1, 1, 0, 2, 2, 2, 3, 3});
  auto two = epsilon(1e-12f);
  two.set("num_groups", std::int64_t{2});
  const Values result = m.run(m.node("GroupNormalization", {x, ones, bias}, two));
  check_near({result[4], result[5], result[6], result[7]}, {1, 1, 4, 4});
  // Opset 18 had one scale and bias for each group.
  const ValueId group_scale = m.input(floats({1, 2}, {2}));
  const ValueId group_bias = m.input(floats({0, 1}, {2}));
  const Values old = m.run(m.node("GroupNormalization", {x, group_scale, group_bias}, two, 18));
  check_near({old[4], old[5], old[6], old[7]}, {-1, -1, 3, 3});
}

TEST_CASE("LpNormalization leaves a vector of zeros alone") {
  OpModel m;
  const ValueId x = m.input(floats({3, 4, 0, 0}, {2, 2}));
  check_near(m.run(m.node("LpNormalization", {x})), {0.6, 0.8, 0, 0});
  check_near(m.run(m.node("LpNormalization", {x}, attributes({{"p", std::int64_t{1}}}))),
             {3.0 / 7, 4.0 / 7, 0, 0});
}

TEST_CASE("LRN sums squares of neighbouring channels, more of them after than before") {
  OpModel m;
  const ValueId x = m.input(floats({1, 2, 3}, {1, 3, 1, 1}));
  check_near(
      m.run(m.node(
          "LRN", {x},
          attributes(
              {{"size", std::int64_t{2}}, {"alpha", 2.0f}, {"beta", 1.0f}, {"bias", 1.0f}}))),
      {1.0 / 6, 2.0 / 14, 3.0 / 10});
}

TEST_CASE("MeanVarianceNormalization takes each channel by itself") {
  OpModel m;
  const ValueId x = m.input(floats({1, 3, 10, 30, 1, 3, 10, 30}, {2, 2, 2, 1}));
  check_near(m.run(m.node("MeanVarianceNormalization", {x})), {-1, 1, -1, 1, -1, 1, -1, 1});
}
