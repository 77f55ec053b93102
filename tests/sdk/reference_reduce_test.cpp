#include "miniinfer/sdk/reference/reduce.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "miniinfer/sdk/reference/program.hpp"
#include "tests/sdk/region_builder.hpp"

using namespace miniinfer::test;  // NOLINT
namespace reference = miniinfer::sdk::reference;

namespace {

using Dims = std::vector<std::int64_t>;
using Floats = std::vector<float>;
using Longs = std::vector<std::int64_t>;
using Small = std::vector<std::int8_t>;

// A reduction of whole axes, or, with some fields changed, of windows.
miniinfer_reduce_attrs reduction(std::int32_t kind, const Dims& window) {
  miniinfer_reduce_attrs attrs{};
  attrs.kind = kind;
  for (std::size_t axis = 0; axis < MINIINFER_MAX_RANK; ++axis) {
    attrs.window[axis] = axis < window.size() ? window[axis] : 1;
    attrs.stride[axis] = 1;
    attrs.dilation[axis] = 1;
  }
  return attrs;
}

template <class R, class T>
std::vector<R> reduce(miniinfer_reduce_attrs attrs, miniinfer_dtype dtype, const Dims& in_dims,
                      std::vector<T> in, const Dims& out_dims, Longs* positions = nullptr) {
  RegionBuilder builder;
  const std::uint32_t x = builder.input(dtype, in_dims);
  const bool is_arg = attrs.kind >= MINIINFER_REDUCE_ARGMAX;
  std::vector<std::uint32_t> outs = {builder.output(is_arg ? MINIINFER_INT64 : dtype, out_dims)};
  std::vector<R> out(static_cast<std::size_t>(miniinfer::sdk::element_count(out_dims)));
  std::vector<std::byte*> args = {bytes(in), bytes(out)};
  if (positions != nullptr) {
    outs.push_back(builder.output(MINIINFER_INT64, out_dims));
    positions->resize(out.size());
    args.push_back(bytes(*positions));
  }
  builder.node(MINIINFER_REDUCE, &attrs, {x}, outs);
  reference::run_region(builder.region(), args);
  return out;
}

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

}  // namespace

TEST_CASE("whole axes are reduced by a window as long as the axis") {
  const Floats x = {1, 2, 3, 4, 5, 6};
  CHECK_EQ(
      reduce<float>(reduction(MINIINFER_REDUCE_SUM, {1, 3}), MINIINFER_FLOAT32, {2, 3}, x, {2, 1}),
      Floats{6, 15});
  CHECK_EQ(
      reduce<float>(reduction(MINIINFER_REDUCE_MEAN, {2, 1}), MINIINFER_FLOAT32, {2, 3}, x, {1, 3}),
      Floats{2.5f, 3.5f, 4.5f});
  CHECK_EQ(
      reduce<float>(reduction(MINIINFER_REDUCE_PROD, {2, 3}), MINIINFER_FLOAT32, {2, 3}, x, {1, 1}),
      Floats{720});
  CHECK_EQ(
      reduce<float>(reduction(MINIINFER_REDUCE_MIN, {1, 3}), MINIINFER_FLOAT32, {2, 3}, x, {2, 1}),
      Floats{1, 4});
}

TEST_CASE("pooling leaves out what is outside the input, and may count it") {
  auto attrs = reduction(MINIINFER_REDUCE_MEAN, {3});
  attrs.stride[0] = 2;
  attrs.pad_begin[0] = 1;
  attrs.pad_end[0] = 1;
  const Floats x = {3, 6, 9, 12};
  CHECK_EQ(reduce<float>(attrs, MINIINFER_FLOAT32, {4}, x, {2}), Floats{4.5f, 9});
  attrs.count_pad = 1;
  CHECK_EQ(reduce<float>(attrs, MINIINFER_FLOAT32, {4}, x, {2}), Floats{3, 9});
  // A last window that reaches past the padding too (ceil mode) does not count what is there.
  CHECK_EQ(reduce<float>(attrs, MINIINFER_FLOAT32, {4}, x, {3}), Floats{3, 9, 6});
}

TEST_CASE("a dilated window steps over elements") {
  auto attrs = reduction(MINIINFER_REDUCE_SUM, {2});
  attrs.dilation[0] = 2;
  CHECK_EQ(reduce<float>(attrs, MINIINFER_FLOAT32, {4}, Floats{1, 2, 4, 8}, {2}), Floats{5, 10});
}

TEST_CASE("an empty window gives the identity") {
  const auto one = [](std::int32_t kind) {
    return reduce<float>(reduction(kind, {0}), MINIINFER_FLOAT32, {0}, Floats{}, {1})[0];
  };
  CHECK_EQ(one(MINIINFER_REDUCE_SUM), 0.0f);
  CHECK_EQ(one(MINIINFER_REDUCE_PROD), 1.0f);
  CHECK_EQ(one(MINIINFER_REDUCE_MAX), -kInf);
  CHECK_EQ(one(MINIINFER_REDUCE_MIN), kInf);
  CHECK(std::isnan(one(MINIINFER_REDUCE_MEAN)));
  CHECK_EQ(
      reduce<std::int8_t>(reduction(MINIINFER_REDUCE_MAX, {0}), MINIINFER_INT8, {0}, Small{}, {1}),
      Small{-128});
}

TEST_CASE("integer sums wrap and integer means truncate") {
  CHECK_EQ(reduce<std::int8_t>(reduction(MINIINFER_REDUCE_SUM, {2}), MINIINFER_INT8, {2},
                               Small{100, 100}, {1}),
           Small{-56});
  CHECK_EQ(reduce<std::int8_t>(reduction(MINIINFER_REDUCE_MEAN, {2}), MINIINFER_INT8, {2},
                               Small{-2, -3}, {1}),
           Small{-2});
}

TEST_CASE("MAX is NaN if any is NaN, and gives the first maximum's place") {
  CHECK(std::isnan(reduce<float>(reduction(MINIINFER_REDUCE_MAX, {3}), MINIINFER_FLOAT32, {3},
                                 Floats{1, kNan, 3}, {1})[0]));
  Longs at;
  auto attrs = reduction(MINIINFER_REDUCE_MAX, {1, 1, 2, 2});
  const Floats x = {1, 5, 5, 0, 2, 2};  // [1, 1, 2, 3]
  CHECK_EQ(reduce<float>(attrs, MINIINFER_FLOAT32, {1, 1, 2, 3}, x, {1, 1, 1, 2}, &at),
           Floats{5, 5});
  CHECK_EQ(at, Longs{1, 1});
  attrs.index_column_major = 1;
  reduce<float>(attrs, MINIINFER_FLOAT32, {1, 1, 2, 3}, x, {1, 1, 1, 2}, &at);
  CHECK_EQ(at, Longs{2, 2});
}

TEST_CASE("ARGMAX and ARGMIN give the first of equals, or the last") {
  auto attrs = reduction(MINIINFER_REDUCE_ARGMAX, {1, 3});
  const Floats x = {2, 7, 7, 1, 0, 0};
  CHECK_EQ(reduce<std::int64_t>(attrs, MINIINFER_FLOAT32, {2, 3}, x, {2, 1}), Longs{1, 0});
  attrs.select_last = 1;
  CHECK_EQ(reduce<std::int64_t>(attrs, MINIINFER_FLOAT32, {2, 3}, x, {2, 1}), Longs{2, 0});
  attrs.kind = MINIINFER_REDUCE_ARGMIN;
  CHECK_EQ(reduce<std::int64_t>(attrs, MINIINFER_FLOAT32, {2, 3}, x, {2, 1}), Longs{0, 2});
}

TEST_CASE("float16 sums do not lose small elements on the way") {
  // 2048 + 1 is 2048 in float16, so a float16 accumulator would stay there.
  std::vector<std::uint16_t> x(9, 0x3C00);
  x[0] = 0x6800;  // 2048
  const auto sum =
      reduce<std::uint16_t>(reduction(MINIINFER_REDUCE_SUM, {9}), MINIINFER_FLOAT16, {9}, x, {1});
  CHECK_EQ(sum[0], 0x6804);  // 2056
}
