#include "miniinfer/sdk/region.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "miniinfer/abi/op/reduce.h"
#include "miniinfer/sdk/op_set.hpp"
#include "tests/sdk/region_builder.hpp"

namespace sdk = miniinfer::sdk;
using miniinfer::test::RegionBuilder;

TEST_CASE("a region knows where each operand is among the arguments") {
  RegionBuilder builder;
  miniinfer_reduce_attrs attrs{};
  const std::uint32_t y = builder.output(MINIINFER_FLOAT32, {1});
  const std::uint32_t inner = builder.value(MINIINFER_FLOAT32, {3});
  const std::uint32_t unused = builder.input(MINIINFER_FLOAT32, {1});
  const std::uint32_t x = builder.input(MINIINFER_FLOAT32, {3});
  builder.node(MINIINFER_REDUCE, &attrs, {x}, {inner});
  builder.node(MINIINFER_REDUCE, &attrs, {inner, unused}, {y});
  const sdk::Region region(builder.region());
  CHECK_EQ(region.arg_in(0), 1);
  CHECK_EQ(region.arg_out(0), -1);
  CHECK_EQ(region.arg_in(1, 1), 0);
  CHECK_EQ(region.arg_out(0, 1), 2);
  CHECK_EQ(sdk::element_count(sdk::dims(region.in(0, 1))), 3);
}

TEST_CASE("what an older host does not know of a struct reads as zero") {
  RegionBuilder builder;
  miniinfer_reduce_attrs attrs{};
  attrs.kind = MINIINFER_REDUCE_MAX;
  attrs.index_column_major = 1;
  const std::uint32_t x = builder.input(MINIINFER_FLOAT32, {1});
  builder.node(MINIINFER_REDUCE, &attrs, {x}, {builder.output(MINIINFER_FLOAT32, {1})});
  attrs.head.size = offsetof(miniinfer_reduce_attrs, index_column_major);
  builder[x].flags = MINIINFER_VALUE_CONSTANT;
  builder[x].head.size = offsetof(miniinfer_value, flags);
  const sdk::Region region(builder.region());
  CHECK_EQ(region.attrs<miniinfer_reduce_attrs>().kind, MINIINFER_REDUCE_MAX);
  CHECK_EQ(region.attrs<miniinfer_reduce_attrs>().index_column_major, 0u);
  CHECK_EQ(region.attrs<miniinfer_reduce_attrs>().head.size, sizeof attrs);
  CHECK_EQ(region.in(0).flags, 0u);
  CHECK_EQ(region.in(0).dtype, MINIINFER_FLOAT32);
}

TEST_CASE("contiguous is row-major without gaps; strides of axes of size 1 do not matter") {
  RegionBuilder builder;
  const auto contiguous = [&](std::vector<std::int64_t> dims, std::vector<std::int64_t> strides) {
    return sdk::is_contiguous(builder[builder.value(MINIINFER_FLOAT32, dims, strides)]);
  };
  CHECK(contiguous({2, 3}, {3, 1}));
  CHECK(contiguous({2, 1, 3}, {3, 0, 1}));
  CHECK_FALSE(contiguous({2, 3}, {1, 2}));
  CHECK_FALSE(contiguous({2, 3}, {4, 1}));
  CHECK_FALSE(contiguous({2}, {0}));
}

TEST_CASE("element sizes are those of the types, and 0 where elements share a byte") {
  CHECK_EQ(sdk::element_bytes(MINIINFER_FLOAT32), 4u);
  CHECK_EQ(sdk::element_bytes(MINIINFER_BFLOAT16), 2u);
  CHECK_EQ(sdk::element_bytes(MINIINFER_STRING), 8u);
  CHECK_EQ(sdk::element_bytes(MINIINFER_COMPLEX128), 16u);
  CHECK_EQ(sdk::element_bytes(MINIINFER_INT4), 0u);
  CHECK_EQ(sdk::element_bytes(MINIINFER_UNDEFINED), 0u);
  CHECK_EQ(sdk::element_bytes(-1), 0u);
  CHECK_EQ(sdk::element_bytes(1000), 0u);
  CHECK_EQ(std::string(sdk::dtype_name(MINIINFER_FLOAT8E5M2FNUZ)), "float8e5m2fnuz");
  CHECK_EQ(std::string(sdk::dtype_name(MINIINFER_INT2)), "int2");
}

TEST_CASE("all opcodes are the published ones and no numbers between") {
  sdk::OpSet set;
  set.add_all_opcodes();
  const auto has = [&](int code) { return (set.pointwise_ops[code / 64] >> (code % 64) & 1) != 0; };
  for (int code : {MINIINFER_PW_COPY, MINIINFER_PW_IS_NEGATIVE_INF, MINIINFER_PW_ADD,
                   MINIINFER_PW_LESS_EQUAL, MINIINFER_PW_SELECT, MINIINFER_PW_FMA}) {
    CHECK(has(code));
  }
  for (int code : {33, 39, 60, 69, 72, 127}) CHECK_FALSE(has(code));
}
