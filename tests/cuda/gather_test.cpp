#include "tests/cuda/emulated.hpp"  // before the kernels

#include <doctest/doctest.h>

#include "miniinfer/abi/op/gather.h"
#include "miniinfer/sdk/reference/gather.hpp"
#include "plugins/cuda/kernels/gather.cu"
#include "plugins/cuda/kernels/gather.hpp"
#include "plugins/cuda/kernels/scatter.cu"
#include "plugins/cuda/kernels/scatter.hpp"
#include "tests/cpu/random_data.hpp"
#include "tests/cuda/emulated_device.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cpu = miniinfer::cpu;
namespace cuda = miniinfer::cuda;

namespace {

struct Case {
  int mode, axis, batches;
  Dims data, indices, out;
};

const Case kCases[] = {
    {MINIINFER_GATHER_AXIS, 0, 0, {7, 3}, {4}, {4, 3}},
    {MINIINFER_GATHER_AXIS, 1, 0, {3, 9, 8}, {2, 6}, {3, 2, 6, 8}},
    {MINIINFER_GATHER_AXIS, 2, 0, {2, 3, 8}, {}, {2, 3}},
    {MINIINFER_GATHER_AXIS, 0, 0, {50, 64}, {30}, {30, 64}},
    {MINIINFER_GATHER_ELEMENTS, 1, 0, {4, 5, 3}, {3, 7, 2}, {3, 7, 2}},
    {MINIINFER_GATHER_ELEMENTS, 0, 0, {6}, {11}, {11}},
    {MINIINFER_GATHER_ELEMENTS, 2, 0, {2, 3, 4, 5}, {2, 3, 9, 5}, {2, 3, 9, 5}},
    {MINIINFER_GATHER_ND, 0, 0, {4, 5, 6}, {3, 2}, {3, 6}},
    {MINIINFER_GATHER_ND, 0, 1, {4, 5, 6}, {4, 2, 1}, {4, 2, 6}},
    {MINIINFER_GATHER_ND, 0, 2, {2, 3, 5, 2}, {2, 3, 2}, {2, 3}},
    {MINIINFER_GATHER_ND, 0, 0, {3, 4}, {2, 3, 1}, {2, 3, 4}},
    {MINIINFER_GATHER_AXIS, 0, 0, {5, 0}, {3}, {3, 0}},
    {MINIINFER_GATHER_AXIS, 1, 0, {2, 5}, {0}, {2, 0}},
};

std::vector<std::byte> make_indices(Random& random, const Case& c, bool wide) {
  std::vector<std::int64_t> indices(count_of(c.indices));
  for (std::size_t i = 0; i < indices.size(); ++i) {
    std::size_t axis = static_cast<std::size_t>(c.axis);
    if (c.mode == MINIINFER_GATHER_ND) {
      axis = static_cast<std::size_t>(c.batches) + i % static_cast<std::size_t>(c.indices.back());
    }
    indices[i] = pick(random, -c.data[axis], c.data[axis] - 1);
  }
  return wide ? raw_bytes(indices)
              : raw_bytes(std::vector<std::int32_t>(indices.begin(), indices.end()));
}

}  // namespace

TEST_CASE("gather on the GPU picks what the reference picks, in each mode, type and alignment") {
  Random random(1);
  for (const Case& c : kCases) {
    for (const int dtype : kAllTypes) {
      for (const bool wide : {false, true}) {
        CAPTURE(c.mode);
        CAPTURE(text(c.data));
        CAPTURE(dtype);
        const auto data = random_elements(random, dtype, count_of(c.data));
        const auto indices = make_indices(random, c, wide);
        miniinfer_gather_attrs attrs{};
        attrs.mode = c.mode;
        attrs.axis = c.axis;
        attrs.batch_dims = c.batches;
        RegionBuilder builder;
        const auto d = builder.input(dtype, c.data);
        const auto i = builder.input(wide ? MINIINFER_INT64 : MINIINFER_INT32, c.indices);
        builder.node(MINIINFER_GATHER, &attrs, {d, i}, {builder.output(dtype, c.out)});
        const miniinfer::sdk::Region region(builder.region());
        const miniinfer::sdk::reference::Gather reference(region, 0);
        std::vector<std::byte> want(count_of(c.out) * miniinfer::sdk::element_bytes(dtype));
        const std::byte* in[] = {data.data(), indices.data()};
        std::byte* out[] = {want.data()};
        reference.run(in, out, {});
        for (const std::size_t shift : {0, 8}) {
          const Outputs got = run_emulated(cuda::kGather, builder, {data, indices}, shift);
          REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
          CHECK(got.fault.code == MINIINFER_FAULT_NONE);
          CHECK(got.data[0] == want);
        }
      }
    }
  }
}

TEST_CASE("Places are the same in 32 and in 64 bits") {
  Random random(4);
  for (const Case& c : kCases) {
    if (count_of(c.out) == 0) continue;
    const auto indices = make_indices(random, c, true);
    const auto data = random_elements(random, MINIINFER_FLOAT32, count_of(c.data));
    RegionBuilder builder;
    const auto d = builder.input(MINIINFER_FLOAT32, c.data);
    const auto i = builder.input(MINIINFER_INT64, c.indices);
    const auto walk = cuda::make_gather_walk(builder[d], builder[i], c.mode, c.axis, c.batches);
    const std::int64_t total = walk.positions * walk.run;
    REQUIRE(total == static_cast<std::int64_t>(count_of(c.out)));
    std::vector<float> narrow(count_of(c.out)), wide(count_of(c.out));
    const auto* from = reinterpret_cast<const float*>(data.data());
    const auto* at = static_cast<const void*>(indices.data());
    const cuda::FaultAt nobody = {nullptr, 0};
    cuda::launch(cuda::gather<unsigned, float>, 3, 64, 0, nullptr, walk,
                 cuda::WordOf<unsigned>(walk.run), total, from, at, narrow.data(), nobody);
    cuda::launch(cuda::gather<std::int64_t, float>, 2, 32, 0, nullptr, walk,
                 cuda::WordOf<std::int64_t>(walk.run), total, from, at, wide.data(), nobody);
    CHECK(raw_bytes(narrow) == raw_bytes(wide));
  }
}

TEST_CASE("An index out of range is a fault and gives zeros, or leaves what was there") {
  const std::vector<float> data = {1, 2, 3, 4, 5, 6};
  const std::vector<std::int64_t> indices = {2, -4, 0};
  RegionBuilder builder;
  miniinfer_gather_attrs attrs{};
  const auto d = builder.input(MINIINFER_FLOAT32, {3, 2});
  const auto i = builder.input(MINIINFER_INT64, {3});
  builder.node(MINIINFER_GATHER, &attrs, {d, i}, {builder.output(MINIINFER_FLOAT32, {3, 2})});
  const Outputs got = run_emulated(cuda::kGather, builder, {raw_bytes(data), raw_bytes(indices)});
  CHECK(got.as<float>() == std::vector<float>{5, 6, 0, 0, 1, 2});
  CHECK(got.fault.code == MINIINFER_FAULT_INDEX);
  CHECK(got.fault.step == 7);
  CHECK(got.fault.detail[0] == -4);
  CHECK(got.fault.detail[1] == 3);

  RegionBuilder scatter;
  miniinfer_scatter_attrs how{};
  how.mode = MINIINFER_GATHER_ND;
  const auto sd = scatter.input(MINIINFER_FLOAT32, {3, 2});
  const auto si = scatter.input(MINIINFER_INT64, {3, 1});
  const auto su = scatter.input(MINIINFER_FLOAT32, {3, 2});
  scatter.node(MINIINFER_SCATTER, &how, {sd, si, su}, {scatter.output(MINIINFER_FLOAT32, {3, 2})});
  const Outputs put = run_emulated(
      cuda::kScatter, scatter,
      {raw_bytes(data), raw_bytes(indices), raw_bytes(std::vector<float>{10, 20, 30, 40, 50, 60})});
  CHECK(put.as<float>() == std::vector<float>{50, 60, 3, 4, 10, 20});
  CHECK(put.fault.detail[0] == -4);
}

TEST_CASE("scatter on the GPU combines as the CPU does, for every type") {
  Random random(2);
  for (const Case& c : kCases) {
    if (c.mode == MINIINFER_GATHER_AXIS || c.batches != 0) continue;
    for (int how = MINIINFER_SCATTER_ADD; how <= MINIINFER_SCATTER_MIN; ++how) {
      for (const int dtype : kAllTypes) {
        if (dtype == MINIINFER_BOOL) continue;
        CAPTURE(c.mode);
        CAPTURE(how);
        CAPTURE(dtype);
        auto data = random_elements(random, dtype, count_of(c.data));
        auto updates = random_elements(random, dtype, count_of(c.out));
        auto indices = make_indices(random, c, true);
        miniinfer_scatter_attrs attrs{};
        attrs.mode = c.mode;
        attrs.axis = c.axis;
        attrs.combine = how;
        RegionBuilder builder;
        const auto d = builder.input(dtype, c.data);
        const auto i = builder.input(MINIINFER_INT64, c.indices);
        const auto u = builder.input(dtype, c.out);
        builder.node(MINIINFER_SCATTER, &attrs, {d, i, u}, {builder.output(dtype, c.data)});
        const Outputs want =
            run_family(cpu::kScatter, builder, {data.data(), indices.data(), updates.data()});
        const Outputs got = run_emulated(cuda::kScatter, builder, {data, indices, updates});
        REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
        const Outputs over =
            run_emulated(cuda::kScatter, builder, {data, indices, updates}, 0, true);
        CHECK(differences(dtype, over.data[0], got.data[0], 0) == 0);
        CHECK(differences(dtype, got.data[0], want.data[0], 0) == 0);
      }
    }
  }
}

TEST_CASE("scatter of distinct places puts each update, and atomics add in any order") {
  const std::int64_t n = 300;
  for (const int dtype : {MINIINFER_FLOAT32, MINIINFER_FLOAT16, MINIINFER_INT8}) {
    for (const int how : {MINIINFER_SCATTER_SET, MINIINFER_SCATTER_ADD}) {
      Random random(3);
      auto data = random_elements(random, dtype, 200, false);
      auto updates = random_elements(random, dtype, n, false);
      std::vector<std::int64_t> places(n);
      for (std::int64_t i = 0; i < n; ++i) {
        // Sums of eighths are exact in any order; half of the places are met twice.
        places[static_cast<std::size_t>(i)] = how == MINIINFER_SCATTER_SET ? i % 200 : i * 7 % 150;
      }
      if (how == MINIINFER_SCATTER_SET) places.resize(200), updates.resize(updates.size() / 3 * 2);
      const auto count = static_cast<std::int64_t>(places.size());
      miniinfer_scatter_attrs attrs{};
      attrs.mode = MINIINFER_GATHER_ND;
      attrs.combine = how;
      RegionBuilder builder;
      const auto d = builder.input(dtype, {200});
      const auto i = builder.input(MINIINFER_INT64, {count, 1});
      const auto u = builder.input(dtype, {count});
      builder.node(MINIINFER_SCATTER, &attrs, {d, i, u}, {builder.output(dtype, {200})});
      const Outputs want =
          run_family(cpu::kScatter, builder, {data.data(), bytes(places), updates.data()});
      const Outputs got = run_emulated(cuda::kScatter, builder, {data, raw_bytes(places), updates});
      REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
      CHECK(differences(dtype, got.data[0], want.data[0], 0) == 0);
    }
  }
}
