#include "tests/cuda/emulated.hpp"  // before the kernel

#include <doctest/doctest.h>

#include "miniinfer/abi/op/select.h"
#include "plugins/cuda/kernels/cum_sum.cu"
#include "plugins/cuda/kernels/cum_sum.hpp"
#include "tests/cpu/random_data.hpp"
#include "tests/cuda/emulated_device.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cpu = miniinfer::cpu;
namespace cuda = miniinfer::cuda;

TEST_CASE("cum_sum on the GPU is the CPU's, for every type, way and length") {
  Random random(41);
  for (const Dims& dims :
       {Dims{3, 5}, Dims{1, 130}, Dims{2, 5000}, Dims{2, 7, 3}, Dims{2, 0, 3}, Dims{2, 3, 300}}) {
    for (const int dtype : kAllTypes) {
      if (dtype == MINIINFER_BOOL) continue;
      for (const std::uint32_t way : {0u, 1u, 2u, 3u}) {
        CAPTURE(text(dims));
        CAPTURE(dtype);
        CAPTURE(way);
        miniinfer_cum_sum_attrs attrs{};
        attrs.axis = 1;
        attrs.exclusive = way & 1;
        attrs.reverse = way >> 1;
        auto data = random_elements(random, dtype, count_of(dims), false);
        RegionBuilder builder;
        const auto x = builder.input(dtype, dims);
        builder.node(MINIINFER_CUM_SUM, &attrs, {x}, {builder.output(dtype, dims)});
        const Outputs want = run_family(cpu::kCumSum, builder, {data.data()});
        const Outputs got = run_emulated(cuda::kCumSum, builder, {data});
        REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
        CHECK(run_emulated(cuda::kCumSum, builder, {data}, 0, true).data[0] == got.data[0]);
        CHECK(differences(dtype, got.data[0], want.data[0], 0) == 0);  // sums of eighths are exact
      }
    }
  }
}
