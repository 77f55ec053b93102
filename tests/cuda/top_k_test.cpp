#include "tests/cuda/emulated.hpp"  // before the kernel

#include <doctest/doctest.h>

#include "miniinfer/abi/op/select.h"
#include "plugins/cuda/kernels/top_k.cu"
#include "plugins/cuda/kernels/top_k.hpp"
#include "plugins/cuda/kernels/top_k_long.cu"
#include "tests/cpu/random_data.hpp"
#include "tests/cuda/emulated_device.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cpu = miniinfer::cpu;
namespace cuda = miniinfer::cuda;

namespace {

void compare(Random& random, miniinfer_dtype dtype, const Dims& dims, int axis, std::int64_t k,
             bool largest, std::uint32_t algorithm) {
  CAPTURE(dtype);
  CAPTURE(text(dims));
  CAPTURE(k);
  CAPTURE(largest);
  auto data = random_elements(random, dtype, count_of(dims));
  Dims out = dims;
  out[static_cast<std::size_t>(axis)] = k;
  miniinfer_top_k_attrs attrs{};
  attrs.axis = axis;
  attrs.largest = largest;
  RegionBuilder builder;
  const auto x = builder.input(dtype, dims);
  const auto values = builder.output(dtype, out);
  const auto positions = builder.output(MINIINFER_INT64, out);
  builder.node(MINIINFER_TOP_K, &attrs, {x}, {values, positions});
  const Outputs want = run_family(cpu::kTopK, builder, {data.data()});
  const Outputs got = run_emulated(cuda::kTopK, builder, {data});
  REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
  CHECK(got.choice.algorithm == algorithm);
  CHECK(got.data[0] == want.data[0]);
  CHECK(got.as<std::int64_t>(1) == want.as<std::int64_t>(1));
}

}  // namespace

TEST_CASE("top_k on the GPU gives what the CPU gives, for every type and along any axis") {
  Random random(3);
  for (const int dtype : kAllTypes) {
    for (const bool largest : {true, false}) {
      compare(random, dtype, {3, 1}, 1, 1, largest, 0);
      compare(random, dtype, {2, 37, 3}, 1, 5, largest, 0);
      compare(random, dtype, {2, 200}, 1, 200, largest, 0);
    }
  }
}

TEST_CASE("top_k of long rows selects before it sorts, ties included") {
  Random random(4);
  for (const int dtype : {MINIINFER_FLOAT32, MINIINFER_FLOAT16, MINIINFER_UINT8, MINIINFER_INT64}) {
    compare(random, dtype, {1, 5000, 2}, 1, 50, true, 1);
    compare(random, dtype, {1, 9001}, 1, 1, false, 1);
  }
}

TEST_CASE("top_k with a large k sorts whole rows in device memory") {
  Random random(5);
  compare(random, MINIINFER_INT32, {2, 9000}, 1, 8999, true, 2);
  compare(random, MINIINFER_FLOAT64, {4100, 2}, 0, 4100, false, 2);
}
