#include "miniinfer/sdk/reference/copy.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "miniinfer/sdk/reference/program.hpp"
#include "tests/sdk/region_builder.hpp"

using namespace miniinfer::test;  // NOLINT
namespace reference = miniinfer::sdk::reference;

namespace {

using Ints = std::vector<std::int32_t>;

miniinfer_copy_region part(std::uint32_t input, std::int64_t src, std::int64_t dst,
                           std::vector<std::int64_t> dims, std::vector<std::int64_t> src_strides,
                           std::vector<std::int64_t> dst_strides) {
  miniinfer_copy_region region{};
  region.head = MINIINFER_HEAD(miniinfer_copy_region);
  region.input = input;
  region.rank = static_cast<std::int32_t>(dims.size());
  region.src_offset = src;
  region.dst_offset = dst;
  std::copy(dims.begin(), dims.end(), region.dims);
  std::copy(src_strides.begin(), src_strides.end(), region.src_strides);
  std::copy(dst_strides.begin(), dst_strides.end(), region.dst_strides);
  return region;
}

Ints copy(std::vector<Ints> inputs, std::int64_t out_count,
          const std::vector<miniinfer_copy_region>& parts, const std::uint64_t* fill = nullptr) {
  RegionBuilder builder;
  std::vector<std::uint32_t> in;
  std::vector<std::byte*> args;
  for (Ints& input : inputs) {
    in.push_back(builder.input(MINIINFER_INT32, {static_cast<std::int64_t>(input.size())}));
    args.push_back(bytes(input));
  }
  const std::uint32_t y = builder.output(MINIINFER_INT32, {out_count});
  std::vector<const miniinfer_copy_region*> pointers;
  for (const auto& region : parts) pointers.push_back(&region);
  miniinfer_copy_attrs attrs{};
  attrs.region_count = static_cast<std::uint32_t>(parts.size());
  attrs.regions = pointers.data();
  if (fill != nullptr) {
    attrs.fill = 1;
    attrs.fill_bits = *fill;
  }
  builder.node(MINIINFER_COPY, &attrs, in, {y});
  Ints out(static_cast<std::size_t>(out_count), -1);
  args.push_back(bytes(out));
  reference::run_region(builder.region(), args);
  return out;
}

}  // namespace

TEST_CASE("a transpose is one region") {
  CHECK_EQ(copy({{1, 2, 3, 4, 5, 6}}, 6, {part(0, 0, 0, {3, 2}, {1, 3}, {2, 1})}),
           Ints{1, 4, 2, 5, 3, 6});
}

TEST_CASE("a concat is a region for each input") {
  CHECK_EQ(copy({{1, 2}, {3}}, 3, {part(0, 0, 0, {2}, {1}, {1}), part(1, 0, 2, {1}, {1}, {1})}),
           Ints{1, 2, 3});
}

TEST_CASE("a reversal has a negative stride and a broadcast the stride 0") {
  CHECK_EQ(copy({{1, 2, 3}}, 3, {part(0, 2, 0, {3}, {-1}, {1})}), Ints{3, 2, 1});
  CHECK_EQ(copy({{7}}, 3, {part(0, 0, 0, {3}, {0}, {1})}), Ints{7, 7, 7});
}

TEST_CASE("elements that no region writes are filled") {
  const std::uint64_t nine = 9;
  CHECK_EQ(copy({{1, 2}}, 4, {part(0, 0, 1, {2}, {1}, {1})}, &nine), Ints{9, 1, 2, 9});
}

TEST_CASE("a region of rank 0 is one element and one with an empty axis none") {
  CHECK_EQ(copy({{5, 6}}, 1, {part(0, 1, 0, {}, {}, {})}), Ints{6});
  CHECK_EQ(copy({{5, 6}}, 1, {part(0, 0, 0, {0}, {1}, {1})}), Ints{-1});
}

TEST_CASE("a region that reaches past its operand is refused") {
  CHECK_THROWS_AS(copy({{1, 2}}, 3, {part(0, 0, 0, {3}, {1}, {1})}), miniinfer::sdk::Error);
  CHECK_THROWS_AS(copy({{1, 2}}, 2, {part(0, 0, 0, {2}, {-1}, {1})}), miniinfer::sdk::Error);
  CHECK_THROWS_AS(copy({{1, 2}}, 2, {part(1, 0, 0, {2}, {1}, {1})}), miniinfer::sdk::Error);
}
