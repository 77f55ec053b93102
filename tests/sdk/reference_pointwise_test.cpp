#include "miniinfer/sdk/reference/pointwise.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "miniinfer/sdk/reference/program.hpp"
#include "tests/sdk/region_builder.hpp"

using namespace miniinfer::test;  // NOLINT
namespace reference = miniinfer::sdk::reference;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

template <class T>
constexpr miniinfer_dtype kType = MINIINFER_UNDEFINED;
template <>
constexpr miniinfer_dtype kType<float> = MINIINFER_FLOAT32;
template <>
constexpr miniinfer_dtype kType<std::int8_t> = MINIINFER_INT8;
template <>
constexpr miniinfer_dtype kType<std::int32_t> = MINIINFER_INT32;
template <>
constexpr miniinfer_dtype kType<std::uint8_t> = MINIINFER_UINT8;

miniinfer_instruction instruction(int op, int dtype, int a = 0, int b = 0, int c = 0) {
  const auto narrow = [](int value) { return static_cast<std::uint16_t>(value); };
  return {narrow(op), narrow(dtype), narrow(a), narrow(b), narrow(c), 0};
}

struct Program {
  std::vector<miniinfer_instruction> code;
  std::vector<std::uint64_t> constants;
  std::vector<std::uint16_t> constant_dtypes;
  std::vector<std::uint16_t> out;

  miniinfer_pointwise_attrs attrs(std::uint32_t inputs) const {
    miniinfer_pointwise_attrs attrs{};
    attrs.in_count = inputs;
    attrs.constant_count = static_cast<std::uint32_t>(constants.size());
    attrs.code_count = static_cast<std::uint32_t>(code.size());
    attrs.out_count = static_cast<std::uint32_t>(out.size());
    attrs.constants = constants.data();
    attrs.constant_dtypes = constant_dtypes.data();
    attrs.code = code.data();
    attrs.out = out.data();
    return attrs;
  }
};

// One instruction in type T over vectors of equal length.
template <class R, class T>
std::vector<R> apply(int op, std::vector<T> a, std::vector<T> b = {},
                     miniinfer_fault* fault = nullptr) {
  RegionBuilder builder;
  const auto count = static_cast<std::int64_t>(a.size());
  std::vector<std::uint32_t> in = {builder.input(kType<T>, {count})};
  if (!b.empty()) in.push_back(builder.input(kType<T>, {count}));
  const bool is_bool = std::is_same_v<R, std::uint8_t> && !std::is_same_v<T, std::uint8_t>;
  const std::uint32_t y = builder.output(is_bool ? MINIINFER_BOOL : kType<R>, {count});
  const auto inputs = static_cast<std::uint32_t>(in.size());
  Program program{{instruction(op, kType<T>, 0, b.empty() ? 0 : 1)},
                  {},
                  {},
                  {static_cast<std::uint16_t>(inputs)}};
  auto attrs = program.attrs(inputs);
  builder.node(MINIINFER_POINTWISE, &attrs, in, {y});
  std::vector<R> out(a.size());
  std::vector<std::byte*> args = {bytes(a)};
  if (!b.empty()) args.push_back(bytes(b));
  args.push_back(bytes(out));
  reference::run_region(builder.region(), args, fault);
  return out;
}

using Ints = std::vector<std::int32_t>;
using Small = std::vector<std::int8_t>;
using Floats = std::vector<float>;
using Bools = std::vector<std::uint8_t>;

}  // namespace

TEST_CASE("integers wrap") {
  CHECK_EQ(apply<std::int8_t>(MINIINFER_PW_ADD, Small{127, -128}, Small{1, -1}), Small{-128, 127});
  CHECK_EQ(apply<std::int8_t>(MINIINFER_PW_MUL, Small{100}, Small{3}), Small{44});
  CHECK_EQ(apply<std::int8_t>(MINIINFER_PW_NEG, Small{-128, 5}), Small{-128, -5});
  CHECK_EQ(apply<std::int32_t>(MINIINFER_PW_SUB, Ints{INT32_MIN}, Ints{1}), Ints{INT32_MAX});
}

TEST_CASE("integer division rounds toward zero and INT_MIN by -1 is INT_MIN") {
  CHECK_EQ(apply<std::int32_t>(MINIINFER_PW_DIV, Ints{7, -7, INT32_MIN}, Ints{2, 2, -1}),
           Ints{3, -3, INT32_MIN});
}

TEST_CASE("division by zero gives 0 and a fault, of which the first is kept") {
  miniinfer_fault fault{};
  CHECK_EQ(apply<std::int32_t>(MINIINFER_PW_DIV, Ints{7, 8}, Ints{0, 0}, &fault), Ints{0, 0});
  CHECK_EQ(fault.code, MINIINFER_FAULT_DIVIDE);
  CHECK_EQ(fault.detail[0], 7);
}

TEST_CASE("MOD takes the divisor's sign and FMOD the dividend's") {
  const Ints a = {7, -7, 7, -7, INT32_MIN};
  const Ints b = {3, 3, -3, -3, -1};
  CHECK_EQ(apply<std::int32_t>(MINIINFER_PW_MOD, a, b), Ints{1, 2, -2, -1, 0});
  CHECK_EQ(apply<std::int32_t>(MINIINFER_PW_FMOD, a, b), Ints{1, -1, 1, -1, 0});
  CHECK_EQ(apply<float>(MINIINFER_PW_MOD, Floats{5.5f, -5.5f}, Floats{-2, 2}), Floats{-0.5f, 0.5f});
  CHECK_EQ(apply<float>(MINIINFER_PW_FMOD, Floats{5.5f, -5.5f}, Floats{-2, 2}),
           Floats{1.5f, -1.5f});
}

TEST_CASE("integer powers wrap, and a negative exponent truncates") {
  CHECK_EQ(apply<std::int32_t>(MINIINFER_PW_POW, Ints{3, 2, 10, -1, 1}, Ints{4, 32, -1, -3, -9}),
           Ints{81, 0, 0, -1, 1});
  miniinfer_fault fault{};
  CHECK_EQ(apply<std::int32_t>(MINIINFER_PW_POW, Ints{0}, Ints{-1}, &fault), Ints{0});
  CHECK_EQ(fault.code, MINIINFER_FAULT_DIVIDE);
}

TEST_CASE("a shift by the width or more gives 0") {
  using Words = std::vector<std::uint8_t>;
  CHECK_EQ(apply<std::uint8_t>(MINIINFER_PW_SHIFT_LEFT, Words{1, 0x81, 1}, Words{7, 1, 8}),
           Words{0x80, 2, 0});
  CHECK_EQ(apply<std::uint8_t>(MINIINFER_PW_SHIFT_RIGHT, Words{0x80, 0xFF}, Words{7, 200}),
           Words{1, 0});
}

TEST_CASE("MIN and MAX are NaN if either is") {
  const Floats a = {1, kNan, 2};
  const Floats b = {2, 1, kNan};
  const Floats low = apply<float>(MINIINFER_PW_MIN, a, b);
  const Floats high = apply<float>(MINIINFER_PW_MAX, a, b);
  CHECK_EQ(low[0], 1.0f);
  CHECK_EQ(high[0], 2.0f);
  for (int i : {1, 2}) {
    CHECK(std::isnan(low[static_cast<std::size_t>(i)]));
    CHECK(std::isnan(high[static_cast<std::size_t>(i)]));
  }
}

TEST_CASE("ROUND goes to even at half") {
  CHECK_EQ(apply<float>(MINIINFER_PW_ROUND, Floats{0.5f, 1.5f, 2.5f, -0.5f, -2.6f}),
           Floats{0, 2, 2, -0.0f, -3});
}

TEST_CASE("SIGN keeps NaN and zero") {
  const Floats signs = apply<float>(MINIINFER_PW_SIGN, Floats{-3, 0, 7, kNan});
  CHECK_EQ(Floats(signs.begin(), signs.begin() + 3), Floats{-1, 0, 1});
  CHECK(std::isnan(signs[3]));
}

TEST_CASE("SIGMOID and SOFTPLUS do not overflow") {
  CHECK_EQ(apply<float>(MINIINFER_PW_SIGMOID, Floats{0, -200, 200}), Floats{0.5f, 0, 1});
  const Floats soft = apply<float>(MINIINFER_PW_SOFTPLUS, Floats{0, 1000, -1000});
  CHECK_EQ(soft[0], doctest::Approx(0.693147f));
  CHECK_EQ(soft[1], 1000.0f);
  CHECK_EQ(soft[2], 0.0f);
}

TEST_CASE("functions are those of mathematics") {
  const struct {
    int op;
    float x, y;
  } cases[] = {{MINIINFER_PW_SQRT, 2, 1.41421356f},      {MINIINFER_PW_RSQRT, 4, 0.5f},
               {MINIINFER_PW_RECIPROCAL, 8, 0.125f},     {MINIINFER_PW_EXP, 1, 2.71828183f},
               {MINIINFER_PW_LOG, 10, 2.30258509f},      {MINIINFER_PW_SIN, 1, 0.841470985f},
               {MINIINFER_PW_COS, 1, 0.540302306f},      {MINIINFER_PW_TAN, 1, 1.55740772f},
               {MINIINFER_PW_ASIN, 0.5f, 0.523598776f},  {MINIINFER_PW_ACOS, 0.5f, 1.04719755f},
               {MINIINFER_PW_ATAN, 1, 0.785398163f},     {MINIINFER_PW_SINH, 1, 1.17520119f},
               {MINIINFER_PW_COSH, 1, 1.54308063f},      {MINIINFER_PW_TANH, 1, 0.761594156f},
               {MINIINFER_PW_ASINH, 1, 0.881373587f},    {MINIINFER_PW_ACOSH, 2, 1.3169579f},
               {MINIINFER_PW_ATANH, 0.5f, 0.549306144f}, {MINIINFER_PW_ERF, 1, 0.842700793f},
               {MINIINFER_PW_FLOOR, -1.5f, -2},          {MINIINFER_PW_CEIL, -1.5f, -1},
               {MINIINFER_PW_ABS, -1.5f, 1.5f},          {MINIINFER_PW_NEG, -1.5f, 1.5f}};
  for (const auto& [op, x, y] : cases) {
    CAPTURE(op);
    CHECK_EQ(apply<float>(op, Floats{x})[0], doctest::Approx(y).epsilon(1e-6));
  }
}

TEST_CASE("comparisons and questions give bools, and NaN compares false") {
  const Floats a = {1, 2, kNan, kInf, -kInf};
  const Floats b = {2, 2, kNan, 0, 0};
  CHECK_EQ(apply<std::uint8_t>(MINIINFER_PW_LESS, a, b), Bools{1, 0, 0, 0, 1});
  CHECK_EQ(apply<std::uint8_t>(MINIINFER_PW_LESS_EQUAL, a, b), Bools{1, 1, 0, 0, 1});
  CHECK_EQ(apply<std::uint8_t>(MINIINFER_PW_EQUAL, a, b), Bools{0, 1, 0, 0, 0});
  CHECK_EQ(apply<std::uint8_t>(MINIINFER_PW_IS_NAN, a), Bools{0, 0, 1, 0, 0});
  CHECK_EQ(apply<std::uint8_t>(MINIINFER_PW_IS_POSITIVE_INF, a), Bools{0, 0, 0, 1, 0});
  CHECK_EQ(apply<std::uint8_t>(MINIINFER_PW_IS_NEGATIVE_INF, a), Bools{0, 0, 0, 0, 1});
}

TEST_CASE("inputs broadcast, constants join in, and every output is written") {
  // y = x * 10 + row, and whether y > 40.
  RegionBuilder builder;
  const std::uint32_t x = builder.input(MINIINFER_INT32, {2, 1});
  const std::uint32_t row = builder.input(MINIINFER_INT32, {1, 3});
  const std::uint32_t y = builder.output(MINIINFER_INT32, {2, 3});
  const std::uint32_t large = builder.output(MINIINFER_BOOL, {2, 3});
  Program program{{instruction(MINIINFER_PW_FMA, MINIINFER_INT32, 0, 2, 1),
                   instruction(MINIINFER_PW_LESS, MINIINFER_INT32, 3, 4)},
                  {10, 40},
                  {MINIINFER_INT32, MINIINFER_INT32},
                  {4, 5}};
  auto attrs = program.attrs(2);
  builder.node(MINIINFER_POINTWISE, &attrs, {x, row}, {y, large});
  Ints x_data = {3, 4};
  Ints row_data = {0, 1, 2};
  Ints y_data(6);
  Bools large_data(6);
  reference::run_region(builder.region(), std::vector{bytes(x_data), bytes(row_data), bytes(y_data),
                                                      bytes(large_data)});
  CHECK_EQ(y_data, Ints{30, 31, 32, 40, 41, 42});
  CHECK_EQ(large_data, Bools{0, 0, 0, 0, 1, 1});
}

TEST_CASE("SELECT takes b where a is true, and an output may overwrite an input") {
  RegionBuilder builder;
  const std::uint32_t which = builder.input(MINIINFER_BOOL, {2});
  const std::uint32_t a = builder.input(MINIINFER_FLOAT32, {2});
  const std::uint32_t b = builder.input(MINIINFER_FLOAT32, {2});
  const std::uint32_t y = builder.output(MINIINFER_FLOAT32, {2});
  Program program{{instruction(MINIINFER_PW_SELECT, MINIINFER_FLOAT32, 0, 1, 2)}, {}, {}, {3}};
  auto attrs = program.attrs(3);
  builder.node(MINIINFER_POINTWISE, &attrs, {which, a, b}, {y});
  Bools which_data = {1, 0};
  Floats a_data = {1, 2};
  Floats b_data = {3, 4};
  reference::run_region(builder.region(), std::vector{bytes(which_data), bytes(a_data),
                                                      bytes(b_data), bytes(a_data)});
  CHECK_EQ(a_data, Floats{1, 4});
}

TEST_CASE("float16 rounds after each instruction") {
  // 1 + 2^-11 rounds to 1 in float16; in float32 the second addition would find it again.
  RegionBuilder builder;
  const std::uint32_t x = builder.input(MINIINFER_FLOAT16, {1});
  const std::uint32_t y = builder.output(MINIINFER_FLOAT16, {1});
  Program program{{instruction(MINIINFER_PW_ADD, MINIINFER_FLOAT16, 0, 1),
                   instruction(MINIINFER_PW_ADD, MINIINFER_FLOAT16, 2, 1)},
                  {0x1000},  // 2^-11
                  {MINIINFER_FLOAT16},
                  {3}};
  auto attrs = program.attrs(1);
  builder.node(MINIINFER_POINTWISE, &attrs, {x}, {y});
  std::vector<std::uint16_t> in = {0x3C00};
  std::vector<std::uint16_t> out = {0};
  reference::run_region(builder.region(), std::vector{bytes(in), bytes(out)});
  CHECK_EQ(out[0], 0x3C00);
}

TEST_CASE("a program that reads a register from the future is refused") {
  RegionBuilder builder;
  const std::uint32_t x = builder.input(MINIINFER_FLOAT32, {1});
  const std::uint32_t y = builder.output(MINIINFER_FLOAT32, {1});
  Program program{{instruction(MINIINFER_PW_NEG, MINIINFER_FLOAT32, 1)}, {}, {}, {1}};
  auto attrs = program.attrs(1);
  builder.node(MINIINFER_POINTWISE, &attrs, {x}, {y});
  CHECK_THROWS_AS(reference::Program(miniinfer::sdk::Region(builder.region())),
                  miniinfer::sdk::Error);
}

TEST_CASE("functions of integers and bit operations on floats are refused") {
  CHECK_THROWS_AS(apply<std::int32_t>(MINIINFER_PW_EXP, Ints{1}), miniinfer::sdk::Error);
  CHECK_THROWS_AS(apply<float>(MINIINFER_PW_BIT_AND, Floats{1}, Floats{1}), miniinfer::sdk::Error);
}
