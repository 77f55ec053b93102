#include "tests/cuda/fake_bench.hpp"

#include <cstring>
#include <memory>

#include "plugins/cuda/bench.hpp"
#include "plugins/cuda/device.hpp"
#include "plugins/cuda/findings.hpp"

// The owners of what is never made want them.
extern "C" {
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaGetLastError() { return cudaSuccess; }
}

namespace miniinfer::cuda {

// Never set: there is no stream.
Bench::Bench(Device& device) : device_(device) { ++test::fake_bench().set_up; }

Bench::~Bench() {
  for (const auto& [start, bytes] : taken_) {
    --test::fake_bench().live_blocks;
    operator delete(start, std::align_val_t{256});
  }
}

std::byte* Bench::take(std::uint64_t bytes, const std::vector<std::byte>& pattern) {
  if (!test::fake_bench().has_memory) sdk::fail(MINIINFER_OUT_OF_MEMORY, "no memory is left");
  auto* const start = static_cast<std::byte*>(operator new(bytes + 1, std::align_val_t{256}));
  ++test::fake_bench().live_blocks;
  taken_.emplace_back(start, bytes);
  for (std::uint64_t at = 0; at < bytes; ++at) start[at] = pattern[at % pattern.size()];
  return start;
}

void Bench::clear(std::byte* start, std::uint64_t bytes) { std::memset(start, 0, bytes); }

void Bench::read(void* to, const std::byte* from, std::uint64_t bytes) {
  std::memcpy(to, from, bytes);
}

void Bench::run(const Run& run) { run(); }

double Bench::time_ns(const Run& run, double) {
  const double begin = test::fake_bench().clock_ns;
  run();
  return test::fake_bench().clock_ns - begin;
}

namespace {
std::unique_ptr<Findings>& slot() {
  static auto& findings = *new std::unique_ptr<Findings>(new Findings);
  return findings;
}
}  // namespace

Findings& Device::findings() { return *slot(); }
bool Device::reachable() const noexcept { return true; }

}  // namespace miniinfer::cuda

namespace miniinfer::test {

FakeBench& fake_bench() {
  static FakeBench instance;
  return instance;
}

void FakeBench::spend(double ns) { fake_bench().clock_ns += ns; }

void reopen_emulated_device() { cuda::slot() = std::make_unique<cuda::Findings>(); }

}  // namespace miniinfer::test
