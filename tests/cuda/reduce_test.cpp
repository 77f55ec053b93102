#include "tests/cuda/emulated.hpp"  // before the kernels

#include "miniinfer/abi/op/reduce.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "miniinfer/sdk/reference/program.hpp"
#include "plugins/cuda/kernels/reduce.cu"
#include "plugins/cuda/kernels/reduce.hpp"
#include "plugins/cuda/kernels/reduce_window.cu"
#include "tests/cpu/random_data.hpp"
#include "tests/cuda/emulated_device.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cuda = miniinfer::cuda;
namespace reference = miniinfer::sdk::reference;

namespace {

miniinfer_reduce_attrs plain(int kind) {
  miniinfer_reduce_attrs attrs{};
  attrs.kind = kind;
  for (std::size_t axis = 0; axis < MINIINFER_MAX_RANK; ++axis) {
    attrs.window[axis] = attrs.stride[axis] = attrs.dilation[axis] = 1;
  }
  return attrs;
}

// Relative error of a sum in float32 of what random_elements gives; the 16-bit types round once.
double tolerance(int dtype) {
  switch (dtype) {
    case MINIINFER_FLOAT16:
      return 0x1p-10;
    case MINIINFER_BFLOAT16:
      return 0x1p-7;
    case MINIINFER_FLOAT64:
      return 1e-13;
    default:
      return 2e-6;
  }
}

void compare(miniinfer_reduce_attrs attrs, int dtype, const Dims& in_dims, const Dims& out_dims,
             Random& random, bool positions, const char* what) {
  const bool is_arg = attrs.kind >= MINIINFER_REDUCE_ARGMAX;
  RegionBuilder builder;
  const auto x = builder.input(dtype, in_dims);
  std::vector<std::uint32_t> outs = {
      builder.output(is_arg ? miniinfer_dtype{MINIINFER_INT64} : dtype, out_dims)};
  if (positions) outs.push_back(builder.output(MINIINFER_INT64, out_dims));
  builder.node(MINIINFER_REDUCE, &attrs, {x}, outs);
  const bool sums = attrs.kind == MINIINFER_REDUCE_SUM || attrs.kind == MINIINFER_REDUCE_MEAN ||
                    attrs.kind == MINIINFER_REDUCE_PROD;
  auto in = random_elements(random, dtype, count_of(in_dims), !sums || pick(random, 0, 3) == 0);
  const Outputs got = run_emulated(cuda::kReduce, builder, {in}, pick(random, 0, 3) == 0 ? 8 : 0);
  INFO(what << " kind " << attrs.kind << " type " << dtype << " in "
            << miniinfer::test::text(in_dims) << ": " << got.reason);
  REQUIRE(got.code == MINIINFER_OK);
  std::vector<std::vector<std::byte>> want;
  std::vector<std::byte*> args = {in.data()};
  for (const auto& out : got.data) want.emplace_back(out.size());
  for (auto& out : want) args.push_back(out.data());
  reference::run_region(builder.region(), args);
  // Sums cancel: what counts is the size of the terms, at most 6.25 each.
  double terms = 1;
  for (std::size_t i = 0; i < in_dims.size(); ++i) terms *= static_cast<double>(attrs.window[i]);
  const double relative = sums ? tolerance(dtype) : 0;
  const double absolute = attrs.kind == MINIINFER_REDUCE_SUM    ? relative * 6.25 * terms
                          : attrs.kind == MINIINFER_REDUCE_MEAN ? relative * 6.25
                                                                : 0;
  CHECK(differences(is_arg ? int{MINIINFER_INT64} : dtype, got.data[0], want[0],
                    attrs.kind == MINIINFER_REDUCE_PROD ? relative * 10 : relative, absolute) == 0);
  if (positions) CHECK(got.data[1] == want[1]);
}

}  // namespace

TEST_CASE("whole axes on the GPU in any choice are reduced as the reference does") {
  Random random(21);
  for (int round = 0; round < 400; ++round) {
    auto attrs = plain(static_cast<int>(pick(random, 0, 4)));
    const int dtype = kAllTypes[pick(random, 0, 12)];
    Dims in;
    Dims out;
    std::int64_t budget = attrs.kind == MINIINFER_REDUCE_PROD ? 24 : 5000;
    const std::int64_t rank = pick(random, 0, 5);
    for (std::int64_t i = 0; i < rank; ++i) {
      const std::int64_t sizes[] = {1, 2, 3, 5, 17, 64, 70, 513, 1100, 3000};
      std::int64_t d = sizes[pick(random, 0, 9)];
      if (d > budget) d = pick(random, 1, 2);
      const bool reduced = pick(random, 0, 1) == 0;
      budget = std::max<std::int64_t>(1, budget / d);
      in.push_back(d);
      out.push_back(reduced ? 1 : d);
      if (reduced) attrs.window[i] = d;
    }
    compare(attrs, dtype, in, out, random, false, "axes");
  }
}

TEST_CASE(
    "windows on the GPU with strides, dilations and padding are combined as the reference does") {
  Random random(22);
  for (int round = 0; round < 400; ++round) {
    auto attrs = plain(static_cast<int>(pick(random, 0, 4)));
    attrs.count_pad = attrs.kind == MINIINFER_REDUCE_MEAN && pick(random, 0, 1) == 0;
    const int dtype = kAllTypes[pick(random, 0, 12)];
    Dims in = {pick(random, 1, 2), pick(random, 1, 3)};
    Dims out = in;
    const std::int64_t spatial = pick(random, 1, 3);
    for (std::int64_t i = 0; i < spatial; ++i) {
      const auto axis = static_cast<std::size_t>(2 + i);
      attrs.window[axis] = pick(random, 1, 3);
      attrs.stride[axis] = pick(random, 1, 3);
      attrs.dilation[axis] = pick(random, 1, 2);
      attrs.pad_begin[axis] = pick(random, 0, 2);
      attrs.pad_end[axis] = pick(random, 0, 2);
      const std::int64_t reach = (attrs.window[axis] - 1) * attrs.dilation[axis] + 1;
      const std::int64_t size = pick(random, reach, i == 0 && spatial == 1 ? 1300 : 14);
      in.push_back(size);
      const std::int64_t padded = size + attrs.pad_begin[axis] + attrs.pad_end[axis];
      // One more where the shape is rounded up.
      out.push_back((padded - reach) / attrs.stride[axis] + 1 + pick(random, 0, 1));
    }
    const bool positions = attrs.kind == MINIINFER_REDUCE_MAX && pick(random, 0, 1) == 0;
    attrs.index_column_major = positions && pick(random, 0, 1) == 0;
    compare(attrs, dtype, in, out, random, positions, "window");
  }
}

TEST_CASE("the position of an extreme is the first of a tie, or the last where that is asked for") {
  Random random(23);
  for (int round = 0; round < 300; ++round) {
    auto attrs = plain(pick(random, 0, 1) == 0 ? MINIINFER_REDUCE_ARGMAX : MINIINFER_REDUCE_ARGMIN);
    attrs.select_last = pick(random, 0, 1) == 0;
    const int dtype = kAllTypes[pick(random, 0, 12)];
    Dims in;
    for (std::int64_t rank = pick(random, 1, 4); rank > 0; --rank) in.push_back(pick(random, 1, 9));
    const auto axis =
        static_cast<std::size_t>(pick(random, 0, static_cast<std::int64_t>(in.size()) - 1));
    in[axis] = pick(random, 1, 200);
    attrs.window[axis] = in[axis];
    Dims out = in;
    out[axis] = 1;
    compare(attrs, dtype, in, out, random, false, "arg");
  }
}

TEST_CASE("a window without a position gives the identity") {
  Random random(24);
  for (const int kind : {0, 1, 2, 3, 4}) {
    for (const int dtype :
         {MINIINFER_FLOAT32, MINIINFER_FLOAT16, MINIINFER_INT8, MINIINFER_UINT32}) {
      auto attrs = plain(kind);
      attrs.window[1] = 0;
      compare(attrs, dtype, {3, 0}, {3, 1}, random, false, "empty");
      attrs.window[1] = 1;
      attrs.window[0] = 0;
      compare(attrs, dtype, {0, 3}, {1, 3}, random, false, "empty");
    }
  }
}

TEST_CASE("outputs that are few share out their elements and put them together again") {
  Random random(26);
  for (int round = 0; round < 24; ++round) {
    auto attrs = plain(static_cast<int>(pick(random, 0, 6)));
    if (attrs.kind == MINIINFER_REDUCE_PROD) attrs.kind = MINIINFER_REDUCE_MAX;
    attrs.select_last = pick(random, 0, 1) == 0;
    const int dtype = kAllTypes[pick(random, 0, 12)];
    const std::int64_t length = pick(random, 2000, 9000);
    const bool rows = pick(random, 0, 1) == 0;
    const std::int64_t others = rows ? pick(random, 1, 3) : pick(random, 16, 40);
    attrs.window[rows ? 1 : 0] = length;
    const bool positions = attrs.kind == MINIINFER_REDUCE_MAX && pick(random, 0, 1) == 0;
    compare(attrs, dtype, rows ? Dims{others, length} : Dims{length, others},
            rows ? Dims{others, 1} : Dims{1, others}, random, positions, "parts");
  }
}

TEST_CASE("a float32 sum of millions of elements keeps its digits") {
  const std::int64_t n = 1 << 21;
  for (const bool inner : {true, false}) {
    std::vector<float> in(static_cast<std::size_t>(n) * 2, 0.1f);
    auto attrs = plain(MINIINFER_REDUCE_SUM);
    RegionBuilder builder;
    const auto x = builder.input(MINIINFER_FLOAT32, inner ? Dims{2, n} : Dims{n, 2});
    const auto y = builder.output(MINIINFER_FLOAT32, inner ? Dims{2, 1} : Dims{1, 2});
    attrs.window[inner ? 1 : 0] = n;
    builder.node(MINIINFER_REDUCE, &attrs, {x}, {y});
    const Outputs out = run_emulated(cuda::kReduce, builder, {raw_bytes(in)});
    REQUIRE(out.code == MINIINFER_OK);
    const double want = static_cast<double>(0.1f) * static_cast<double>(n);
    for (const float sum : out.as<float>()) CHECK(std::fabs(sum - want) / want < 1e-6);
  }
}
