#include "tests/cuda/emulated.hpp"  // before the kernel

#include <doctest/doctest.h>

#include "miniinfer/abi/op/select.h"
#include "plugins/cuda/kernels/non_zero.cu"
#include "plugins/cuda/kernels/non_zero.hpp"
#include "tests/cpu/random_data.hpp"
#include "tests/cuda/emulated_device.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cpu = miniinfer::cpu;
namespace cuda = miniinfer::cuda;

namespace {

void compare(std::vector<std::byte> data, int dtype, const Dims& dims) {
  CAPTURE(text(dims));
  CAPTURE(dtype);
  const auto rank = static_cast<std::int64_t>(dims.size());
  const auto most = static_cast<std::int64_t>(count_of(dims));
  miniinfer_non_zero_attrs attrs{};
  RegionBuilder builder;
  const auto x = builder.input(dtype, dims);
  const auto positions = builder.output(MINIINFER_INT64, {rank, most});
  const auto count = builder.output(MINIINFER_INT64, {});
  builder.node(MINIINFER_NON_ZERO, &attrs, {x}, {positions, count});
  const Outputs want = run_family(cpu::kNonZero, builder, {data.data()});
  const Outputs got = run_emulated(cuda::kNonZero, builder, {data});
  REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
  CHECK(got.as<std::int64_t>(1) == want.as<std::int64_t>(1));
  CHECK(got.data[0] == want.data[0]);
}

}  // namespace

TEST_CASE("non_zero on the GPU gives the CPU's positions in the CPU's order") {
  Random random(51);
  for (const Dims& dims :
       {Dims{7}, Dims{0}, Dims{3, 5, 2}, Dims{40, 130}, Dims{2049}, Dims{1, 1}}) {
    for (const int dtype : kAllTypes) {
      auto data = random_elements(random, dtype, count_of(dims));
      const std::size_t size = miniinfer::sdk::element_bytes(dtype);
      for (std::size_t i = 0; i < data.size(); i += size) {
        if (pick(random, 0, 2) != 0) std::memset(data.data() + i, 0, size);
      }
      compare(data, dtype, dims);
    }
  }
  compare(raw_bytes(std::vector<float>{0.0f, -0.0f, 1e-42f, -1.0f}), MINIINFER_FLOAT32, {4});
  compare(raw_bytes(std::vector<float>{2}), MINIINFER_FLOAT32, {});
}
