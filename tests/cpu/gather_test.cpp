#include "miniinfer/abi/op/gather.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "tests/cpu/random_data.hpp"
#include "tests/cpu/thread_host.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cpu = miniinfer::cpu;

namespace {

std::vector<std::int64_t> coordinates(std::int64_t i, const Dims& dims) {
  std::vector<std::int64_t> at(dims.size());
  for (std::size_t axis = dims.size(); axis-- > 0; i /= dims[axis]) at[axis] = i % dims[axis];
  return at;
}

std::int64_t flat(const std::vector<std::int64_t>& at, const Dims& dims) {
  std::int64_t i = 0;
  for (std::size_t axis = 0; axis < dims.size(); ++axis) i = i * dims[axis] + at[axis];
  return i;
}

// Where output element i of a gather reads, by coordinates alone. Indices are good.
std::int64_t source(int mode, std::size_t axis, std::size_t batches, std::int64_t i,
                    const Dims& data, const Dims& index_dims, const Dims& out,
                    const std::vector<std::int64_t>& indices) {
  const auto at = coordinates(i, out);
  const auto wrap = [](std::int64_t v, std::int64_t n) { return v < 0 ? v + n : v; };
  std::vector<std::int64_t> from;
  if (mode == MINIINFER_GATHER_AXIS) {
    const auto middle = at.begin() + static_cast<std::ptrdiff_t>(axis);
    const auto end = middle + static_cast<std::ptrdiff_t>(index_dims.size());
    from.assign(at.begin(), middle);
    const auto index = indices[static_cast<std::size_t>(flat({middle, end}, index_dims))];
    from.push_back(wrap(index, data[axis]));
    from.insert(from.end(), end, at.end());
  } else if (mode == MINIINFER_GATHER_ELEMENTS) {
    from = at;
    from[axis] = wrap(indices[static_cast<std::size_t>(i)], data[axis]);
  } else {
    const std::size_t lead = index_dims.size() - 1;
    std::vector<std::int64_t> where(at.begin(), at.begin() + static_cast<std::ptrdiff_t>(lead));
    from.assign(at.begin(), at.begin() + static_cast<std::ptrdiff_t>(batches));
    where.push_back(0);
    for (std::int64_t d = 0; d < index_dims.back(); ++d) {
      where.back() = d;
      const auto index = indices[static_cast<std::size_t>(flat(where, index_dims))];
      from.push_back(wrap(index, data[batches + static_cast<std::size_t>(d)]));
    }
    from.insert(from.end(), at.begin() + static_cast<std::ptrdiff_t>(lead), at.end());
  }
  return flat(from, data);
}

struct Case {
  int mode;
  int axis;
  int batches;
  Dims data, indices, out;
};

const Case kCases[] = {
    {MINIINFER_GATHER_AXIS, 0, 0, {7, 3}, {4}, {4, 3}},
    {MINIINFER_GATHER_AXIS, 1, 0, {3, 9, 5}, {2, 6}, {3, 2, 6, 5}},
    {MINIINFER_GATHER_AXIS, 2, 0, {2, 3, 8}, {}, {2, 3}},
    {MINIINFER_GATHER_AXIS, 0, 0, {500, 64}, {300}, {300, 64}},
    {MINIINFER_GATHER_ELEMENTS, 1, 0, {4, 5, 3}, {3, 7, 2}, {3, 7, 2}},
    {MINIINFER_GATHER_ELEMENTS, 0, 0, {6}, {11}, {11}},
    {MINIINFER_GATHER_ND, 0, 0, {4, 5, 6}, {3, 2}, {3, 6}},
    {MINIINFER_GATHER_ND, 0, 1, {4, 5, 6}, {4, 2, 1}, {4, 2, 6}},
    {MINIINFER_GATHER_ND, 0, 2, {2, 3, 5, 2}, {2, 3, 2}, {2, 3}},
};

std::vector<std::int64_t> good_indices(Random& random, const Case& c) {
  std::vector<std::int64_t> indices(count_of(c.indices));
  for (std::size_t i = 0; i < indices.size(); ++i) {
    std::size_t axis = static_cast<std::size_t>(c.axis);
    if (c.mode == MINIINFER_GATHER_ND) {
      axis = static_cast<std::size_t>(c.batches) + i % static_cast<std::size_t>(c.indices.back());
    }
    indices[i] = pick(random, -c.data[axis], c.data[axis] - 1);
  }
  return indices;
}

}  // namespace

TEST_CASE("Gather picks what its indices name, in each mode and for each size of element") {
  Random random(7);
  for (std::uint32_t threads : {1u, 3u}) {
    const ThreadHost host(threads);
    for (const Case& c : kCases) {
      for (int dtype : kAllTypes) {
        for (bool wide : {false, true}) {
          CAPTURE(c.mode);
          CAPTURE(dtype);
          CAPTURE(c.out.size());
          auto indices = good_indices(random, c);
          std::vector<std::int32_t> narrow(indices.begin(), indices.end());
          auto data = random_elements(random, dtype, count_of(c.data));
          RegionBuilder builder;
          miniinfer_gather_attrs attrs{};
          attrs.mode = c.mode;
          attrs.axis = c.axis;
          attrs.batch_dims = c.batches;
          const auto d = builder.input(dtype, c.data);
          const auto i = builder.input(wide ? MINIINFER_INT64 : MINIINFER_INT32, c.indices);
          builder.node(MINIINFER_GATHER, &attrs, {d, i}, {builder.output(dtype, c.out)});
          const Outputs got = run_family(cpu::kGather, builder,
                                         {data.data(), wide ? bytes(indices) : bytes(narrow)});
          REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
          CHECK(got.fault.code == MINIINFER_FAULT_NONE);
          const std::size_t size = cpu::element_bytes(dtype);
          std::size_t bad = 0;
          for (std::size_t o = 0; o < count_of(c.out); ++o) {
            const std::int64_t from = source(
                c.mode, static_cast<std::size_t>(c.axis), static_cast<std::size_t>(c.batches),
                static_cast<std::int64_t>(o), c.data, c.indices, c.out, indices);
            bad += std::memcmp(got.data[0].data() + o * size,
                               data.data() + static_cast<std::size_t>(from) * size, size) != 0;
          }
          CHECK(bad == 0);
        }
      }
    }
  }
}

TEST_CASE("Gather reports an index out of range and leaves zeros there") {
  RegionBuilder builder;
  miniinfer_gather_attrs attrs{};
  const auto d = builder.input(MINIINFER_FLOAT32, {3, 2});
  const auto i = builder.input(MINIINFER_INT64, {3});
  builder.node(MINIINFER_GATHER, &attrs, {d, i}, {builder.output(MINIINFER_FLOAT32, {3, 2})});
  std::vector<float> data = {1, 2, 3, 4, 5, 6};
  std::vector<std::int64_t> indices = {2, -4, 0};
  const Outputs got = run_family(cpu::kGather, builder, {bytes(data), bytes(indices)});
  CHECK(got.as<float>() == std::vector<float>{5, 6, 0, 0, 1, 2});
  CHECK(got.fault.code == MINIINFER_FAULT_INDEX);
  CHECK(got.fault.step == 7);
  CHECK(got.fault.detail[0] == -4);
  CHECK(got.fault.detail[1] == 3);
}

TEST_CASE("Scatter combines where gather would have read") {
  Random random(8);
  const ThreadHost host(2);
  for (const Case& c : kCases) {
    if (c.mode == MINIINFER_GATHER_AXIS || c.batches != 0) continue;
    for (int how = MINIINFER_SCATTER_SET; how <= MINIINFER_SCATTER_MIN; ++how) {
      for (int dtype : {MINIINFER_FLOAT32, MINIINFER_INT32, MINIINFER_UINT8}) {
        CAPTURE(c.mode);
        CAPTURE(how);
        CAPTURE(dtype);
        auto indices = good_indices(random, c);
        auto data = random_elements(random, dtype, count_of(c.data), false);
        auto updates = random_elements(random, dtype, count_of(c.out), false);
        RegionBuilder builder;
        miniinfer_scatter_attrs attrs{};
        attrs.mode = c.mode;
        attrs.axis = c.axis;
        attrs.combine = how;
        const auto d = builder.input(dtype, c.data);
        const auto i = builder.input(MINIINFER_INT64, c.indices);
        const auto u = builder.input(dtype, c.out);
        builder.node(MINIINFER_SCATTER, &attrs, {d, i, u}, {builder.output(dtype, c.data)});
        const Outputs got =
            run_family(cpu::kScatter, builder, {data.data(), bytes(indices), updates.data()});
        REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
        std::vector<std::byte> want = data;
        miniinfer::sdk::reference::with_type(dtype, [&](auto type) {
          using S = typename decltype(type)::Stored;
          for (std::size_t o = 0; o < count_of(c.out); ++o) {
            const auto at = static_cast<std::size_t>(
                source(c.mode, static_cast<std::size_t>(c.axis), 0, static_cast<std::int64_t>(o),
                       c.data, c.indices, c.out, indices));
            S a, b;
            std::memcpy(&a, want.data() + at * sizeof(S), sizeof(S));
            std::memcpy(&b, updates.data() + o * sizeof(S), sizeof(S));
            if constexpr (std::is_arithmetic_v<S>) {
              if (how == MINIINFER_SCATTER_SET) a = b;
              if (how == MINIINFER_SCATTER_ADD) a = static_cast<S>(a + b);
              if (how == MINIINFER_SCATTER_MUL) {
                a = std::is_integral_v<S> ? static_cast<S>(static_cast<std::uint32_t>(a) *
                                                           static_cast<std::uint32_t>(b))
                                          : static_cast<S>(a * b);
              }
              if (how == MINIINFER_SCATTER_MAX) a = std::max(a, b);
              if (how == MINIINFER_SCATTER_MIN) a = std::min(a, b);
            }
            std::memcpy(want.data() + at * sizeof(S), &a, sizeof(S));
          }
        });
        CHECK(differences(dtype, got.data[0], want, 0) == 0);
      }
    }
  }
}
