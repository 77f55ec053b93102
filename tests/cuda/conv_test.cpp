#include "plugins/cuda/kernels/conv.hpp"

#include <doctest/doctest.h>

#include "plugins/cuda/kernels/conv_launch.hpp"
#include "plugins/cuda/kernels/conv_shape.hpp"
#include "tests/cuda/conv_cases.hpp"
#include "tests/cuda/emulated_device.hpp"
#include "tests/cuda/fake_cublas_lt.hpp"
#include "tests/cuda/fake_cudnn.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cuda = miniinfer::cuda;

namespace {

constexpr int kFloats[] = {MINIINFER_FLOAT32, MINIINFER_FLOAT64, MINIINFER_FLOAT16,
                           MINIINFER_BFLOAT16};
constexpr std::uint32_t kLibrary = 0, kDepthwise = 1, kDirect = 2, kProduct = 3;

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

TEST_CASE("channels-last operands meet weights that were turned when the model was loaded") {
  Random random(23);
  FakeCudnn& cudnn = fake_cudnn();
  for (const bool present : {false, true}) {
    cudnn = {};
    cudnn.present = present;
    for (ConvCase c : kConvCases) {
      CAPTURE(text(c.in));
      CAPTURE(text(c.window));
      c.batch += 4;  // plans are kept by shape
      for (const int dtype : kFloats) {
        for (const bool transpose : {false, true}) {
          ConvRegion region(random, c, dtype, transpose, {true, false, true}, true, true);
          check(region);
        }
      }
    }
  }
  cudnn = {};
}

TEST_CASE("channels-last depthwise windows take vectors of channels where addresses allow it") {
  Random random(24);
  for (const std::size_t i : {9u, 10u, 11u, 12u}) {
    for (const std::int64_t channels : {8, 24, 7}) {
      ConvCase c = kConvCases[i];
      c.group = channels;
      for (const int dtype : kFloats) {
        for (const bool constant : {false, true}) {
          for (const std::size_t shift : {0u, miniinfer::sdk::element_bytes(dtype)}) {
            ConvRegion region(random, c, dtype, false, {true, true, true}, true, constant);
            CHECK_EQ(check(region, shift), kDepthwise);
          }
        }
      }
    }
  }
}

TEST_CASE("tensor cores make channels-last the cheaper layout, and strict float32 does not") {
  Random random(25);
  fake_cudnn() = {};
  fake_cudnn().present = true;
  ConvCase c = kConvCases[0];
  c.batch = 9;
  c.in_channels = c.out_channels = 64;
  const auto cost = [&](int dtype, bool last) {
    ConvRegion region(random, c, dtype, false, {}, last, true);
    const Outputs got = run_emulated(cuda::kConv, region.builder, region.data);
    REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
    return got.choice.cost_ns;
  };
  CHECK(cost(MINIINFER_FLOAT16, true) < cost(MINIINFER_FLOAT16, false));
  CHECK(cost(MINIINFER_FLOAT32, true) > cost(MINIINFER_FLOAT32, false));
  fake_cudnn() = {};
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

TEST_CASE("windows of 1 are products, whatever follows them") {
  Random random(19);
  for (const ConvCase& c : kPointCases) {
    CAPTURE(text(c.in));
    for (const int dtype : kProductFloats) {
      CAPTURE(dtype);
      for (const ConvTail& tail : kPointTails) {
        for (const bool last : {false, true}) {
          ConvRegion region(random, c, dtype, false, tail, last);
          for (const std::size_t shift : {0u, miniinfer::sdk::element_bytes(dtype)}) {
            fake_cublas_lt() = {};
            CHECK_EQ(check(region, shift), kProduct);
            CHECK_EQ(fake_cublas_lt().calls, 1);
            // The library's bias goes along the output's rows: channels are innermost. What is
            // added to one place of each channel is a bias.
            const bool bias = tail.bias || (tail.residual && c.batch == 1 && c.in == Dims{1, 1});
            const bool inner = last || c.in == Dims{1, 1};
            const bool fuses = inner ? bias || tail.relu : tail.relu && !bias;
            CHECK_EQ(fake_cublas_lt().fused_calls, fuses && !tail.relu6 && shift == 0);
          }
        }
      }
    }
  }
  fake_cublas_lt() = {};
}

TEST_CASE("a window of 1 is no product where it skips, pads, is grouped or transposed") {
  Random random(20);
  const ConvCase base = {2, 1, 8, 8, {6, 6}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}};
  const auto way = [&](const ConvCase& c, int dtype = MINIINFER_FLOAT32, bool transpose = false) {
    ConvRegion region(random, c, dtype, transpose, {true, false, true});
    return check(region);
  };
  CHECK_EQ(way(base), kProduct);
  ConvCase skips = base, pads = base, grouped = base, thin = base, dilated = base;
  skips.stride = {1, 2};
  pads.begin = {0, 1};
  grouped.group = 2;
  thin.in_channels = 3;
  dilated.dilation = {3, 2};
  for (const ConvCase& c : {skips, pads, grouped, thin}) CHECK_EQ(way(c), kDirect);
  CHECK_EQ(way(dilated), kProduct);
  CHECK_EQ(way(base, MINIINFER_FLOAT64), kDirect);
  CHECK_EQ(way(base, MINIINFER_FLOAT32, true), kDirect);
}

TEST_CASE("a window of 1 is cuDNN's without cuBLASLt, and a TF32 product only where allowed") {
  Random random(21);
  const ConvCase c = {2, 1, 8, 8, {6, 6}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}};
  for (const std::uint32_t math : {0u, std::uint32_t{MINIINFER_MATH_TF32}}) {
    ConvRegion region(random, c, MINIINFER_FLOAT32, false, {true, false, true});
    const miniinfer_region& raw = region.builder.region();
    const_cast<miniinfer_node*>(raw.nodes[0])->math = math;
    CHECK_EQ(check(region), kProduct);
    CHECK_EQ(fake_cublas_lt().tf32_calls, math != 0);
  }
  fake_cublas_lt().present = false;
  fake_cudnn().present = true;
  ConvRegion region(random, c, MINIINFER_FLOAT32, false, {true, false, true});
  CHECK_EQ(check(region), kLibrary);
  CHECK_EQ(fake_cudnn().plans, 1);
  fake_cublas_lt() = {};
  fake_cudnn() = {};
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
  REQUIRE_EQ(cuda::launch_conv_pad(args, false, padded.data(), nullptr), cudaSuccess);
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

TEST_CASE("padding of channels-last planes stays channels-last") {
  Random random(15);
  ConvRegion region(random, kConvCases[6], MINIINFER_FLOAT32, false, {}, true);
  const miniinfer::sdk::Region view(region.builder.region());
  cuda::ConvArgs args = cuda::conv_shape(view, false);
  args.x = region.data[0].data();
  std::vector<float> padded(static_cast<std::size_t>(cuda::padded_elements(args)), -1);
  REQUIRE_EQ(cuda::launch_conv_pad(args, true, padded.data(), nullptr), cudaSuccess);
  const auto* x = reinterpret_cast<const float*>(region.data[0].data());
  std::size_t at = 0;
  for (std::int64_t d = -1; d < 5; ++d) {
    for (std::int64_t h = -1; h < 6; ++h) {
      for (std::int64_t w = 0; w < 7; ++w) {
        for (std::int64_t channel = 0; channel < 2; ++channel, ++at) {
          const bool inside = d >= 0 && d < 4 && h >= 0 && h < 5 && w < 6;
          CHECK_EQ(padded[at], inside ? x[((d * 5 + h) * 6 + w) * 2 + channel] : 0);
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
