// Measuring which way is the fastest, and keeping what was measured.

#include "plugins/cuda/kernels/tuning.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "miniinfer/abi/op/contract.h"
#include "miniinfer/sdk/reference/program.hpp"
#include "plugins/cuda/findings.hpp"
#include "plugins/cuda/kernels/contract.hpp"
#include "plugins/cuda/kernels/conv.hpp"
#include "plugins/cuda/kernels/conv_plan.hpp"
#include "plugins/cuda/kernels/conv_shape.hpp"
#include "tests/cuda/conv_cases.hpp"
#include "tests/cuda/emulated_device.hpp"
#include "tests/cuda/fake_bench.hpp"
#include "tests/cuda/fake_cublas_lt.hpp"
#include "tests/cuda/fake_cudnn.hpp"
#include "tests/sdk/test_host.hpp"

using namespace miniinfer::test;  // NOLINT
namespace cuda = miniinfer::cuda;
namespace reference = miniinfer::sdk::reference;

namespace {

// A process with a cache, whose libraries know several ways; the third is the fastest.
class Process {
 public:
  Process() {
    host.allows_cache = true;
    host.options["tune"] = "on";
    miniinfer::sdk::detail::host_slot() = host.table();
    fake_cudnn() = {};
    fake_cudnn().present = true;
    fake_cudnn().engines = fake_cublas_lt().algorithms = 4;
    for (double* ns : {fake_cudnn().ns, fake_cublas_lt().ns}) {
      for (int way = 0; way < 4; ++way) ns[way] = way == 2 ? 100 : 1000 + way;
    }
    reopen();
  }
  ~Process() {
    miniinfer::sdk::detail::host_slot() = nullptr;
    fake_cudnn() = {};
    fake_cublas_lt() = {};
    reopen();
  }

  // Another process, with the same cache.
  void reopen() {
    reopen_emulated_device();
    fake_bench() = {};
    host.logged.clear();
  }

  bool said(const std::string& part) const {
    return std::ranges::any_of(
        host.logged, [&](const std::string& line) { return line.find(part) != std::string::npos; });
  }

  TestHost host;
};

// The engine of the last run.
int convolve(std::uint32_t math = 0, std::int64_t batch = 2, ConvTail tail = {true, false, false}) {
  Random random(31);
  ConvCase c = kConvCases[0];
  c.batch = batch;
  ConvRegion region(random, c, MINIINFER_FLOAT32, false, tail);
  const miniinfer_region& raw = region.builder.region();
  const_cast<miniinfer_node*>(raw.nodes[0])->math = math;
  const Outputs got = run_emulated(cuda::kConv, region.builder, region.data);
  REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
  CHECK_EQ(differences(MINIINFER_FLOAT32, got.data[0], region.reference(), 1e-4, 1e-3), 0);
  return fake_cudnn().last_engine;
}

// The algorithm of the last call.
int multiply(std::int64_t m = 3, bool transpose = false) {
  Random random(32);
  RegionBuilder builder;
  miniinfer_contract_attrs attrs{};
  attrs.transpose_a = transpose;
  const Dims dims = transpose ? Dims{5, m} : Dims{m, 5};
  std::vector<std::vector<std::byte>> data = {
      random_elements(random, MINIINFER_FLOAT32, 5 * static_cast<std::size_t>(m), false),
      random_elements(random, MINIINFER_FLOAT32, 40, false)};
  const auto a = builder.input(MINIINFER_FLOAT32, dims);
  const auto b = builder.input(MINIINFER_FLOAT32, {5, 8});
  builder.node(MINIINFER_CONTRACT, &attrs, {a, b}, {builder.output(MINIINFER_FLOAT32, {m, 8})});
  const Outputs got = run_emulated(cuda::kContract, builder, data);
  REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
  std::vector<std::byte> want(got.data[0].size());
  reference::run_region(builder.region(), std::vector{data[0].data(), data[1].data(), want.data()});
  CHECK_EQ(differences(MINIINFER_FLOAT32, got.data[0], want, 1e-5, 1e-5), 0);
  return fake_cublas_lt().last_algorithm;
}

}  // namespace

TEST_CASE("nothing is measured unless it is wanted") {
  Process process;
  process.host.options.clear();
  CHECK_EQ(convolve(), 1);  // the first that strict float32 allows
  CHECK_EQ(multiply(), 0);
  CHECK_EQ(fake_bench().set_up, 0);
  CHECK(process.host.cache.empty());
}

TEST_CASE("the fastest engine is measured once, and by no later process, tuning or not") {
  Process process;
  for (const ConvTail tail : {ConvTail{false, false, false}, {true, false, true}}) {
    process.host.options["tune"] = "on";
    process.host.cache.clear();
    process.reopen();
    CHECK_EQ(convolve(0, 2, tail), 2);
    CHECK_EQ(convolve(0, 2, tail), 2);
    CHECK_EQ(fake_bench().set_up, 1);
    CHECK_EQ(fake_bench().live_blocks, 0);
    CHECK(process.said(": measured "));
    CHECK_EQ(process.host.cache.size(), 1);
    for (const char* tune : {"on", "off"}) {
      process.host.options["tune"] = tune;
      process.reopen();
      CHECK_EQ(convolve(0, 2, tail), 2);
      CHECK_EQ(fake_bench().set_up, 0);
    }
  }
}

TEST_CASE("the fastest algorithm is measured once, and by no later process, tuning or not") {
  Process process;
  CHECK_EQ(multiply(), 2);
  CHECK_EQ(multiply(), 2);
  CHECK_EQ(fake_bench().set_up, 1);
  CHECK_EQ(fake_bench().live_blocks, 0);
  CHECK_EQ(multiply(3, true), 2);
  CHECK_EQ(fake_bench().set_up, 2);
  for (const char* tune : {"on", "off"}) {
    process.host.options["tune"] = tune;
    process.reopen();
    CHECK_EQ(multiply(), 2);
    CHECK_EQ(multiply(3, true), 2);
    CHECK_EQ(fake_bench().set_up, 0);
  }
}

TEST_CASE("an algorithm that was measured is known again, whatever is recommended then") {
  Process process;
  fake_cublas_lt().changes_its_mind = true;
  CHECK_EQ(multiply(), 2);
  const auto stored = process.host.cache;
  CHECK_EQ(multiply(), 2);
  CHECK_EQ(fake_bench().set_up, 1);
  process.reopen();
  CHECK_EQ(multiply(), 2);
  CHECK_EQ(fake_bench().set_up, 0);
  CHECK(process.host.cache == stored);
}

TEST_CASE("an algorithm that wants more scratch than there is, is neither measured nor taken") {
  Process process;
  CHECK_EQ(multiply(), 2);
  process.reopen();
  fake_cublas_lt().greedy = 2;
  CHECK_EQ(multiply(), 0);
  CHECK(process.said("measured 3 ways"));
}

TEST_CASE("without a cache it is measured once in each process") {
  Process process;
  process.host.allows_cache = false;
  for (int i = 0; i < 2; ++i) {
    CHECK_EQ(multiply(), 2);
    CHECK_EQ(multiply(), 2);
    CHECK_EQ(convolve(), 2);
    CHECK_EQ(convolve(), 2);
    CHECK_EQ(fake_bench().set_up, 2);
    process.reopen();
  }
}

TEST_CASE("what was measured is of one problem, one library, and what its arithmetic allows") {
  Process process;
  fake_cudnn().ns[0] = 1;  // tensor cores
  CHECK_EQ(convolve(0), 2);
  CHECK_EQ(convolve(MINIINFER_MATH_TF32), 0);
  CHECK_EQ(fake_bench().set_up, 2);
  CHECK_EQ(convolve(0, 3), 2);
  CHECK_EQ(fake_bench().set_up, 3);
  CHECK_EQ(process.host.cache.size(), 3);
}

TEST_CASE("a fast way that computes something else is left out") {
  Process process;
  fake_cudnn().wrong = fake_cublas_lt().wrong = 2;
  CHECK_EQ(convolve(), 1);
  CHECK_EQ(multiply(), 0);
  CHECK(process.said("way 2 of a product of 3 x 8 x 5, batch 1, in float32 gives another result"));
}

TEST_CASE("a way that is hardly faster is not taken") {
  Process process;
  fake_cublas_lt().ns[2] = 990;
  CHECK_EQ(multiply(), 0);
}

TEST_CASE("entries of the cache that are damaged or name nothing are measured again") {
  Process process;
  convolve();
  multiply();
  const auto good = process.host.cache;
  REQUIRE_EQ(good.size(), 2);
  const auto spoil = [&](auto&& change) {
    process.host.cache = good;
    for (auto& [key, entry] : process.host.cache) change(entry);
    process.reopen();
    CHECK_EQ(convolve(), 2);
    CHECK_EQ(multiply(), 2);
    CHECK_EQ(fake_bench().set_up, 2);
    CHECK(process.host.cache == good);
  };
  spoil([](std::string& entry) { entry.clear(); });
  spoil([](std::string& entry) { entry.resize(entry.size() / 2); });
  spoil([](std::string& entry) { entry.back() ^= 1; });
  spoil([](std::string& entry) { entry[0] ^= 1; });
  spoil([](std::string& entry) { entry.replace(entry.find('\0') + 1, std::string::npos, "x"); });
}

TEST_CASE("without memory to measure with, what the library recommends is taken") {
  Process process;
  fake_bench().has_memory = false;
  CHECK_EQ(convolve(), 1);
  CHECK_EQ(multiply(), 0);
  CHECK(process.said("is not measured: no memory is left"));
  CHECK(process.host.cache.empty());
}

TEST_CASE("a server that sees ever new shapes keeps a bounded number of plans") {
  Process process;
  process.host.options.clear();
  alignas(cuda::Device) static std::byte no_device[sizeof(cuda::Device)];
  auto& device = reinterpret_cast<cuda::Device&>(no_device);
  for (std::int64_t batch = 1; batch <= 300; ++batch) {
    ConvCase c = kConvCases[0];
    c.batch = batch;
    Random random(33);
    ConvRegion region(random, c, MINIINFER_FLOAT32, false, {});
    const miniinfer::sdk::Region view(region.builder.region());
    cuda::find_conv_plan(device, cuda::conv_shape(view, false), 0, 1 << 20);
  }
  CHECK_EQ(device.findings().conv_plans.size(), 256);
}
