#include "miniinfer/sdk/reference/gather.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "miniinfer/sdk/reference/program.hpp"
#include "tests/sdk/region_builder.hpp"

using namespace miniinfer::test;  // NOLINT
namespace reference = miniinfer::sdk::reference;

namespace {

using Dims = std::vector<std::int64_t>;
using Ints = std::vector<std::int32_t>;
using Longs = std::vector<std::int64_t>;

Ints gather(miniinfer_gather_attrs attrs, const Dims& data_dims, Ints data, const Dims& index_dims,
            Longs indices, const Dims& out_dims, miniinfer_fault* fault = nullptr) {
  RegionBuilder builder;
  const std::uint32_t x = builder.input(MINIINFER_INT32, data_dims);
  const std::uint32_t i = builder.input(MINIINFER_INT64, index_dims);
  const std::uint32_t y = builder.output(MINIINFER_INT32, out_dims);
  builder.node(MINIINFER_GATHER, &attrs, {x, i}, {y});
  Ints out(static_cast<std::size_t>(miniinfer::sdk::element_count(out_dims)), -1);
  reference::run_region(builder.region(), std::vector{bytes(data), bytes(indices), bytes(out)},
                        fault);
  return out;
}

miniinfer_gather_attrs mode(std::int32_t mode, std::int32_t axis, std::int32_t batch_dims = 0) {
  return {{}, mode, axis, batch_dims, 0};
}

}  // namespace

TEST_CASE("AXIS puts the indices' shape in the place of the axis") {
  CHECK_EQ(gather(mode(MINIINFER_GATHER_AXIS, 1), {2, 3}, {1, 2, 3, 4, 5, 6}, {2}, {2, 0}, {2, 2}),
           Ints{3, 1, 6, 4});
  CHECK_EQ(gather(mode(MINIINFER_GATHER_AXIS, 0), {3}, {10, 20, 30}, {}, {1}, {}), Ints{20});
}

TEST_CASE("a negative index counts from the end") {
  CHECK_EQ(gather(mode(MINIINFER_GATHER_AXIS, 0), {3}, {10, 20, 30}, {2}, {-1, -3}, {2}),
           Ints{30, 10});
}

TEST_CASE("ELEMENTS takes each index along the axis of its own place") {
  CHECK_EQ(gather(mode(MINIINFER_GATHER_ELEMENTS, 1), {2, 2}, {1, 2, 3, 4}, {2, 2}, {0, 0, 1, 0},
                  {2, 2}),
           Ints{1, 1, 4, 3});
}

TEST_CASE("ND takes positions, after the batch axes") {
  CHECK_EQ(gather(mode(MINIINFER_GATHER_ND, 0), {2, 2}, {0, 1, 2, 3}, {2, 2}, {0, 0, 1, 1}, {2}),
           Ints{0, 3});
  CHECK_EQ(gather(mode(MINIINFER_GATHER_ND, 0), {2, 2}, {0, 1, 2, 3}, {2, 1}, {1, 0}, {2, 2}),
           Ints{2, 3, 0, 1});
  CHECK_EQ(gather(mode(MINIINFER_GATHER_ND, 0, 1), {2, 2, 2}, {0, 1, 2, 3, 4, 5, 6, 7}, {2, 1},
                  {1, 0}, {2, 2}),
           Ints{2, 3, 4, 5});
}

TEST_CASE("an index out of range is a fault and leaves the element 0") {
  miniinfer_fault fault{};
  CHECK_EQ(gather(mode(MINIINFER_GATHER_AXIS, 0), {3}, {10, 20, 30}, {3}, {3, -4, 1}, {3}, &fault),
           Ints{0, 0, 20});
  CHECK_EQ(fault.code, MINIINFER_FAULT_INDEX);
  CHECK_EQ(fault.detail[0], 3);
  CHECK_EQ(fault.detail[1], 3);
}

TEST_CASE("an index into an empty axis is a fault too") {
  miniinfer_fault fault{};
  CHECK_EQ(gather(mode(MINIINFER_GATHER_AXIS, 0), {0}, {}, {1}, {0}, {1}, &fault), Ints{0});
  CHECK_EQ(fault.code, MINIINFER_FAULT_INDEX);
}

TEST_CASE("an output of another shape than the inputs give is refused") {
  CHECK_THROWS_AS(gather(mode(MINIINFER_GATHER_AXIS, 0), {3}, {1, 2, 3}, {2}, {0, 1}, {3}),
                  miniinfer::sdk::Error);
  CHECK_THROWS_AS(gather(mode(MINIINFER_GATHER_ELEMENTS, 0), {3}, {1, 2, 3}, {2}, {0, 1}, {3}),
                  miniinfer::sdk::Error);
  CHECK_THROWS_AS(gather(mode(MINIINFER_GATHER_ND, 0), {3}, {1, 2, 3}, {2, 1}, {0, 1}, {1}),
                  miniinfer::sdk::Error);
}
