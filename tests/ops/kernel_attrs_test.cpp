#include "core/ops/kernel_attrs.hpp"

#include <doctest/doctest.h>

#include "miniinfer/abi/op/reduce.h"

using namespace miniinfer;

TEST_CASE("registers are numbered inputs, constants, results, whatever the order of asking") {
  PointwiseBuilder builder(2);
  const auto sum =
      builder.emit(MINIINFER_PW_ADD, DataType::Float32, builder.input(0), builder.input(1));
  const auto half = builder.constant(DataType::Float32, 0.5);
  const auto scaled = builder.emit(MINIINFER_PW_MUL, DataType::Float32, sum, half);
  const auto rest = builder.emit(MINIINFER_PW_NEG, DataType::Float32, scaled, half, half);
  const KernelAttrsPtr attrs = builder.finish({rest, sum});
  const auto& abi = *static_cast<const miniinfer_pointwise_attrs*>(attrs->abi());
  CHECK(abi.head.size == sizeof abi);
  REQUIRE(abi.in_count == 2);
  REQUIRE(abi.constant_count == 1);
  REQUIRE(abi.code_count == 3);
  REQUIRE(abi.out_count == 2);
  CHECK(abi.constants[0] == 0x3f000000u);
  CHECK(abi.code[0].a == 0);
  CHECK(abi.code[0].b == 1);
  CHECK(abi.code[1].a == 3);
  CHECK(abi.code[1].b == 2);
  CHECK(abi.code[2].a == 4);
  CHECK(abi.code[2].b == 0);  // NEG has one operand: what else was given is not kept
  CHECK(abi.code[2].c == 0);
  CHECK(abi.out[0] == 5);
  CHECK(abi.out[1] == 3);
}

TEST_CASE("equal constants of one type share a register") {
  PointwiseBuilder builder(1);
  CHECK(builder.constant(DataType::Float32, 1).index ==
        builder.constant(DataType::Float32, 1).index);
  CHECK(builder.constant(DataType::Int32, 1).index != builder.constant(DataType::Float32, 1).index);
}

TEST_CASE("constants are converted to their type") {
  PointwiseBuilder builder(0);
  const auto bits = [&](DataType type, double value) {
    PointwiseBuilder b(0);
    const KernelAttrsPtr attrs = b.finish({b.constant(type, value)});
    return static_cast<const miniinfer_pointwise_attrs*>(attrs->abi())->constants[0];
  };
  CHECK(bits(DataType::Float16, 1) == 0x3c00);
  CHECK(bits(DataType::BFloat16, 1) == 0x3f80);
  CHECK(bits(DataType::Float64, 1) == 0x3ff0000000000000u);
  CHECK(bits(DataType::Int8, -1) == 0xff);
  CHECK(bits(DataType::Bool, 1) == 1);
}

TEST_CASE("attributes without pointers get a head") {
  miniinfer_reduce_attrs attrs{};
  attrs.kind = MINIINFER_REDUCE_MAX;
  const KernelAttrsPtr made = make_attrs(attrs);
  const auto& abi = *static_cast<const miniinfer_reduce_attrs*>(made->abi());
  CHECK(abi.head.size == sizeof abi);
  CHECK(abi.kind == MINIINFER_REDUCE_MAX);
}

TEST_CASE("copy regions keep their order and say whether they fill") {
  miniinfer_copy_region first{};
  first.rank = 1;
  first.dims[0] = 3;
  miniinfer_copy_region second{};
  second.input = 1;
  const CopyRegions plain({first, second});
  const auto& abi = *static_cast<const miniinfer_copy_attrs*>(plain.abi());
  REQUIRE(abi.region_count == 2);
  CHECK(abi.fill == 0);
  CHECK(abi.regions[0]->dims[0] == 3);
  CHECK(abi.regions[0]->head.size == sizeof(miniinfer_copy_region));
  CHECK(abi.regions[1]->input == 1);
  const CopyRegions filled({}, 7);
  CHECK(filled.fills());
  CHECK(static_cast<const miniinfer_copy_attrs*>(filled.abi())->fill_bits == 7);
}
