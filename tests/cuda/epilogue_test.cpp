#include "plugins/cuda/kernels/epilogue.hpp"

#include <doctest/doctest.h>

#include <limits>

#include "miniinfer/abi/op/contract.h"
#include "tests/cuda/epilogue_program.hpp"
#include "tests/sdk/region_builder.hpp"

using namespace miniinfer::test;  // NOLINT
using miniinfer::cuda::Epilogue;

namespace {

using Dims = std::vector<std::int64_t>;

// [3, 8] from a product, then the program over it and over operands of the given shapes.
struct Case {
  explicit Case(EpilogueProgram& program, std::vector<Dims> operands = {},
                miniinfer_dtype dtype = MINIINFER_FLOAT32, Dims produced = {3, 8}) {
    const auto a = builder.input(dtype, {3, 5}), b = builder.input(dtype, {5, 8});
    const auto inside = builder.value(dtype, produced);
    std::vector<std::uint32_t> in = {inside};
    for (const Dims& dims : operands) in.push_back(builder.input(dtype, dims));
    const auto y = builder.output(dtype, produced);
    builder.node(MINIINFER_CONTRACT, &attrs, {a, b}, {inside});
    builder.node(MINIINFER_POINTWISE, &program.attrs(), in, {y});
  }
  std::optional<Epilogue> read() {
    const miniinfer::sdk::Region region(builder.region());
    return miniinfer::cuda::recognise_epilogue(region, {.bias_axis = 1, .gelu = true});
  }
  RegionBuilder builder;
  miniinfer_contract_attrs attrs{};
};

constexpr std::uint16_t kAdd = MINIINFER_PW_ADD, kMax = MINIINFER_PW_MAX, kMin = MINIINFER_PW_MIN;

}  // namespace

TEST_CASE("a bias, a sum and a ReLU go with a product") {
  EpilogueProgram program(MINIINFER_FLOAT32, 3, {0});
  const auto biased = program.step(kAdd, 0, 1);
  program.step(kMax, program.step(kAdd, 2, biased), program.constant(0));
  const auto epilogue = Case(program, {{1, 8}, {3, 8}}).read();
  REQUIRE(epilogue);
  CHECK_EQ(epilogue->target, 4);
  CHECK_EQ(epilogue->bias, 2);
  CHECK_EQ(epilogue->residual, 3);
  CHECK(epilogue->is_relu());
}

TEST_CASE("16-bit floats may be widened first and rounded at the end") {
  for (const bool rounds : {true, false}) {
    EpilogueProgram program(MINIINFER_FLOAT32, 3, {0});
    const auto product = program.cast(MINIINFER_FLOAT32, 0);
    const auto bias = program.cast(MINIINFER_FLOAT32, 1);
    const auto residual = program.cast(MINIINFER_FLOAT32, 2);
    const auto sum = program.step(kAdd, residual, program.step(kAdd, product, bias));
    const auto relu = program.step(kMax, sum, program.constant(0));
    if (rounds) program.cast(MINIINFER_FLOAT16, relu);
    const auto epilogue = Case(program, {{1, 8}, {3, 8}}, MINIINFER_FLOAT16).read();
    REQUIRE(epilogue);
    CHECK_EQ(epilogue->bias, 2);
    CHECK_EQ(epilogue->residual, 3);
    CHECK(epilogue->is_relu());
  }
  EpilogueProgram gelu(MINIINFER_FLOAT32, 1, {0.5, 1, 0.044715, 0.79788456});
  gelu.cast(MINIINFER_FLOAT16, gelu.gelu_tanh(gelu.cast(MINIINFER_FLOAT32, 0)));
  const auto epilogue = Case(gelu, {}, MINIINFER_FLOAT16).read();
  REQUIRE(epilogue);
  CHECK(epilogue->activation == Epilogue::Activation::kGeluTanh);
  EpilogueProgram truncated(MINIINFER_FLOAT32, 1, {});
  truncated.cast(MINIINFER_FLOAT32, truncated.cast(MINIINFER_INT32, 0));
  CHECK_FALSE(Case(truncated).read());
}

TEST_CASE("the sum may come before the bias") {
  EpilogueProgram program(MINIINFER_FLOAT32, 3, {});
  program.step(kAdd, program.step(kAdd, 0, 2), 1);
  const auto epilogue = Case(program, {{1, 8}, {3, 8}}).read();
  REQUIRE(epilogue);
  CHECK_EQ(epilogue->bias, 2);
  CHECK_EQ(epilogue->residual, 3);
  CHECK_FALSE(epilogue->clips());
}

TEST_CASE("a clip keeps its limits in either order") {
  for (const bool max_first : {true, false}) {
    EpilogueProgram program(MINIINFER_FLOAT32, 1, {0, 6});
    const auto first =
        program.step(max_first ? kMax : kMin, 0, program.constant(max_first ? 0 : 1));
    program.step(max_first ? kMin : kMax, program.constant(max_first ? 1 : 0), first);
    const auto epilogue = Case(program).read();
    REQUIRE(epilogue);
    CHECK_EQ(epilogue->low, 0);
    CHECK_EQ(epilogue->high, 6);
    CHECK_FALSE(epilogue->is_relu());
  }
}

TEST_CASE("limits that cross, or are no numbers, are no clip") {
  for (const double low : {7.0, std::numeric_limits<double>::quiet_NaN()}) {
    EpilogueProgram program(MINIINFER_FLOAT32, 1, {low, 6});
    program.step(kMin, program.step(kMax, 0, program.constant(0)), program.constant(1));
    CHECK_FALSE(Case(program).read());
  }
}

TEST_CASE("GELU in its tanh form is found in every type, with a bias before it") {
  for (const int dtype : {MINIINFER_FLOAT32, MINIINFER_FLOAT16, MINIINFER_BFLOAT16}) {
    EpilogueProgram program(dtype, 2, kGeluConstants);
    program.gelu_tanh(program.step(kAdd, 0, 1));
    const auto epilogue = Case(program, {{1, 8}}, dtype).read();
    REQUIRE(epilogue);
    CHECK(epilogue->activation == Epilogue::Activation::kGeluTanh);
    CHECK_EQ(epilogue->bias, 2);
  }
}

TEST_CASE("functions near GELU's tanh form are not taken for it") {
  for (std::size_t changed = 0; changed < kGeluConstants.size(); ++changed) {
    std::vector<double> constants = kGeluConstants;
    constants[changed] *= 1.001;
    EpilogueProgram program(MINIINFER_FLOAT32, 1, constants);
    program.gelu_tanh(0);
    CHECK_FALSE(Case(program).read());
  }
  // The erf form: 0.5 x (1 + erf(x / sqrt(2))).
  EpilogueProgram erf(MINIINFER_FLOAT32, 1, {0.5, 1, 0.7071067811865476});
  const auto gate =
      erf.step(kAdd, erf.step(MINIINFER_PW_ERF, erf.step(MINIINFER_PW_MUL, 0, erf.constant(2))),
               erf.constant(1));
  erf.step(MINIINFER_PW_MUL, erf.step(MINIINFER_PW_MUL, 0, erf.constant(0)), gate);
  CHECK_FALSE(Case(erf).read());
}

TEST_CASE("what is not of this form is left alone") {
  EpilogueProgram per_row(MINIINFER_FLOAT32, 2, {});
  per_row.step(kAdd, 0, 1);
  CHECK_FALSE(Case(per_row, {{3, 1}}).read());
  EpilogueProgram doubled(MINIINFER_FLOAT32, 1, {});
  doubled.step(kAdd, 0, 0);
  CHECK_FALSE(Case(doubled).read());
  EpilogueProgram scaled(MINIINFER_FLOAT32, 2, {});
  scaled.step(MINIINFER_PW_MUL, 0, 1);
  CHECK_FALSE(Case(scaled, {{1, 8}}).read());
  EpilogueProgram three(MINIINFER_FLOAT32, 3, {});
  three.step(kAdd, three.step(kAdd, 0, 1), 2);
  CHECK_FALSE(Case(three, {{1, 8}, {1, 8}}).read());
  // A second use of the product behind the first.
  EpilogueProgram again(MINIINFER_FLOAT32, 2, {0});
  again.step(kAdd, 0, again.step(kMax, again.step(kAdd, 0, 1), again.constant(0)));
  CHECK_FALSE(Case(again, {{1, 8}}).read());
}

TEST_CASE("where a bias and a sum could be each other the shapes decide") {
  EpilogueProgram program(MINIINFER_FLOAT32, 3, {});
  program.step(kAdd, program.step(kAdd, 0, 1), 2);
  const auto epilogue = Case(program, {{1, 8}, {1, 8}}, MINIINFER_FLOAT32, {1, 8}).read();
  REQUIRE(epilogue);
  CHECK_EQ(epilogue->bias, 2);
  CHECK_EQ(epilogue->residual, 3);
}
