#include "plugins/cuda/kernels/conv.hpp"

#include <doctest/doctest.h>

#include "plugins/cuda/kernels/conv_launch.hpp"
#include "plugins/cuda/kernels/conv_shape.hpp"
#include "tests/cuda/conv_cases.hpp"
#include "tests/cuda/emulated_device.hpp"
#include "tests/cuda/fake_cudnn.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cuda = miniinfer::cuda;

namespace {

constexpr int kFloats[] = {MINIINFER_FLOAT32, MINIINFER_FLOAT64, MINIINFER_FLOAT16,
                           MINIINFER_BFLOAT16};
constexpr std::uint32_t kDepthwise = 1, kDirect = 2;

std::uint32_t check(ConvRegion& region, std::size_t shift = 0) {
  const cuda::Family& family = region.transpose ? cuda::kConvTranspose : cuda::kConv;
  const Outputs got = run_emulated(family, region.builder, region.data, shift);
  REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
  const double tolerance = region.dtype == MINIINFER_FLOAT16    ? 2e-3
                           : region.dtype == MINIINFER_BFLOAT16 ? 2e-2
                                                                : 1e-4;
  // What follows a library's call starts from a sum that is rounded to the type, and may cancel it.
  const double absolute = tolerance * 8;
  CHECK_EQ(differences(region.dtype, got.data[0], region.reference(), tolerance, absolute), 0);
  return got.choice.algorithm;
}

}  // namespace

TEST_CASE("without cuDNN every convolution and transposed one is served") {
  Random random(11);
  for (const ConvCase& c : kConvCases) {
    CAPTURE(text(c.in));
    CAPTURE(text(c.window));
    for (const int dtype : kFloats) {
      for (const bool transpose : {false, true}) {
        ConvRegion region(random, c, dtype, transpose, {true, false, false});
        check(region);
      }
    }
  }
}

TEST_CASE("a residual and a ReLU are part of the kernel, depthwise or not") {
  Random random(12);
  for (const ConvCase& c : kConvCases) {
    for (const ConvTail tail :
         {ConvTail{false, false, true}, {true, true, true}, {false, true, false}}) {
      ConvRegion region(random, c, MINIINFER_FLOAT32, false, tail);
      check(region);
    }
  }
}

TEST_CASE("small depthwise windows have a kernel of their own, at any alignment") {
  Random random(13);
  const auto way = [&](std::size_t i) {
    ConvRegion region(random, kConvCases[i], MINIINFER_FLOAT16, false, {true, false, true});
    return check(region, 2);
  };
  for (const std::size_t i : {9u, 10u, 11u, 12u}) CHECK_EQ(way(i), kDepthwise);
  CHECK_EQ(way(13), kDirect);  // dilated
  CHECK_EQ(way(14), kDirect);  // two channels out of one
}

TEST_CASE("channels may be the innermost axis") {
  Random random(14);
  for (const ConvCase& c : kConvCases) {
    for (const bool transpose : {false, true}) {
      ConvRegion region(random, c, MINIINFER_FLOAT32, transpose, {true, true, true}, true);
      check(region);
    }
  }
}

TEST_CASE("cuDNN's plans are asked for as its documentation wants it, and give the same") {
  Random random(16);
  FakeCudnn& cudnn = fake_cudnn();
  cudnn.present = true;
  for (const bool takes_fused : {true, false}) {
    for (const bool takes_uneven : {true, false}) {
      cudnn.takes_fused = takes_fused;
      cudnn.takes_uneven_padding = takes_uneven;
      for (ConvCase c : kConvCases) {
        CAPTURE(text(c.in));
        CAPTURE(text(c.window));
        c.batch += 2 * takes_fused + takes_uneven;  // plans are kept by shape
        for (const int dtype : kFloats) {
          for (const ConvTail tail : {ConvTail{true, false, false}, {true, true, true}}) {
            ConvRegion region(random, c, dtype, false, tail);
            check(region);
          }
          ConvRegion transposed(random, c, dtype, true, {true, false, false});
          check(transposed);
        }
        ConvRegion last(random, c, MINIINFER_FLOAT32, false, {true, false, true}, true);
        check(last);
      }
    }
  }
  cudnn = {};
}

TEST_CASE("strict float32 keeps off tensor cores, and TF32 does not") {
  Random random(17);
  FakeCudnn& cudnn = fake_cudnn();
  for (const std::uint32_t math : {0u, std::uint32_t{MINIINFER_MATH_TF32}}) {
    cudnn = {};
    cudnn.present = true;
    ConvCase c = kConvCases[0];
    c.batch = 7;  // plans are kept by shape and rules
    ConvRegion region(random, c, MINIINFER_FLOAT32, false, {true, true, true});
    const miniinfer_region& raw = region.builder.region();
    const_cast<miniinfer_node*>(raw.nodes[0])->math = math;
    check(region);
    CHECK_EQ(cudnn.plans, 1);
    CHECK_EQ(cudnn.fused_runs, 1);
    CHECK_EQ(cudnn.tensor_core_runs, math != 0);
    check(region);
    CHECK_EQ(cudnn.plans, 1);
  }
  cudnn = {};
}

TEST_CASE("an engine that wants a residual gets the output, times zero") {
  Random random(18);
  FakeCudnn& cudnn = fake_cudnn();
  cudnn.present = cudnn.wants_residual = true;
  ConvCase c = kConvCases[0];
  c.batch = 8;
  ConvRegion region(random, c, MINIINFER_FLOAT32, false, {true, false, true});
  check(region);
  CHECK_EQ(cudnn.fused_runs, 1);
  cudnn = {};
}

TEST_CASE("padding is written around each plane") {
  Random random(15);
  ConvRegion region(random, kConvCases[6], MINIINFER_FLOAT32, false, {});
  const miniinfer::sdk::Region view(region.builder.region());
  cuda::ConvArgs args = cuda::conv_shape(view, false);
  args.x = region.data[0].data();
  std::vector<float> padded(static_cast<std::size_t>(cuda::padded_elements(args)), -1);
  REQUIRE_EQ(cuda::launch_conv_pad(args, padded.data(), nullptr), cudaSuccess);
  const auto* x = reinterpret_cast<const float*>(region.data[0].data());
  std::size_t at = 0;
  for (std::int64_t plane = 0; plane < 2; ++plane) {
    for (std::int64_t d = -1; d < 5; ++d) {
      for (std::int64_t h = -1; h < 6; ++h) {
        for (std::int64_t w = 0; w < 7; ++w, ++at) {
          const bool inside = d >= 0 && d < 4 && h >= 0 && h < 5 && w < 6;
          CHECK_EQ(padded[at], inside ? x[((plane * 4 + d) * 5 + h) * 6 + w] : 0);
        }
      }
    }
  }
  CHECK_EQ(at, padded.size());
}

TEST_CASE("operands that do not fit a convolution are refused with a reason") {
  RegionBuilder builder;
  miniinfer_conv_attrs attrs{};
  attrs.spatial_rank = 2;
  attrs.group = 2;
  for (int i = 0; i < 2; ++i) attrs.stride[i] = attrs.dilation[i] = 1;
  const auto x = builder.input(MINIINFER_FLOAT32, {1, 3, 4, 4});
  const auto w = builder.input(MINIINFER_FLOAT32, {4, 1, 1, 1});
  builder.node(MINIINFER_CONV, &attrs, {x, w}, {builder.output(MINIINFER_FLOAT32, {1, 4, 4, 4})});
  const Outputs got = run_emulated(cuda::kConv, builder, {{}, {}});
  CHECK_EQ(got.code, MINIINFER_UNSUPPORTED);
  CHECK(got.reason.find("groups") != std::string::npos);
}
