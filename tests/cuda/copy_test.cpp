#include "tests/cuda/emulated.hpp"  // before the kernel

#include "miniinfer/abi/op/copy.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "miniinfer/sdk/reference/program.hpp"
#include "plugins/cuda/kernels/copy.cu"
#include "plugins/cuda/kernels/copy.hpp"
#include "plugins/cuda/kernels/copy_plan.hpp"
#include "plugins/cuda/kernels/fill_launch.hpp"
#include "tests/cpu/random_data.hpp"
#include "tests/cuda/emulated_device.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cuda = miniinfer::cuda;
namespace reference = miniinfer::sdk::reference;

cudaError_t cuda::launch_fill(void* dst, std::uint64_t bytes, std::uint64_t pattern, cudaStream_t) {
  auto* to = static_cast<unsigned char*>(dst);
  for (std::uint64_t i = 0; i < bytes; ++i)
    to[i] = static_cast<unsigned char>(pattern >> i % 8 * 8);
  return cudaSuccess;
}

namespace {

miniinfer_copy_region region_of(const Dims& dims, const Dims& src, const Dims& dst,
                                std::int64_t src_offset = 0, std::int64_t dst_offset = 0,
                                std::uint32_t input = 0) {
  miniinfer_copy_region region{};
  region.head = MINIINFER_HEAD(miniinfer_copy_region);
  region.input = input;
  region.rank = static_cast<std::int32_t>(dims.size());
  region.src_offset = src_offset;
  region.dst_offset = dst_offset;
  std::copy(dims.begin(), dims.end(), region.dims);
  std::copy(src.begin(), src.end(), region.src_strides);
  std::copy(dst.begin(), dst.end(), region.dst_strides);
  return region;
}

Dims row_major(const Dims& dims) {
  Dims strides(dims.size());
  std::int64_t step = 1;
  for (std::size_t axis = dims.size(); axis-- > 0; step *= dims[axis]) strides[axis] = step;
  return strides;
}

// What the kernel and the reference make of the same regions.
void compare(miniinfer_dtype dtype, std::vector<std::vector<std::byte>> in, std::int64_t out_count,
             const std::vector<miniinfer_copy_region>& regions, std::size_t shift,
             bool fill = false, std::uint64_t fill_bits = 0) {
  std::vector<const miniinfer_copy_region*> pointers;
  for (const auto& r : regions) pointers.push_back(&r);
  miniinfer_copy_attrs attrs{};
  attrs.region_count = static_cast<std::uint32_t>(regions.size());
  attrs.fill = fill;
  attrs.fill_bits = fill_bits;
  attrs.regions = pointers.data();
  RegionBuilder builder;
  std::vector<std::uint32_t> inputs;
  for (const auto& data : in) {
    inputs.push_back(builder.input(
        dtype, {static_cast<std::int64_t>(data.size() / miniinfer::sdk::element_bytes(dtype))}));
  }
  const auto y = builder.output(dtype, {out_count});
  builder.node(MINIINFER_COPY, &attrs, inputs, {y});
  const Outputs got = run_emulated(cuda::kCopy, builder, in, shift);
  INFO("type " << dtype << " shift " << shift << ": " << got.reason);
  REQUIRE(got.code == MINIINFER_OK);
  std::vector<std::byte> want(got.data[0].size(), kGuard);
  std::vector<std::byte*> args;
  for (auto& data : in) args.push_back(data.data());
  args.push_back(want.data());
  reference::run_region(builder.region(), args);
  CHECK(got.data[0] == want);
}

std::vector<std::byte> random_bytes(Random& random, std::int64_t count) {
  std::vector<std::byte> data(static_cast<std::size_t>(count));
  for (auto& b : data) b = static_cast<std::byte>(random());
  return data;
}

constexpr int kTypes[] = {MINIINFER_INT8, MINIINFER_FLOAT16, MINIINFER_FLOAT32, MINIINFER_INT64,
                          MINIINFER_COMPLEX128};

}  // namespace

TEST_CASE("any permutation of any shape, element size and alignment is what the reference makes") {
  Random random(1);
  for (int round = 0; round < 300; ++round) {
    const int dtype = kTypes[pick(random, 0, 4)];
    const std::int64_t rank = pick(random, 0, 5);
    Dims dims;
    std::int64_t budget = 6000;
    for (std::int64_t i = 0; i < rank; ++i) {
      const std::int64_t sizes[] = {1, 2, 3, 4, 7, 8, 31, 32, 33, 65, 100};
      std::int64_t d = sizes[pick(random, 0, 10)];
      if (d > budget) d = 1;
      budget /= d;
      dims.push_back(d);
    }
    std::vector<std::size_t> order(dims.size());
    std::iota(order.begin(), order.end(), 0u);
    std::shuffle(order.begin(), order.end(), random);
    const Dims src = row_major(dims);
    Dims permuted;
    Dims permuted_src;
    for (const std::size_t axis : order) {
      permuted.push_back(dims[axis]);
      permuted_src.push_back(src[axis]);
    }
    std::int64_t offset = 0;
    for (std::size_t i = 0; i < dims.size(); ++i) {  // some axes backwards
      if (pick(random, 0, 4) != 0) continue;
      offset += (permuted[i] - 1) * permuted_src[i];
      permuted_src[i] = -permuted_src[i];
    }
    const auto count = static_cast<std::int64_t>(count_of(dims));
    const auto bytes = static_cast<std::int64_t>(miniinfer::sdk::element_bytes(dtype));
    compare(
        dtype, {random_bytes(random, count * bytes)}, count,
        {region_of(permuted, permuted_src, row_major(permuted), offset)},
        static_cast<std::size_t>(pick(random, 0, 3) == 0 ? std::max<std::int64_t>(bytes, 1) : 0));
  }
}

TEST_CASE("many inputs are concatenated, whatever they have in common") {
  Random random(2);
  for (const int dtype : {MINIINFER_UINT8, MINIINFER_INT16, MINIINFER_FLOAT32, MINIINFER_FLOAT64}) {
    const auto bytes = static_cast<std::int64_t>(miniinfer::sdk::element_bytes(dtype));
    for (const std::size_t shift : {std::size_t{0}, static_cast<std::size_t>(bytes)}) {
      std::vector<std::vector<std::byte>> inputs;
      std::vector<miniinfer_copy_region> regions;
      std::int64_t at = 0;
      std::vector<std::int64_t> widths;
      for (int i = 0; i < 37; ++i) widths.push_back(pick(random, 0, 40));
      const std::int64_t width = std::accumulate(widths.begin(), widths.end(), std::int64_t{0});
      for (std::size_t i = 0; i < widths.size(); ++i) {
        inputs.push_back(random_bytes(random, 5 * widths[i] * bytes));
        regions.push_back(region_of({5, widths[i]}, {widths[i], 1}, {width, 1}, 0, at,
                                    static_cast<std::uint32_t>(i)));
        at += widths[i];
      }
      compare(dtype, inputs, 5 * width, regions, shift);
    }
  }
}

TEST_CASE("what no region writes becomes the fill, and sources may be read many times") {
  Random random(3);
  for (const int dtype : {MINIINFER_UINT8, MINIINFER_INT16, MINIINFER_FLOAT32, MINIINFER_FLOAT64}) {
    // A padded 10 x 7, and a row that repeats one element.
    compare(dtype, {random_elements(random, dtype, 70)}, 20 * 13,
            {region_of({10, 7}, {7, 1}, {13, 1}, 0, 2 * 13 + 3),
             region_of({13}, {0}, {1}, 33, 19 * 13)},
            0, true, 0x40490fdb12345678ull);
  }
}

TEST_CASE("runs are moved in the largest units, and swapped axes in tiles") {
  const auto runs = cuda::plan_copy(region_of({4, 6, 64}, {64, 256, 1}, {384, 64, 1}), 2);
  REQUIRE(runs.size() == 1);
  CHECK(runs[0].unit == 16);
  CHECK(runs[0].move.units == 4 * 6 * 8);
  const auto odd = cuda::plan_copy(region_of({4, 6}, {8, 1}, {6, 1}, 0, 2), 2);
  REQUIRE(odd.size() == 1);
  CHECK(odd[0].unit == 4);
  const auto turned = cuda::plan_copy(region_of({2, 56, 64}, {3584, 1, 56}, {3584, 64, 1}), 4);
  REQUIRE(turned.size() == 1);
  CHECK(turned[0].transposed);
  CHECK(turned[0].turned.rows == 64);
  CHECK(turned[0].turned.columns == 56);
  CHECK(turned[0].move.units == 2);
}

TEST_CASE("regions beyond 31 bits are cut into parts that cover them") {
  const std::int64_t large = std::int64_t{5} << 30;
  const auto parts = cuda::plan_copy(region_of({large, 2}, {2, 1}, {4, 1}), 1);
  std::int64_t units = 0;
  for (const auto& part : parts) {
    CHECK(part.dst % part.unit == 0);
    CHECK(part.dst == 2 * part.src);
    CHECK(part.src == units);
    units += std::int64_t{part.move.units} * part.unit;
  }
  CHECK(units == 2 * large);
}

TEST_CASE("regions that reach past an operand and elements that share a byte are refused") {
  for (const bool shared : {false, true}) {
    const auto region = region_of({3}, {2}, {1});
    const miniinfer_copy_region* pointers[] = {&region};
    miniinfer_copy_attrs attrs{};
    attrs.region_count = 1;
    attrs.regions = pointers;
    RegionBuilder builder;
    const miniinfer_dtype dtype = shared ? MINIINFER_INT4 : MINIINFER_INT8;
    builder.node(MINIINFER_COPY, &attrs, {builder.input(dtype, {4})}, {builder.output(dtype, {3})});
    const Outputs got = run_emulated(cuda::kCopy, builder, {std::vector<std::byte>(4)});
    CHECK(got.code == MINIINFER_UNSUPPORTED);
    CHECK(got.reason == (shared ? "copy: elements of int4 share a byte"
                                : "copy: region 0 reaches past its operand"));
  }
}
