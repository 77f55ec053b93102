#include "core/cpu/parallel.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <vector>

#include "miniinfer/abi/op/norm.h"
#include "miniinfer/abi/op/pointwise.h"
#include "miniinfer/abi/op/reduce.h"
#include "tests/cpu/random_data.hpp"
#include "tests/cpu/thread_host.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cpu = miniinfer::cpu;

namespace {

// The same region on one thread and on four.
void check_same(const cpu::Family& family, RegionBuilder& builder, std::vector<std::byte>& in) {
  const Outputs one = run_family(family, builder, {in.data()});
  const ThreadHost host(4);
  const Outputs four = run_family(family, builder, {in.data()});
  REQUIRE(one.code == MINIINFER_OK);
  REQUIRE(four.code == MINIINFER_OK);
  CHECK(one.data[0] == four.data[0]);
}

}  // namespace

TEST_CASE("work of less than two pieces stays on its caller") {
  const ThreadHost host(4);
  std::atomic<int> calls{0};
  cpu::parallel(1000, 10, 4, [&](std::int64_t begin, std::int64_t end, std::uint32_t worker) {
    ++calls;
    CHECK(begin == 0);
    CHECK(end == 1000);
    CHECK(worker == 0);
  });
  CHECK(calls == 1);
  std::atomic<std::int64_t> items{0};
  std::atomic<int> pieces{0};
  cpu::parallel(1000, 1000, 4, [&](std::int64_t begin, std::int64_t end, std::uint32_t) {
    items += end - begin;
    ++pieces;
  });
  CHECK(items == 1000);
  CHECK(pieces == 50);
}

TEST_CASE("many threads give the bits that one gives") {
  Random random(41);
  {
    const std::uint16_t out = 3;
    const std::uint64_t half = 0x3f000000;
    const std::uint16_t type = MINIINFER_FLOAT32;
    const miniinfer_instruction code[] = {{MINIINFER_PW_TANH, MINIINFER_FLOAT32, 0, 0, 0, 0},
                                          {MINIINFER_PW_ADD, MINIINFER_FLOAT32, 2, 1, 0, 0}};
    miniinfer_pointwise_attrs attrs{};
    attrs.in_count = attrs.constant_count = attrs.out_count = 1;
    attrs.code_count = 2;
    attrs.constants = &half;
    attrs.constant_dtypes = &type;
    attrs.code = code;
    attrs.out = &out;
    RegionBuilder builder;
    const auto x = builder.input(MINIINFER_FLOAT32, {300, 1000}, {1, 300});
    const auto y = builder.output(MINIINFER_FLOAT32, {300, 1000});
    builder.node(MINIINFER_POINTWISE, &attrs, {x}, {y});
    auto in = random_elements(random, MINIINFER_FLOAT32, 300000);
    check_same(cpu::kPointwise, builder, in);
  }
  for (const int dtype : {MINIINFER_FLOAT32, MINIINFER_FLOAT16}) {
    for (const std::int32_t axis : {1, 2}) {
      miniinfer_softmax_attrs attrs{};
      attrs.axis = axis;
      RegionBuilder builder;
      const auto x = builder.input(dtype, {20, 60, 300});
      const auto y = builder.output(dtype, {20, 60, 300});
      builder.node(MINIINFER_SOFTMAX, &attrs, {x}, {y});
      auto in = random_elements(random, dtype, 20 * 60 * 300);
      check_same(cpu::kSoftmax, builder, in);

      miniinfer_reduce_attrs reduce{};
      reduce.kind = MINIINFER_REDUCE_MEAN;
      for (int i = 0; i < 3; ++i) reduce.window[i] = reduce.stride[i] = reduce.dilation[i] = 1;
      reduce.window[axis] = axis == 1 ? 60 : 300;
      RegionBuilder means;
      const auto a = means.input(dtype, {20, 60, 300});
      const auto b = means.output(dtype, axis == 1 ? Dims{20, 1, 300} : Dims{20, 60, 1});
      means.node(MINIINFER_REDUCE, &reduce, {a}, {b});
      check_same(cpu::kReduce, means, in);
    }
  }
}
