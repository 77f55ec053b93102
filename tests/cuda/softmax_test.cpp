#include "tests/cuda/emulated.hpp"  // before the kernels

#include <doctest/doctest.h>

#include <limits>

#include "miniinfer/abi/op/norm.h"
#include "plugins/cuda/kernels/softmax.cu"
#include "plugins/cuda/kernels/softmax.hpp"
#include "tests/cpu/random_data.hpp"
#include "tests/cuda/emulated_device.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cpu = miniinfer::cpu;
namespace cuda = miniinfer::cuda;

namespace {

constexpr int kFloats[] = {MINIINFER_FLOAT32, MINIINFER_FLOAT16, MINIINFER_BFLOAT16,
                           MINIINFER_FLOAT64};

double tolerance(int dtype) {
  if (dtype == MINIINFER_FLOAT64) return 1e-12;
  if (dtype == MINIINFER_FLOAT32) return 1e-5;
  return dtype == MINIINFER_FLOAT16 ? 1.5e-3 : 1e-2;
}

void compare_softmax(std::vector<std::byte> data, int dtype, const Dims& dims, int axis,
                     bool logarithm, std::size_t shift = 0) {
  CAPTURE(dtype);
  CAPTURE(text(dims));
  CAPTURE(axis);
  CAPTURE(logarithm);
  CAPTURE(shift);
  miniinfer_softmax_attrs attrs{};
  attrs.axis = axis;
  attrs.logarithm = logarithm;
  RegionBuilder builder;
  const auto x = builder.input(dtype, dims);
  builder.node(MINIINFER_SOFTMAX, &attrs, {x}, {builder.output(dtype, dims)});
  const Outputs want = run_family(cpu::kSoftmax, builder, {data.data()});
  const Outputs got = run_emulated(cuda::kSoftmax, builder, {data}, shift);
  REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
  CHECK(differences(dtype, got.data[0], want.data[0], tolerance(dtype), 1e-5) == 0);
  const Outputs over = run_emulated(cuda::kSoftmax, builder, {data}, shift, true);
  CHECK(over.data[0] == got.data[0]);
}

}  // namespace

TEST_CASE("softmax on the GPU is the CPU's, for rows of any length and along any axis") {
  Random random(11);
  for (const int dtype : kFloats) {
    for (const bool logarithm : {false, true}) {
      for (const std::int64_t length : {1, 7, 64, 128, 200, 1000, 1024, 1040, 4096}) {
        const Dims dims = {3, length};
        const auto data = random_elements(random, dtype, count_of(dims), false);
        compare_softmax(data, dtype, dims, 1, logarithm);
        compare_softmax(data, dtype, dims, 1, logarithm, 8);
      }
      for (const Dims& dims : {Dims{2, 5, 3}, Dims{1, 300, 2}, Dims{3, 2, 300}, Dims{0, 4, 2}}) {
        compare_softmax(random_elements(random, dtype, count_of(dims), false), dtype, dims, 1,
                        logarithm);
      }
    }
  }
}

TEST_CASE("softmax of very long rows reads them twice") {
  Random random(12);
  for (const int dtype : kFloats) {
    for (const std::int64_t length : {16388, 17001}) {
      compare_softmax(random_elements(random, dtype, static_cast<std::size_t>(length), false),
                      dtype, {1, length}, 1, length % 2 == 0);
    }
  }
}

TEST_CASE("softmax of infinities and NaN is what the definition gives") {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::int64_t length : {4, 40, 1200, 17000}) {
    for (const std::vector<float>& first : {std::vector<float>{-inf, -inf, -inf, -inf},
                                            {inf, 1, 2, 3},
                                            {-inf, nan, 1, 2},
                                            {nan, -inf, -inf, 0},
                                            {-inf, 0, -inf, 1000}}) {
      std::vector<float> row(static_cast<std::size_t>(length), first[0] < 0 ? -inf : 0.5f);
      std::copy(first.begin(), first.end(), row.begin());
      compare_softmax(raw_bytes(row), MINIINFER_FLOAT32, {1, length}, 1, false);
      compare_softmax(raw_bytes(row), MINIINFER_FLOAT32, {1, length, 1}, 1, true);
      if (length < 100) {
        std::vector<float> twice;
        for (const float x : row) twice.insert(twice.end(), {x, 1.0f});
        compare_softmax(raw_bytes(twice), MINIINFER_FLOAT32, {1, length, 2}, 1, false);
      }
    }
  }
}
