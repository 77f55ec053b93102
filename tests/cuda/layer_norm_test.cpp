#include "tests/cuda/emulated.hpp"  // before the kernel

#include <doctest/doctest.h>

#include "miniinfer/abi/op/norm.h"
#include "plugins/cuda/kernels/layer_norm.cu"
#include "plugins/cuda/kernels/layer_norm.hpp"
#include "tests/cpu/random_data.hpp"
#include "tests/cuda/emulated_device.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cpu = miniinfer::cpu;
namespace cuda = miniinfer::cuda;

namespace {

struct Case {
  Dims x;
  int axis;
  Dims scale, bias;  // a bias of rank 0 is left out
};

const Case kCases[] = {
    {{3, 7}, 1, {7}, {7}},          {{2, 3, 64}, 2, {64}, {}},
    {{5, 200}, 1, {200}, {200}},    {{2, 4, 192}, 1, {4, 192}, {192}},
    {{3, 1024}, 1, {1024}, {1024}}, {{2, 1536}, 1, {1536}, {1536}},
    {{2, 3, 5, 4}, 1, {5, 1}, {1}}, {{1, 6001}, 1, {6001}, {1}},
    {{1, 16500}, 1, {16500}, {}},   {{0, 8}, 1, {8}, {8}},
};

void compare(Random& random, const Case& c, int dtype, int affine_dtype, bool rms, double tolerance,
             std::size_t shift) {
  CAPTURE(text(c.x));
  CAPTURE(dtype);
  CAPTURE(rms);
  CAPTURE(shift);
  auto x = random_elements(random, dtype, count_of(c.x), false);
  auto scale = random_elements(random, affine_dtype, count_of(c.scale), false);
  auto bias = random_elements(random, affine_dtype, count_of(c.bias), false);
  miniinfer_layer_norm_attrs attrs{};
  attrs.axis = c.axis;
  attrs.rms = rms;
  attrs.epsilon = 1e-5;
  Dims rows = c.x;
  std::fill(rows.begin() + c.axis, rows.end(), 1);
  RegionBuilder builder;
  std::vector<std::uint32_t> in = {builder.input(dtype, c.x), builder.input(affine_dtype, c.scale)};
  std::vector<std::byte*> cpu_in = {x.data(), scale.data()};
  std::vector<std::vector<std::byte>> gpu_in = {x, scale};
  if (!c.bias.empty()) {
    in.push_back(builder.input(affine_dtype, c.bias));
    cpu_in.push_back(bias.data());
    gpu_in.push_back(bias);
  }
  const auto y = builder.output(dtype, c.x);
  const auto mean = builder.output(MINIINFER_FLOAT32, rows);
  const auto inverse = builder.output(dtype, rows);
  builder.node(MINIINFER_LAYER_NORM, &attrs, in, {y, mean, inverse});
  const Outputs want = run_family(cpu::kLayerNorm, builder, cpu_in);
  REQUIRE_MESSAGE(want.code == MINIINFER_OK, want.reason);
  const Outputs got = run_emulated(cuda::kLayerNorm, builder, gpu_in, shift);
  REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
  CHECK(differences(dtype, got.data[0], want.data[0], tolerance, tolerance) == 0);
  CHECK(run_emulated(cuda::kLayerNorm, builder, gpu_in, shift, true).data[0] == got.data[0]);
  CHECK(differences(MINIINFER_FLOAT32, got.data[1], want.data[1], 1e-5, 1e-6) == 0);
  CHECK(differences(dtype, got.data[2], want.data[2], tolerance) == 0);
}

}  // namespace

TEST_CASE("layer_norm on the GPU is the CPU's, for rows of any length and each form of scale") {
  Random random(21);
  for (const Case& c : kCases) {
    for (const bool rms : {false, true}) {
      for (const std::size_t shift : {0, 8}) {
        compare(random, c, MINIINFER_FLOAT32, MINIINFER_FLOAT32, rms, 1e-5, shift);
        compare(random, c, MINIINFER_FLOAT16, MINIINFER_FLOAT16, rms, 2e-3, shift);
        compare(random, c, MINIINFER_FLOAT16, MINIINFER_FLOAT32, rms, 2e-3, shift);
      }
      compare(random, c, MINIINFER_BFLOAT16, MINIINFER_BFLOAT16, rms, 2e-2, 0);
      compare(random, c, MINIINFER_FLOAT64, MINIINFER_FLOAT64, rms, 1e-12, 0);
    }
  }
}

TEST_CASE("layer_norm of a row far from zero keeps its variance") {
  std::vector<float> row(1000);
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = 4096.0f + static_cast<float>(i % 2);
  miniinfer_layer_norm_attrs attrs{};
  attrs.axis = 1;
  RegionBuilder builder;
  const auto x = builder.input(MINIINFER_FLOAT32, {1, 1000});
  const auto scale = builder.input(MINIINFER_FLOAT32, {1});
  builder.node(MINIINFER_LAYER_NORM, &attrs, {x, scale},
               {builder.output(MINIINFER_FLOAT32, {1, 1000})});
  const Outputs got =
      run_emulated(cuda::kLayerNorm, builder, {raw_bytes(row), raw_bytes(std::vector<float>{1})});
  const auto y = got.as<float>();
  for (std::size_t i = 0; i < y.size(); ++i) CHECK(std::abs(y[i] - (i % 2 == 0 ? -1 : 1)) < 1e-4);
}
