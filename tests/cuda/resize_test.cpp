#include "tests/cuda/emulated.hpp"  // before the kernel

#include <doctest/doctest.h>

#include <cmath>

#include "core/cpu/resize_axis.hpp"
#include "miniinfer/abi/op/resize.h"
#include "plugins/cuda/kernels/resize.cu"
#include "plugins/cuda/kernels/resize.hpp"
#include "tests/cpu/random_data.hpp"
#include "tests/cuda/emulated_device.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cpu = miniinfer::cpu;
namespace cuda = miniinfer::cuda;

namespace {

struct Case {
  Dims in;
  std::vector<double> scale;
};

const Case kCases[] = {
    {{1, 2, 5, 7}, {1, 1, 2, 2}},       {{1, 2, 5, 7}, {1, 1, 0.6, 1.7}},
    {{2, 6, 5, 3}, {1, 0.5, 1.5, 1}},   {{9}, {0.4}},
    {{2, 4, 5, 3}, {1, 2, 0.7, 1.4}},   {{3, 4}, {1, 1}},
    {{1, 4, 5, 8}, {1, 1.5, 2, 1}},     {{2, 3, 10, 12}, {1, 1, 0.25, 0.34}},
    {{2, 1, 1, 1, 3}, {1, 3, 2, 2, 1}},
};

Dims output_dims(const Case& c) {
  Dims out;
  for (std::size_t i = 0; i < c.in.size(); ++i) {
    out.push_back(static_cast<std::int64_t>(std::floor(static_cast<double>(c.in[i]) * c.scale[i])));
  }
  return out;
}

miniinfer_resize_attrs make_attrs(const Case& c, int mode, int coordinate) {
  miniinfer_resize_attrs attrs{};
  attrs.mode = mode;
  attrs.coordinate = coordinate;
  attrs.cubic_coeff = -0.75;
  attrs.extrapolation = 7;
  for (std::size_t i = 0; i < c.in.size(); ++i) {
    attrs.scale[i] = c.scale[i];
    const bool whole = c.scale[i] == 1;
    attrs.roi_begin[i] = whole ? 0 : -0.1;
    attrs.roi_end[i] = whole ? 1 : 0.8;
  }
  return attrs;
}

void compare(Random& random, const Case& c, miniinfer_resize_attrs attrs, int dtype) {
  CAPTURE(text(c.in));
  CAPTURE(attrs.mode);
  CAPTURE(attrs.coordinate);
  CAPTURE(attrs.antialias);
  CAPTURE(attrs.exclude_outside);
  CAPTURE(dtype);
  auto data = random_elements(random, dtype, count_of(c.in), false);
  RegionBuilder builder;
  const auto x = builder.input(dtype, c.in);
  builder.node(MINIINFER_RESIZE, &attrs, {x}, {builder.output(dtype, output_dims(c))});
  const Outputs want = run_family(cpu::kResize, builder, {data.data()});
  REQUIRE_MESSAGE(want.code == MINIINFER_OK, want.reason);
  const Outputs got = run_emulated(cuda::kResize, builder, {data});
  REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
  const double tolerance = dtype == MINIINFER_FLOAT16   ? 1e-3
                           : dtype == MINIINFER_FLOAT32 ? 1e-5
                                                        : 0;
  CHECK(differences(dtype, got.data[0], want.data[0], tolerance, tolerance) == 0);
}

}  // namespace

TEST_CASE("resize by the nearest element on the GPU is the CPU's, for each rule and type") {
  Random random(31);
  for (const Case& c : kCases) {
    for (int coordinate = 0; coordinate <= MINIINFER_COORD_TF_CROP_AND_RESIZE; ++coordinate) {
      for (int nearest = 0; nearest <= MINIINFER_NEAREST_CEIL; ++nearest) {
        auto attrs = make_attrs(c, MINIINFER_RESIZE_NEAREST, coordinate);
        attrs.nearest = nearest;
        for (const int dtype :
             {MINIINFER_FLOAT32, MINIINFER_UINT8, MINIINFER_FLOAT16, MINIINFER_INT64}) {
          compare(random, c, attrs, dtype);
        }
      }
    }
  }
}

TEST_CASE("linear and cubic resize on the GPU are the CPU's, with every option") {
  Random random(32);
  for (const Case& c : kCases) {
    for (const int mode : {MINIINFER_RESIZE_LINEAR, MINIINFER_RESIZE_CUBIC}) {
      for (int coordinate = 0; coordinate <= MINIINFER_COORD_TF_CROP_AND_RESIZE; ++coordinate) {
        for (const std::uint32_t options : {0u, 1u, 2u, 3u}) {
          auto attrs = make_attrs(c, mode, coordinate);
          attrs.antialias = options & 1;
          attrs.exclude_outside = options >> 1;
          for (const int dtype :
               {MINIINFER_FLOAT32, MINIINFER_FLOAT16, MINIINFER_UINT8, MINIINFER_INT32}) {
            compare(random, c, attrs, dtype);
          }
        }
      }
    }
  }
}

TEST_CASE("The taps of an axis are the CPU's to the last bit") {
  for (const double scale : {2.0, 0.5, 1.0 / 3, 1.9, 0.7, 4.0 / 3}) {
    for (const std::int64_t in : {1, 2, 5, 31, 224}) {
      const Case c = {{in}, {scale}};
      const std::int64_t out = std::max<std::int64_t>(1, output_dims(c)[0]);
      for (int mode = 0; mode <= MINIINFER_RESIZE_CUBIC; ++mode) {
        for (int coordinate = 0; coordinate <= MINIINFER_COORD_TF_CROP_AND_RESIZE; ++coordinate) {
          auto attrs = make_attrs(c, mode, coordinate);
          attrs.antialias = in % 2 == 0;
          const auto want = cpu::make_resize_axis(attrs, 0, in, out);
          const auto axis = cuda::make_resize_axis(attrs, 0, in, out);
          REQUIRE(axis.taps == want.taps);
          const cuda::ResizeRule rule = {mode, coordinate, 0, attrs.antialias != 0, false, -0.75};
          std::vector<std::int32_t> index(static_cast<std::size_t>(axis.taps));
          std::vector<double> weight(index.size());
          std::size_t bad = 0;
          for (std::int64_t i = 0; i < out; ++i) {
            cuda::resize_taps(rule, axis, i, index.data(), weight.data());
            const bool outside = want.outside[static_cast<std::size_t>(i)] != 0;
            bad += (index[0] < 0) != outside;
            for (std::size_t t = 0; t < index.size() && !outside; ++t) {
              const auto at = static_cast<std::size_t>(i) * index.size() + t;
              bad += index[t] != want.index[at] || weight[t] != want.weight[at];
            }
          }
          CHECK(bad == 0);
        }
      }
    }
  }
}
