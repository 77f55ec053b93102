// Products and convolutions on a GPU, with the vendor's libraries, against the definitions.

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "miniinfer/abi/op/contract.h"
#include "miniinfer/sdk/reference/program.hpp"
#include "tests/cuda/conv_cases.hpp"
#include "tests/cuda/gpu_region.hpp"

using namespace miniinfer::test;  // NOLINT
namespace reference = miniinfer::sdk::reference;

namespace {

constexpr int kFloats[] = {MINIINFER_FLOAT32, MINIINFER_FLOAT64, MINIINFER_FLOAT16,
                           MINIINFER_BFLOAT16};

GpuDevice& gpu() {
  static GpuDevice& device = *new GpuDevice;
  return device;
}

double tolerance(int dtype) {
  return dtype == MINIINFER_FLOAT16    ? 4e-3
         : dtype == MINIINFER_BFLOAT16 ? 3e-2
         : dtype == MINIINFER_FLOAT64  ? 1e-12
                                       : 1e-5;
}

struct Product {
  Dims a, b, out;
  bool transpose_a = false, transpose_b = false;
};

const std::vector<Product> kProducts = {
    {{3, 5}, {5, 7}, {3, 7}},
    {{128, 384}, {384, 1536}, {128, 1536}},
    {{1, 768}, {768, 3072}, {1, 3072}},
    {{1, 1000}, {1000, 1}, {1, 1}},
    {{3, 17}, {17, 5}, {3, 5}},
    {{64, 33}, {65, 33}, {64, 65}, false, true},
    {{33, 64}, {33, 65}, {64, 65}, true, false},
    {{33, 64}, {65, 33}, {64, 65}, true, true},
    {{2, 12, 128, 64}, {2, 12, 128, 64}, {2, 12, 128, 128}, false, true},
    {{2, 12, 128, 128}, {2, 12, 128, 64}, {2, 12, 128, 64}},
    {{4, 1, 16, 8}, {1, 3, 8, 9}, {4, 3, 16, 9}},
    {{2, 3, 4, 5}, {1, 1, 5, 6}, {2, 3, 4, 6}},
    {{1, 1, 4, 5}, {2, 3, 5, 6}, {2, 3, 4, 6}},
    {{3, 0}, {0, 4}, {3, 4}},
    {{0, 3}, {3, 4}, {0, 4}},
};

// [contract] or [contract, program], whose further operands have the shapes `others`.
void check_product(int dtype, const Product& p, EpilogueProgram* program = nullptr,
                   const std::vector<Dims>& others = {}, std::size_t shift = 0) {
  if (!GpuPlugin::instance().is_due()) return;
  CAPTURE(dtype);
  CAPTURE(text(p.a));
  CAPTURE(text(p.b));
  Random random(21);
  RegionBuilder builder;
  std::vector<std::vector<std::byte>> data;
  const auto input = [&](const Dims& dims) {
    data.push_back(random_elements(random, dtype, count_of(dims), false));
    return builder.input(dtype, dims);
  };
  miniinfer_contract_attrs attrs{};
  attrs.transpose_a = p.transpose_a;
  attrs.transpose_b = p.transpose_b;
  const auto a = input(p.a), b = input(p.b);
  if (program == nullptr) {
    builder.node(MINIINFER_CONTRACT, &attrs, {a, b}, {builder.output(dtype, p.out)});
  } else {
    const auto inside = builder.value(dtype, p.out);
    std::vector<std::uint32_t> in = {inside};
    for (const Dims& dims : others) in.push_back(input(dims));
    const auto y = builder.output(dtype, p.out);
    builder.node(MINIINFER_CONTRACT, &attrs, {a, b}, {inside});
    builder.node(MINIINFER_POINTWISE, &program->attrs(), in, {y});
  }
  const Outputs got = run_on_gpu(gpu(), builder, data, shift);
  REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
  std::vector<std::byte> want(got.data[0].size());
  std::vector<std::byte*> args;
  for (auto& operand : data) args.push_back(operand.data());
  args.push_back(want.data());
  reference::run_region(builder.region(), args);
  // Sums of k products of numbers up to 6, some of which cancel. TF32 is ten times further away.
  const std::int64_t k = p.a[p.a.size() - (p.transpose_a ? 2 : 1)];
  const double absolute = tolerance(dtype) * 10 * std::sqrt(static_cast<double>(k) + 1);
  CHECK_EQ(differences(dtype, got.data[0], want, tolerance(dtype), absolute), 0);
}

void check_conv(ConvRegion& region, std::size_t shift = 0) {
  if (!GpuPlugin::instance().is_due()) return;
  CAPTURE(region.dtype);
  CAPTURE(region.transpose);
  CAPTURE(text(region.shape.in));
  CAPTURE(text(region.shape.window));
  const Outputs got = run_on_gpu(gpu(), region.builder, region.data, shift);
  REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
  const double near = tolerance(region.dtype);
  CHECK_EQ(differences(region.dtype, got.data[0], region.reference(), near, near * 100), 0);
}

// Shapes of real networks, small enough for a slow reference.
const std::vector<ConvCase> kNetworks = {
    {1, 1, 64, 64, {14, 14}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {1, 1, 64, 128, {14, 14}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
    {1, 1, 3, 64, {32, 32}, {7, 7}, {2, 2}, {1, 1}, {3, 3}, {3, 3}},
    {2, 1, 32, 32, {15, 15}, {3, 3}, {2, 2}, {1, 1}, {0, 0}, {1, 1}},
    {1, 32, 1, 1, {28, 28}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {1, 32, 1, 1, {28, 28}, {5, 5}, {2, 2}, {1, 1}, {2, 2}, {2, 2}},
    {1, 4, 8, 8, {14, 14}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {1, 1, 16, 16, {14, 14}, {3, 3}, {1, 1}, {2, 2}, {2, 2}, {2, 2}},
};

std::vector<ConvCase> all_cases() {
  std::vector<ConvCase> all = kConvCases;
  all.insert(all.end(), kNetworks.begin(), kNetworks.end());
  return all;
}

}  // namespace

TEST_CASE("products on the GPU agree with the reference") {
  for (const Product& p : kProducts) {
    for (const int dtype : kFloats) check_product(dtype, p);
    for (const int dtype : {MINIINFER_INT8, MINIINFER_INT32, MINIINFER_UINT64}) {
      check_product(dtype, p);
    }
  }
}

TEST_CASE("operands that are only as aligned as an element are multiplied") {
  for (const int dtype : kFloats) {
    const std::size_t bytes = miniinfer::sdk::element_bytes(dtype);
    check_product(dtype, {{64, 40}, {40, 48}, {64, 48}}, nullptr, {}, bytes);
  }
}

TEST_CASE("bias, residual, ReLU and GELU follow a product on the GPU") {
  for (const Product& p : {Product{{2, 32, 64}, {1, 64, 128}, {2, 32, 128}},
                           Product{{2, 3, 5}, {1, 5, 7}, {2, 3, 7}}}) {
    const Dims bias = {1, 1, p.out[2]};
    for (const int dtype : kFloats) {
      EpilogueProgram relu(dtype, 3, {0});
      relu.step(MINIINFER_PW_MAX, relu.step(MINIINFER_PW_ADD, relu.step(MINIINFER_PW_ADD, 0, 1), 2),
                relu.constant(0));
      check_product(dtype, p, &relu, {bias, p.out});
      EpilogueProgram plain(dtype, 2, {});
      plain.step(MINIINFER_PW_ADD, 0, 1);
      check_product(dtype, p, &plain, {bias});
      check_product(dtype, p, &plain, {p.out});
      EpilogueProgram gelu(dtype, 2, kGeluConstants);
      gelu.gelu_tanh(gelu.step(MINIINFER_PW_ADD, 0, 1));
      check_product(dtype, p, &gelu, {bias});
      EpilogueProgram other(dtype, 2, {0.5});
      other.step(MINIINFER_PW_SIGMOID, other.step(MINIINFER_PW_MUL, 0, 1));
      check_product(dtype, p, &other, {bias});
    }
  }
}

TEST_CASE("a NaN passes a ReLU that follows a product or a convolution") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto poisoned = [&](std::vector<std::byte>& bytes) {
    std::memcpy(bytes.data(), &nan, sizeof nan);
  };
  EpilogueProgram relu(MINIINFER_FLOAT32, 1, {0});
  relu.step(MINIINFER_PW_MAX, 0, relu.constant(0));
  RegionBuilder builder;
  miniinfer_contract_attrs attrs{};
  Random random(22);
  const auto a = builder.input(MINIINFER_FLOAT32, {64, 64});
  const auto b = builder.input(MINIINFER_FLOAT32, {64, 64});
  const auto inside = builder.value(MINIINFER_FLOAT32, {64, 64});
  const auto y = builder.output(MINIINFER_FLOAT32, {64, 64});
  builder.node(MINIINFER_CONTRACT, &attrs, {a, b}, {inside});
  builder.node(MINIINFER_POINTWISE, &relu.attrs(), {inside}, {y});
  std::vector<std::vector<std::byte>> data = {
      random_elements(random, MINIINFER_FLOAT32, 4096, false),
      random_elements(random, MINIINFER_FLOAT32, 4096, false)};
  poisoned(data[0]);
  const Outputs got = run_on_gpu(gpu(), builder, data);
  REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
  CHECK(std::isnan(got.as<float>()[0]));
  for (const bool transpose : {false, true}) {
    ConvRegion region(random, kNetworks[0], MINIINFER_FLOAT32, transpose, {true, false, true});
    poisoned(region.data[0]);
    const Outputs conv = run_on_gpu(gpu(), region.builder, region.data);
    REQUIRE_MESSAGE(conv.code == MINIINFER_OK, conv.reason);
    CHECK(std::isnan(conv.as<float>()[0]));
  }
}

TEST_CASE("convolutions and transposed ones on the GPU agree with the definition") {
  Random random(23);
  for (const ConvCase& c : all_cases()) {
    for (const int dtype : kFloats) {
      for (const bool transpose : {false, true}) {
        ConvRegion region(random, c, dtype, transpose, {true, false, false});
        check_conv(region);
      }
    }
  }
}

TEST_CASE("bias, residual and ReLU follow a convolution on the GPU") {
  Random random(24);
  for (const ConvCase& c : all_cases()) {
    for (const int dtype : {MINIINFER_FLOAT32, MINIINFER_FLOAT16}) {
      for (const ConvTail tail : {ConvTail{false, false, true},
                                  {true, false, true},
                                  {true, true, true},
                                  {false, true, false}}) {
        ConvRegion region(random, c, dtype, false, tail);
        check_conv(region);
      }
    }
  }
}

TEST_CASE("windows of 1 on the GPU agree with the definition, whatever follows them") {
  Random random(26);
  std::vector<ConvCase> cases = kPointCases;
  for (const std::int64_t size : {7, 14}) {
    cases.push_back({3, 1, 32, 24, {size, size}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}});
  }
  for (const ConvCase& c : cases) {
    for (const int dtype : {MINIINFER_FLOAT32, MINIINFER_FLOAT16}) {
      for (const ConvTail& tail : kPointTails) {
        for (const bool last : {false, true}) {
          ConvRegion region(random, c, dtype, false, tail, last);
          check_conv(region);
        }
      }
      ConvRegion shifted(random, c, dtype, false, kPointTails[0]);
      check_conv(shifted, miniinfer::sdk::element_bytes(dtype));
    }
  }
}

TEST_CASE("channels may be the innermost axis on the GPU, and operands at any alignment") {
  Random random(25);
  for (const ConvCase& c : all_cases()) {
    for (const int dtype : {MINIINFER_FLOAT32, MINIINFER_FLOAT16}) {
      ConvRegion last(random, c, dtype, false, {true, false, true}, true);
      check_conv(last);
      ConvRegion shifted(random, c, dtype, false, {true, false, true});
      check_conv(shifted, miniinfer::sdk::element_bytes(dtype));
    }
  }
}
