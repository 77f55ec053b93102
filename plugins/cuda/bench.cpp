#include "plugins/cuda/bench.hpp"

#include <algorithm>

#include "plugins/cuda/check.hpp"
#include "plugins/cuda/device.hpp"

namespace miniinfer::cuda {
namespace {

UniqueEvent make_event() {
  cudaEvent_t event = nullptr;
  CUDA_CHECK_THROW(cudaEventCreate(&event));
  return UniqueEvent(event);
}

}  // namespace

Bench::Bench(Device& device) : device_(device), from_(make_event()), to_(make_event()) {
  cudaStream_t stream = nullptr;
  CUDA_CHECK_THROW(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  stream_.reset(stream);
}

Bench::~Bench() {
  static_cast<void>(CUDA_CHECK(cudaStreamSynchronize(stream())));
  for (const auto& [start, bytes] : taken_) {
    device_.memory().free({reinterpret_cast<std::uint64_t>(start), 0}, bytes, nullptr);
  }
}

std::byte* Bench::take(std::uint64_t bytes, const std::vector<std::byte>& pattern) {
  bytes = std::max<std::uint64_t>(bytes, 1);
  taken_.reserve(taken_.size() + 1);
  const miniinfer_mem mem = device_.memory().allocate(bytes, 256, nullptr);
  auto* const start = reinterpret_cast<std::byte*>(mem.handle);
  taken_.emplace_back(start, bytes);
  std::uint64_t done = std::min<std::uint64_t>(bytes, pattern.size());
  CUDA_CHECK_THROW(cudaMemcpyAsync(start, pattern.data(), done, cudaMemcpyHostToDevice, stream()));
  while (done > 0 && done < bytes) {
    const std::uint64_t more = std::min(done, bytes - done);
    CUDA_CHECK_THROW(
        cudaMemcpyAsync(start + done, start, more, cudaMemcpyDeviceToDevice, stream()));
    done += more;
  }
  CUDA_CHECK_THROW(cudaStreamSynchronize(stream()));  // the pattern is the caller's
  return start;
}

void Bench::clear(std::byte* start, std::uint64_t bytes) {
  CUDA_CHECK_THROW(cudaMemsetAsync(start, 0, bytes, stream()));
}

void Bench::read(void* to, const std::byte* from, std::uint64_t bytes) {
  CUDA_CHECK_THROW(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream()));
  CUDA_CHECK_THROW(cudaStreamSynchronize(stream()));
}

void Bench::run(const Run& run) {
  run();
  CUDA_CHECK_THROW(cudaStreamSynchronize(stream()));
}

double Bench::time_ns(const Run& run, double hopeless_ns) {
  constexpr double kBatchNs = 1e6;
  constexpr int kMostRuns = 16, kBatches = 4;
  const double first = timed_ns(run);
  if (first > hopeless_ns) return first;
  const int times = std::clamp(static_cast<int>(kBatchNs / std::max(first, 1.0)), 1, kMostRuns);
  const UniqueGraphExec graph = record(run, times);
  const auto launch = [&] { CUDA_CHECK_THROW(cudaGraphLaunch(graph.get(), stream())); };
  double least = timed_ns(launch);
  for (int batch = 0; batch < kBatches; ++batch) least = std::min(least, timed_ns(launch));
  return least / times;
}

UniqueGraphExec Bench::record(const Run& run, int times) {
  // Other threads go on calling what a capture forbids to its own.
  CUDA_CHECK_THROW(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal));
  cudaGraph_t raw = nullptr;
  try {
    for (int i = 0; i < times; ++i) run();
  } catch (...) {
    static_cast<void>(cudaStreamEndCapture(stream(), &raw));
    static_cast<void>(cudaGetLastError());
    const UniqueGraph dropped(raw);
    throw;
  }
  CUDA_CHECK_THROW(cudaStreamEndCapture(stream(), &raw));
  const UniqueGraph graph(raw);
  cudaGraphExec_t exec = nullptr;
  CUDA_CHECK_THROW(cudaGraphInstantiate(&exec, raw, 0));
  UniqueGraphExec made(exec);
  CUDA_CHECK_THROW(cudaGraphUpload(exec, stream()));
  return made;
}

double Bench::timed_ns(const Run& run) {
  CUDA_CHECK_THROW(cudaEventRecord(from_.get(), stream()));
  run();
  CUDA_CHECK_THROW(cudaEventRecord(to_.get(), stream()));
  CUDA_CHECK_THROW(cudaEventSynchronize(to_.get()));
  float ms = 0;
  CUDA_CHECK_THROW(cudaEventElapsedTime(&ms, from_.get(), to_.get()));
  return double{ms} * 1e6;
}

}  // namespace miniinfer::cuda
