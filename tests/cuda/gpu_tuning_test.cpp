// Measured engines and algorithms of the vendor's libraries, and the cache of what was measured.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "miniinfer/abi/op/contract.h"
#include "miniinfer/sdk/reference/program.hpp"
#include "tests/cuda/conv_cases.hpp"
#include "tests/cuda/gpu_region.hpp"

using namespace miniinfer::test;  // NOLINT
namespace reference = miniinfer::sdk::reference;

namespace {

constexpr int kFloats[] = {MINIINFER_FLOAT32, MINIINFER_FLOAT16, MINIINFER_BFLOAT16};

double tolerance(int dtype) {
  return dtype == MINIINFER_FLOAT32 ? 1e-5 : dtype == MINIINFER_FLOAT16 ? 4e-3 : 3e-2;
}

const std::vector<ConvCase> kConvolutions = {
    {1, 1, 64, 64, {14, 14}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {1, 1, 3, 64, {32, 32}, {7, 7}, {2, 2}, {1, 1}, {3, 3}, {3, 3}},
};

// Every convolution and product once, against the reference.
void run_all(GpuDevice& gpu) {
  Random random(41);
  for (const int dtype : kFloats) {
    CAPTURE(dtype);
    for (const ConvCase& c : kConvolutions) {
      for (const ConvTail& tail : {ConvTail{true, false, true}, {false, false, false}}) {
        ConvRegion region(random, c, dtype, false, tail);
        const Outputs got = run_on_gpu(gpu, region.builder, region.data);
        REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
        const double near = tolerance(dtype);
        CHECK_EQ(differences(dtype, got.data[0], region.reference(), near, near * 100), 0);
      }
    }
    for (const std::int64_t m : {1, 128}) {
      RegionBuilder builder;
      miniinfer_contract_attrs attrs{};
      std::vector<std::vector<std::byte>> data = {
          random_elements(random, dtype, static_cast<std::size_t>(m) * 384, false),
          random_elements(random, dtype, 384 * 512, false)};
      const auto a = builder.input(dtype, {m, 384});
      const auto b = builder.input(dtype, {384, 512});
      builder.node(MINIINFER_CONTRACT, &attrs, {a, b}, {builder.output(dtype, {m, 512})});
      const Outputs got = run_on_gpu(gpu, builder, data);
      REQUIRE_MESSAGE(got.code == MINIINFER_OK, got.reason);
      std::vector<std::byte> want(got.data[0].size());
      reference::run_region(builder.region(),
                            std::vector{data[0].data(), data[1].data(), want.data()});
      const double absolute = tolerance(dtype) * 10 * std::sqrt(385.0);
      CHECK_EQ(differences(dtype, got.data[0], want, tolerance(dtype), absolute), 0);
    }
  }
}

// What the plugin said of its measurements.
std::vector<std::string> measurements(const TestHost& host) {
  std::vector<std::string> lines;
  std::ranges::copy_if(host.logged, std::back_inserter(lines), [](const std::string& line) {
    return line.find(": measured ") != std::string::npos &&  // and not "measured before"
           line.find(" ways of ") != std::string::npos;
  });
  return lines;
}

// An entry of the cache: its subject, and the rest in hexadecimal digits.
std::string show(const std::string& entry) {
  const std::size_t head = entry.find('\0');
  std::string text = entry.substr(0, head) + ":";
  for (std::size_t i = head; i < entry.size(); ++i) {
    constexpr char kDigits[] = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(entry[i]);
    (text += kDigits[byte >> 4]) += kDigits[byte & 15];
  }
  return text;
}

// Nothing was measured beyond the first `known`, nor stored otherwise than before.
void check_nothing_new(const TestHost& host, std::size_t known,
                       const std::map<std::string, std::string>& stored) {
  const std::vector<std::string> lines = measurements(host);
  CHECK_EQ(lines.size(), known);
  for (std::size_t i = known; i < lines.size(); ++i) MESSAGE("again: ", lines[i]);
  for (const auto& [key, entry] : host.cache) {
    const auto before = stored.find(key);
    CHECK_MESSAGE(before != stored.end(), "new: ", show(entry));
    if (before == stored.end()) continue;
    CHECK_MESSAGE(before->second == entry, "was ", show(before->second), "\nis  ", show(entry));
  }
}

}  // namespace

TEST_CASE("what was measured serves later devices, which measure nothing") {
  TestHost& host = GpuPlugin::instance().host;
  host.allows_cache = true;
  host.options["tune"] = "on";
  host.logged.clear();
  std::uint64_t free_before = 0, free_after = 0, total = 0;
  {
    GpuDevice gpu;
    run_all(gpu);
    CHECK_GT(measurements(host).size(), 6);
    for (const std::string& line : host.logged) {
      if (line.find(": measured ") != std::string::npos) MESSAGE(line);
      CHECK(line.find("another result") == std::string::npos);
    }
    // A second time the device remembers, and nothing is left of the scratch memory.
    REQUIRE_EQ(gpu.memory.info(gpu.memory.self, &free_before, &total), MINIINFER_OK);
    const std::size_t once = measurements(host).size();
    const auto stored = host.cache;
    run_all(gpu);
    check_nothing_new(host, once, stored);
    REQUIRE_EQ(gpu.memory.info(gpu.memory.self, &free_after, &total), MINIINFER_OK);
    CHECK_GE(free_after + (64u << 20), free_before);
  }
  for (const char* tune : {"on", "off"}) {
    CAPTURE(tune);
    host.options["tune"] = tune;
    host.logged.clear();
    const auto stored = host.cache;
    GpuDevice gpu;
    run_all(gpu);
    check_nothing_new(host, 0, stored);
  }
  host.options.clear();
  host.allows_cache = false;
}
