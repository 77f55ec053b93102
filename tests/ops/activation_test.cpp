#include <cmath>
#include <limits>

#include "tests/ops/op_model.hpp"

using namespace miniinfer;
using namespace miniinfer::test;

namespace {

Values apply(const char* op, const Values& x, Attributes attributes = {}) {
  OpModel m;
  const std::vector<float> narrow(x.begin(), x.end());
  const ValueId y = m.node(op, {m.input(floats(narrow, {static_cast<std::int64_t>(x.size())}))},
                           std::move(attributes));
  return m.run(y);
}

}  // namespace

TEST_CASE("activations compute their definitions") {
  const Values x = {-4, -1.5, -0.25, 0, 0.25, 1.5, 4};
  struct Case {
    const char* op;
    double (*definition)(double);
  };
  const Case cases[] = {
      {"Relu", [](double v) { return v < 0 ? 0 : v; }},
      {"LeakyRelu", [](double v) { return v < 0 ? 0.01 * v : v; }},
      {"Elu", [](double v) { return v < 0 ? std::exp(v) - 1 : v; }},
      {"Selu",
       [](double v) {
         return 1.0507009873554805 * (v <= 0 ? 1.6732632423543772 * (std::exp(v) - 1) : v);
       }},
      {"Celu", [](double v) { return std::max(0.0, v) + std::min(0.0, std::exp(v) - 1); }},
      {"ThresholdedRelu", [](double v) { return v > 1 ? v : 0; }},
      {"HardSigmoid", [](double v) { return std::max(0.0, std::min(1.0, 0.2 * v + 0.5)); }},
      {"HardSwish", [](double v) { return v * std::max(0.0, std::min(1.0, v / 6 + 0.5)); }},
      {"Mish", [](double v) { return v * std::tanh(std::log1p(std::exp(v))); }},
      {"Swish", [](double v) { return v / (1 + std::exp(-v)); }},
      {"Softsign", [](double v) { return v / (1 + std::fabs(v)); }},
      {"Softplus", [](double v) { return std::log1p(std::exp(v)); }},
      {"Gelu", [](double v) { return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0))); }},
      {"Erf", [](double v) { return std::erf(v); }},
      {"Shrink", [](double v) { return v < -0.5 || v > 0.5 ? v : 0; }},
      {"Round", [](double v) { return std::nearbyint(v); }},
  };
  for (const Case& test : cases) {
    CAPTURE(test.op);
    Values wanted;
    for (const double v : x) wanted.push_back(test.definition(v));
    check_near(apply(test.op, x), wanted);
  }
}

TEST_CASE("attributes reach the formula") {
  check_near(apply("LeakyRelu", {-2}, attributes({{"alpha", 0.5f}})), {-1});
  check_near(apply("Celu", {-2}, attributes({{"alpha", 2.0f}})), {2 * (std::exp(-1.0) - 1)});
  check_near(apply("HardSigmoid", {1}, attributes({{"alpha", 0.5f}, {"beta", 0.25f}})), {0.75});
  check_near(apply("Shrink", {-3, 1, 3}, attributes({{"lambd", 1.5f}, {"bias", 1.5f}})),
             {-1.5, 0, 1.5});
  const double x = 1.5;
  check_near(apply("Gelu", {x}, attributes({{"approximate", std::string("tanh")}})),
             {0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)))});
}

TEST_CASE("IsInf tells the two infinities apart") {
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Values x = {-inf, inf, nan, 0};
  const std::int64_t no = 0;
  CHECK(apply("IsInf", x) == Values{1, 1, 0, 0});
  CHECK(apply("IsInf", x, attributes({{"detect_negative", no}})) == Values{0, 1, 0, 0});
  CHECK(apply("IsInf", x, attributes({{"detect_positive", no}})) == Values{1, 0, 0, 0});
  CHECK(apply("IsInf", x, attributes({{"detect_positive", no}, {"detect_negative", no}})) ==
        Values{0, 0, 0, 0});
}

TEST_CASE("Clip takes either bound, and the upper one where they cross") {
  OpModel m;
  const ValueId x = m.input(ints({-5, 0, 5}));
  const ValueId low = m.input(tensor<std::int64_t>({-1}, {}));
  const ValueId high = m.input(tensor<std::int64_t>({3}, {}));
  CHECK(m.run(m.node("Clip", {x, low, high})) == Values{-1, 0, 3});
  CHECK(m.run(m.node("Clip", {x, kNoValue, high})) == Values{-5, 0, 3});
  CHECK(m.run(m.node("Clip", {x, low})) == Values{-1, 0, 5});
  CHECK(m.run(m.node("Clip", {x})) == Values{-5, 0, 5});
  CHECK(m.run(m.node("Clip", {x, high, low})) == Values{-1, -1, -1});
}

TEST_CASE("before opset 11 the bounds of Clip were attributes") {
  OpModel m;
  const ValueId x = m.input(floats({-5, 0, 5}, {3}));
  CHECK(m.run(m.node("Clip", {x}, attributes({{"min", -1.0f}, {"max", 2.0f}}), 6)) ==
        Values{-1, 0, 2});
  CHECK(m.run(m.node("Clip", {x}, attributes({{"max", 2.0f}}), 6)) == Values{-5, 0, 2});
}

TEST_CASE("the slope of PRelu broadcasts to the input and not the other way") {
  OpModel m;
  const ValueId x = m.input(floats({-1, -2, -3, 4}, {2, 2}));
  CHECK(m.run(m.node("PRelu", {x, m.input(floats({10, 100}, {2}))})) == Values{-10, -200, -30, 4});
  // One slope a channel, as opset 6 had it.
  CHECK(
      m.run(m.node("PRelu",
                   {m.input(floats({-1, -2, -3, -4}, {1, 2, 2})), m.input(floats({10, 100}, {2}))},
                   {}, 6)) == Values{-10, -20, -300, -400});
  OpModel wrong;
  wrong.node("PRelu", {wrong.input(floats({1}, {1})), wrong.input(floats({1, 2}, {2}))});
  CHECK(wrong.infer().code() == Code::InvalidArgument);
}

TEST_CASE("a formula on float16 rounds once, at its end") {
  OpModel m;
  const std::vector<std::uint16_t> one = {0x3c00};
  const ValueId x = m.input(make_constant({DataType::Float16, {1}}, std::as_bytes(std::span(one))));
  const ValueId y = m.node("Mish", {x});
  check_near(m.run(y), {0.8652344});  // 0.8650984, to 11 bits
  CHECK(m.value(y).dtype == DataType::Float16);
}
