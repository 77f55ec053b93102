#include "plugins/cuda/kernels/contract.hpp"

#include <doctest/doctest.h>

#include "miniinfer/abi/op/contract.h"
#include "miniinfer/sdk/reference/program.hpp"
#include "plugins/cuda/kernels/contract_shape.hpp"
#include "tests/cpu/random_data.hpp"
#include "tests/cuda/emulated_device.hpp"
#include "tests/cuda/epilogue_program.hpp"
#include "tests/cuda/fake_cublas_lt.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cuda = miniinfer::cuda;
namespace reference = miniinfer::sdk::reference;

namespace {

struct Product {
  Dims a, b, out;
  bool transpose_a = false, transpose_b = false;
};

constexpr int kFloats[] = {MINIINFER_FLOAT32, MINIINFER_FLOAT64, MINIINFER_FLOAT16,
                           MINIINFER_BFLOAT16};
constexpr int kIntegers[] = {MINIINFER_INT8,  MINIINFER_UINT8,  MINIINFER_INT16, MINIINFER_UINT16,
                             MINIINFER_INT32, MINIINFER_UINT32, MINIINFER_INT64, MINIINFER_UINT64};

double tolerance(int dtype) {
  return dtype == MINIINFER_FLOAT16 ? 2e-3 : dtype == MINIINFER_BFLOAT16 ? 2e-2 : 1e-5;
}

// A region of a product and what follows it, with random operands.
struct Case {
  Case(int dtype, const Product& p, EpilogueProgram* program = nullptr,
       const std::vector<Dims>& others = {})
      : dtype(dtype) {
    attrs.transpose_a = p.transpose_a;
    attrs.transpose_b = p.transpose_b;
    const auto a = input(p.a), b = input(p.b);
    if (program == nullptr) {
      builder.node(MINIINFER_CONTRACT, &attrs, {a, b}, {builder.output(dtype, p.out)});
      return;
    }
    const auto inside = builder.value(dtype, p.out);
    std::vector<std::uint32_t> in = {inside};
    for (const Dims& dims : others) in.push_back(input(dims));
    const auto y = builder.output(dtype, p.out);
    builder.node(MINIINFER_CONTRACT, &attrs, {a, b}, {inside});
    builder.node(MINIINFER_POINTWISE, &program->attrs(), in, {y});
  }

  std::uint32_t input(const Dims& dims) {
    data.push_back(random_elements(random, dtype, count_of(dims), false));
    return builder.input(dtype, dims);
  }

  Outputs check(std::size_t shift = 0) {
    Outputs got = run_emulated(cuda::kContract, builder, data, shift);
    REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
    std::vector<std::byte> want(got.data[0].size());
    std::vector<std::byte*> args;
    for (auto& operand : data) args.push_back(operand.data());
    args.push_back(want.data());
    reference::run_region(builder.region(), args);
    CHECK_EQ(differences(dtype, got.data[0], want, tolerance(dtype), tolerance(dtype)), 0);
    return got;
  }

  int dtype;
  Random random{7};
  RegionBuilder builder;
  miniinfer_contract_attrs attrs{};
  std::vector<std::vector<std::byte>> data;
};

const std::vector<Product> kProducts = {
    {{3, 5}, {5, 7}, {3, 7}},
    {{5, 3}, {5, 7}, {3, 7}, true, false},
    {{3, 5}, {7, 5}, {3, 7}, false, true},
    {{5, 3}, {7, 5}, {3, 7}, true, true},
    {{1, 40}, {40, 33}, {1, 33}},
    {{40, 33}, {33, 1}, {40, 1}},
    {{1, 1}, {1, 1}, {1, 1}},
    {{4, 1}, {1, 6}, {4, 6}},
    {{1, 4}, {6, 1}, {4, 6}, true, true},
    {{2, 3, 4, 5}, {2, 3, 5, 6}, {2, 3, 4, 6}},
    {{2, 3, 4, 5}, {1, 1, 5, 6}, {2, 3, 4, 6}},
    {{2, 3, 1, 5}, {1, 1, 5, 6}, {2, 3, 1, 6}},
    {{1, 1, 4, 5}, {2, 3, 5, 6}, {2, 3, 4, 6}},
    {{2, 1, 4, 5}, {1, 3, 5, 6}, {2, 3, 4, 6}},
    {{2, 3, 4, 5}, {2, 1, 5, 6}, {2, 3, 4, 6}},
    {{2, 3, 5, 4}, {1, 3, 6, 5}, {2, 3, 4, 6}, true, true},
    {{2, 3, 2, 1, 4, 5}, {1, 3, 1, 2, 5, 6}, {2, 3, 2, 2, 4, 6}},
    {{3, 0}, {0, 4}, {3, 4}},
    {{0, 3}, {3, 4}, {0, 4}},
    {{33, 65}, {65, 34}, {33, 34}},
};

cuda::ContractCalls calls_of(const Product& p) {
  Case c(MINIINFER_FLOAT32, p);
  const miniinfer::sdk::Region region(c.builder.region());
  const auto calls = cuda::contract_calls(cuda::contract_strides(region));
  REQUIRE(calls);
  return *calls;
}

}  // namespace

TEST_CASE("products agree with the reference for every type, transpose and broadcast") {
  for (const Product& p : kProducts) {
    CAPTURE(text(p.a));
    CAPTURE(text(p.b));
    for (const int dtype : kFloats) Case(dtype, p).check();
    for (const int dtype : kIntegers) Case(dtype, p).check();
  }
}

TEST_CASE("operands that are only as aligned as an element are served") {
  for (const int dtype : kFloats) {
    const std::size_t bytes = miniinfer::sdk::element_bytes(dtype);
    Case(dtype, {{2, 1, 4, 5}, {1, 3, 5, 6}, {2, 3, 4, 6}}).check(bytes);
  }
}

TEST_CASE("a product with one matrix for all batches is one tall product") {
  CHECK_EQ(calls_of({{2, 3, 4, 5}, {1, 1, 5, 6}, {2, 3, 4, 6}}).m, 24);
  CHECK_EQ(calls_of({{8, 1, 5}, {1, 5, 6}, {8, 1, 6}}).m, 8);
}

TEST_CASE("regular batches are one call, others a call for each place of the shorter axis") {
  const auto regular = calls_of({{2, 3, 4, 5}, {2, 3, 5, 6}, {2, 3, 4, 6}});
  CHECK_EQ(regular.batch, 6);
  CHECK_EQ(regular.outer.rank, 0);
  const auto mixed = calls_of({{2, 1, 4, 5}, {1, 3, 5, 6}, {2, 3, 4, 6}});
  CHECK_EQ(mixed.batch, 3);
  CHECK_EQ(mixed.outer.rank, 1);
  CHECK_EQ(mixed.outer.dims[0], 2);
}

TEST_CASE("bias, sum and activation are fused where the library has them, and right where not") {
  const Product p = {{2, 3, 5}, {1, 5, 8}, {2, 3, 8}};
  for (const bool knows : {true, false}) {
    fake_cublas_lt().knows_epilogues = knows;
    for (const int dtype : kFloats) {
      CAPTURE(dtype);
      EpilogueProgram relu(dtype, 3, {0});
      relu.step(MINIINFER_PW_MAX, relu.step(MINIINFER_PW_ADD, relu.step(MINIINFER_PW_ADD, 0, 1), 2),
                relu.constant(0));
      fake_cublas_lt().fused_calls = 0;
      Case(dtype, p, &relu, {{1, 1, 8}, {2, 3, 8}}).check();
      CHECK_EQ(fake_cublas_lt().fused_calls, knows && dtype != MINIINFER_FLOAT64 ? 1 : 0);

      EpilogueProgram clip(dtype, 2, {-1, 2});
      clip.step(MINIINFER_PW_MIN,
                clip.step(MINIINFER_PW_MAX, clip.step(MINIINFER_PW_ADD, 1, 0), clip.constant(0)),
                clip.constant(1));
      Case(dtype, p, &clip, {{1, 1, 8}}).check();
      Case(dtype, p, &clip, {{2, 3, 8}}).check();

      EpilogueProgram gelu(dtype, 2, kGeluConstants);
      gelu.gelu_tanh(gelu.step(MINIINFER_PW_ADD, 0, 1));
      Case(dtype, p, &gelu, {{1, 1, 8}}).check();
    }
  }
  fake_cublas_lt().knows_epilogues = true;
}

TEST_CASE("any other program is run over the product in place") {
  const Product p = {{2, 3, 5}, {1, 5, 7}, {2, 3, 7}};
  EpilogueProgram program(MINIINFER_FLOAT32, 2, {0.5});
  program.step(MINIINFER_PW_SIGMOID, program.step(MINIINFER_PW_MUL, 0, 1));
  Case(MINIINFER_FLOAT32, p, &program, {{2, 3, 1}}).check();
}

TEST_CASE("a sum is read where it may be written over") {
  EpilogueProgram program(MINIINFER_FLOAT32, 2, {});
  program.step(MINIINFER_PW_ADD, 0, 1);
  const Outputs got = Case(MINIINFER_FLOAT32, {{3, 5}, {5, 8}, {3, 8}}, &program, {{3, 8}}).check();
  CHECK_EQ(got.choice.in_place, miniinfer::sdk::in_place_bit(0, 2));
}

TEST_CASE("an empty sum still has its bias") {
  EpilogueProgram program(MINIINFER_FLOAT32, 2, {});
  program.step(MINIINFER_PW_ADD, 0, 1);
  Case(MINIINFER_FLOAT32, {{3, 0}, {0, 8}, {3, 8}}, &program, {{1, 8}}).check();
}

TEST_CASE("matrices with gaps between rows are served, and with gaps inside rows refused") {
  const auto run = [](std::int64_t row, std::int64_t column) {
    RegionBuilder builder;
    miniinfer_contract_attrs attrs{};
    Random random(1);
    const auto a = builder.input(MINIINFER_FLOAT32, {3, 5}, {row, column});
    const auto b = builder.input(MINIINFER_FLOAT32, {5, 7});
    builder.node(MINIINFER_CONTRACT, &attrs, {a, b}, {builder.output(MINIINFER_FLOAT32, {3, 7})});
    std::vector<std::vector<std::byte>> data = {
        random_elements(random, MINIINFER_FLOAT32, 100, false),
        random_elements(random, MINIINFER_FLOAT32, 35, false)};
    Outputs got = run_emulated(cuda::kContract, builder, data);
    if (got.code != MINIINFER_OK) return got.code;
    std::vector<std::byte> want(got.data[0].size());
    reference::run_region(builder.region(),
                          std::vector{data[0].data(), data[1].data(), want.data()});
    CHECK_EQ(differences(MINIINFER_FLOAT32, got.data[0], want, 1e-5, 1e-5), 0);
    return got.code;
  };
  CHECK_EQ(run(9, 1), MINIINFER_OK);
  CHECK_EQ(run(1, 4), MINIINFER_OK);
  CHECK_EQ(run(12, 2), MINIINFER_UNSUPPORTED);
}

TEST_CASE(
    "a product is written into rows that lie between others, with a call for each odd batch") {
  // [batch, heads, m, n] as it lies in [batch, m, heads, n].
  const auto run = [](std::int64_t batch, int dtype, bool follows) {
    const Dims a = {batch, 3, 4, 5}, b = {batch, 3, 5, 8}, out = {batch, 3, 4, 8};
    const auto between = [](const Dims& d) {
      return Dims{d[1] * d[2] * d[3], d[3], d[1] * d[3], 1};
    };
    RegionBuilder builder;
    miniinfer_contract_attrs attrs{};
    EpilogueProgram relu(dtype, 1, {0});
    relu.step(MINIINFER_PW_MAX, 0, relu.constant(0));
    const auto x = builder.input(dtype, a, between(a)), w = builder.input(dtype, b);
    const auto y = follows ? builder.value(dtype, out, between(out))
                           : builder.output(dtype, out, between(out));
    builder.node(MINIINFER_CONTRACT, &attrs, {x, w}, {y});
    if (follows) {
      builder.node(MINIINFER_POINTWISE, &relu.attrs(), {y},
                   {builder.output(dtype, out, between(out))});
    }
    Random random(3);
    std::vector<std::vector<std::byte>> data = {random_elements(random, dtype, count_of(a), false),
                                                random_elements(random, dtype, count_of(b), false)};
    fake_cublas_lt().calls = 0;
    Outputs got = run_emulated(cuda::kContract, builder, data);
    if (got.code != MINIINFER_OK) return got;
    std::vector<std::byte> want(got.data[0].size());
    reference::run_region(builder.region(),
                          std::vector{data[0].data(), data[1].data(), want.data()});
    CHECK_EQ(differences(dtype, got.data[0], want, tolerance(dtype), tolerance(dtype)), 0);
    return got;
  };
  for (const int dtype : kFloats) {
    const Outputs one = run(1, dtype, false);
    REQUIRE_MESSAGE(one.code == MINIINFER_OK, one.reason);
    CHECK_EQ(fake_cublas_lt().calls, 1);
    const Outputs several = run(7, dtype, false);
    CHECK_EQ(fake_cublas_lt().calls, 3);
    CHECK(several.choice.cost_ns > 2 * one.choice.cost_ns);
    CHECK_EQ(run(1, dtype, true).code, MINIINFER_UNSUPPORTED);
  }
}
