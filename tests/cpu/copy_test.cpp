#include "miniinfer/abi/op/copy.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "miniinfer/sdk/reference/program.hpp"
#include "tests/cpu/random_data.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cpu = miniinfer::cpu;
namespace reference = miniinfer::sdk::reference;

namespace {

miniinfer_copy_region region_of(const Dims& dims, const Dims& src, const Dims& dst,
                                std::int64_t src_offset = 0, std::int64_t dst_offset = 0) {
  miniinfer_copy_region region{};
  region.head = MINIINFER_HEAD(miniinfer_copy_region);
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

Outputs copy(miniinfer_dtype dtype, std::int64_t in_count, std::int64_t out_count,
             std::vector<std::byte>& in, std::vector<miniinfer_copy_region> regions,
             bool fill = false, std::uint64_t fill_bits = 0,
             std::vector<std::byte>* want = nullptr) {
  std::vector<const miniinfer_copy_region*> pointers;
  for (const auto& r : regions) pointers.push_back(&r);
  miniinfer_copy_attrs attrs{};
  attrs.region_count = static_cast<std::uint32_t>(regions.size());
  attrs.fill = fill;
  attrs.fill_bits = fill_bits;
  attrs.regions = pointers.data();
  RegionBuilder builder;
  const auto x = builder.input(dtype, {in_count});
  const auto y = builder.output(dtype, {out_count});
  builder.node(MINIINFER_COPY, &attrs, {x}, {y});
  Outputs out = run_family(cpu::kCopy, builder, {in.data()});
  if (want != nullptr && out.code == MINIINFER_OK) {
    want->assign(out.data[0].size(), kGuard);
    std::vector<std::byte*> args = {in.data(), want->data()};
    reference::run_region(builder.region(), args);
  }
  return out;
}

}  // namespace

TEST_CASE("any permutation of any shape and element size is what the reference makes") {
  Random random(1);
  const int types[] = {MINIINFER_INT8, MINIINFER_FLOAT16, MINIINFER_FLOAT32, MINIINFER_INT64,
                       MINIINFER_COMPLEX128};
  for (int round = 0; round < 300; ++round) {
    const int dtype = types[pick(random, 0, 4)];
    const std::int64_t rank = pick(random, 1, 5);
    Dims dims;
    std::int64_t budget = 20000;
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
    std::vector<std::byte> in(static_cast<std::size_t>(count) *
                              miniinfer::sdk::element_bytes(dtype));
    for (auto& b : in) b = static_cast<std::byte>(random());
    std::vector<std::byte> want;
    const Outputs out =
        copy(dtype, count, count, in,
             {region_of(permuted, permuted_src, row_major(permuted), offset)}, false, 0, &want);
    INFO("round " << round << " type " << dtype << ": " << out.reason);
    REQUIRE(out.code == MINIINFER_OK);
    CHECK(out.data[0] == want);
  }
}

TEST_CASE("what no region writes becomes the fill, and sources may be read many times") {
  Random random(2);
  for (const int dtype : {MINIINFER_UINT8, MINIINFER_INT16, MINIINFER_FLOAT32, MINIINFER_FLOAT64}) {
    auto in = random_elements(random, dtype, 70);
    std::vector<std::byte> want;
    // A padded 10 x 7, and a row that repeats one element.
    const Outputs out = copy(dtype, 70, 20 * 13, in,
                             {region_of({10, 7}, {7, 1}, {13, 1}, 0, 2 * 13 + 3),
                              region_of({13}, {0}, {1}, 33, 19 * 13)},
                             true, 0x40490fdb12345678ull, &want);
    REQUIRE(out.code == MINIINFER_OK);
    CHECK(out.data[0] == want);
  }
}

TEST_CASE("large copies are cut into pieces and lose nothing") {
  std::vector<std::byte> in(4u << 20);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<std::byte>(i * 2654435761u >> 13);
  const Outputs out = copy(MINIINFER_UINT8, 4 << 20, 4 << 20, in, {region_of({4 << 20}, {1}, {1})});
  REQUIRE(out.code == MINIINFER_OK);
  CHECK(out.data[0] == in);
}

TEST_CASE("packed elements are copied by whole bytes or refused") {
  std::vector<std::byte> in(8);
  for (std::size_t i = 0; i < 8; ++i) in[i] = static_cast<std::byte>(0x10 * i + 9 - i);
  // [4, 4] elements of 4 bits, rows in reverse order, into a filled [6, 4].
  const Outputs out =
      copy(MINIINFER_INT4, 16, 24, in, {region_of({4, 4}, {-4, 1}, {4, 1}, 12, 4)}, true, 0x7);
  REQUIRE(out.code == MINIINFER_OK);
  std::vector<std::byte> want(12, std::byte{0x77});
  for (std::size_t row = 0; row < 4; ++row) {
    want[2 + row * 2] = in[(3 - row) * 2];
    want[3 + row * 2] = in[(3 - row) * 2 + 1];
  }
  CHECK(out.data[0] == want);
  const Outputs refused = copy(MINIINFER_INT4, 16, 16, in, {region_of({4, 4}, {1, 4}, {4, 1})});
  CHECK(refused.code == MINIINFER_UNSUPPORTED);
  CHECK(refused.reason == "copy: region 0 cuts a byte of element type 22");
}

TEST_CASE("a region that reaches past an operand is refused") {
  std::vector<std::byte> in(40);
  CHECK(copy(MINIINFER_FLOAT32, 10, 10, in, {region_of({5}, {2}, {1}, 2)}).code ==
        MINIINFER_UNSUPPORTED);
  CHECK(copy(MINIINFER_FLOAT32, 10, 10, in, {region_of({5}, {1}, {-1}, 0, 3)}).code ==
        MINIINFER_UNSUPPORTED);
}
