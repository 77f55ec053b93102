#include "miniinfer/sdk/reference/contract.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "miniinfer/abi/op/pointwise.h"
#include "miniinfer/sdk/reference/program.hpp"
#include "tests/sdk/region_builder.hpp"

using namespace miniinfer::test;  // NOLINT
namespace reference = miniinfer::sdk::reference;

namespace {

using Dims = std::vector<std::int64_t>;
using Floats = std::vector<float>;

Floats contract(const Dims& a_dims, Floats a, const Dims& b_dims, Floats b, const Dims& out_dims,
                bool transpose_a = false, bool transpose_b = false) {
  RegionBuilder builder;
  const std::uint32_t x = builder.input(MINIINFER_FLOAT32, a_dims);
  const std::uint32_t w = builder.input(MINIINFER_FLOAT32, b_dims);
  const std::uint32_t y = builder.output(MINIINFER_FLOAT32, out_dims);
  miniinfer_contract_attrs attrs{{}, transpose_a, transpose_b};
  builder.node(MINIINFER_CONTRACT, &attrs, {x, w}, {y});
  Floats out(static_cast<std::size_t>(miniinfer::sdk::element_count(out_dims)), -1);
  reference::run_region(builder.region(), std::vector{bytes(a), bytes(b), bytes(out)});
  return out;
}

}  // namespace

TEST_CASE("a product of matrices, either stored the other way round") {
  const Floats a = {1, 2, 3, 4, 5, 6};       // [2, 3]
  const Floats a_t = {1, 4, 2, 5, 3, 6};     // [3, 2]
  const Floats b = {7, 8, 9, 10, 11, 12};    // [3, 2]
  const Floats b_t = {7, 9, 11, 8, 10, 12};  // [2, 3]
  const Floats expected = {58, 64, 139, 154};
  CHECK_EQ(contract({2, 3}, a, {3, 2}, b, {2, 2}), expected);
  CHECK_EQ(contract({3, 2}, a_t, {3, 2}, b, {2, 2}, true, false), expected);
  CHECK_EQ(contract({2, 3}, a, {2, 3}, b_t, {2, 2}, false, true), expected);
  CHECK_EQ(contract({3, 2}, a_t, {2, 3}, b_t, {2, 2}, true, true), expected);
}

TEST_CASE("batch axes broadcast") {
  CHECK_EQ(contract({2, 1, 1, 2}, {1, 2, 3, 4}, {1, 2, 2, 1}, {1, 1, 10, 1}, {2, 2, 1, 1}),
           Floats{3, 12, 7, 34});
}

TEST_CASE("an empty inner axis gives zeros") {
  CHECK_EQ(contract({2, 0}, {}, {0, 1}, {}, {2, 1}), Floats{0, 0});
}

TEST_CASE("integer products wrap") {
  RegionBuilder builder;
  const std::uint32_t x = builder.input(MINIINFER_INT8, {1, 2});
  const std::uint32_t w = builder.input(MINIINFER_INT8, {2, 1});
  const std::uint32_t y = builder.output(MINIINFER_INT8, {1, 1});
  miniinfer_contract_attrs attrs{};
  builder.node(MINIINFER_CONTRACT, &attrs, {x, w}, {y});
  std::vector<std::int8_t> a = {100, -1};
  std::vector<std::int8_t> b = {2, 2};
  std::vector<std::int8_t> out(1);
  reference::run_region(builder.region(), std::vector{bytes(a), bytes(b), bytes(out)});
  CHECK_EQ(out[0], static_cast<std::int8_t>(198));
}

TEST_CASE("shapes that do not fit are refused") {
  CHECK_THROWS_AS(contract({2, 3}, Floats(6), {2, 3}, Floats(6), {2, 3}), miniinfer::sdk::Error);
}

TEST_CASE("the value between two nodes is kept in the scratch") {
  RegionBuilder builder;
  const std::uint32_t x = builder.input(MINIINFER_FLOAT32, {1, 2});
  const std::uint32_t w = builder.input(MINIINFER_FLOAT32, {2, 1});
  const std::uint32_t product = builder.value(MINIINFER_FLOAT32, {1, 1});
  const std::uint32_t y = builder.output(MINIINFER_FLOAT32, {1, 1});
  miniinfer_contract_attrs contract_attrs{};
  builder.node(MINIINFER_CONTRACT, &contract_attrs, {x, w}, {product});
  const miniinfer_instruction negate = {MINIINFER_PW_NEG, MINIINFER_FLOAT32, 0, 0, 0, 0};
  const std::uint16_t result = 1;
  miniinfer_pointwise_attrs attrs{};
  attrs.in_count = attrs.code_count = attrs.out_count = 1;
  attrs.code = &negate;
  attrs.out = &result;
  builder.node(MINIINFER_POINTWISE, &attrs, {product}, {y});
  Floats a = {1, 2};
  Floats b = {3, 4};
  Floats out(1);
  reference::run_region(builder.region(), std::vector{bytes(a), bytes(b), bytes(out)});
  CHECK_EQ(out[0], -11.0f);
}
