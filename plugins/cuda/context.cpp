#include "plugins/cuda/context.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "plugins/cuda/check.hpp"
#include "plugins/cuda/cublas_lt.hpp"
#include "plugins/cuda/cudnn.hpp"
#include "plugins/cuda/device.hpp"
#include "plugins/cuda/kernels/fill_launch.hpp"

namespace miniinfer::cuda {
namespace {

// Below this the driver has copied pageable memory aside by the time the call returns.
constexpr std::uint64_t kStagedBytes = 64u << 10;

bool is_pageable(const void* pointer) {
  cudaPointerAttributes attributes{};
  CUDA_CHECK_THROW(cudaPointerGetAttributes(&attributes, pointer));
  return attributes.type == cudaMemoryTypeUnregistered;
}

bool is_done(cudaError_t error, const char* call) {
  if (error == cudaErrorNotReady) {
    static_cast<void>(cudaGetLastError());
    return false;
  }
  if (error != cudaSuccess) raise(error, call);
  return true;
}

UniqueStream make_stream(std::int32_t priority) {
  int least = 0;     // the usual one, 0
  int greatest = 0;  // the most urgent, a negative number
  CUDA_CHECK_THROW(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  const int urgency = -std::clamp<std::int32_t>(priority, -1000, 1000);
  cudaStream_t stream = nullptr;
  CUDA_CHECK_THROW(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking,
                                                std::clamp(urgency, greatest, least)));
  return UniqueStream(stream);
}

cudaStream_t check_foreign(const Device& device, void* native) {
  const auto stream = static_cast<cudaStream_t>(native);
  if (stream == cudaStreamLegacy || stream == cudaStreamPerThread) {
    sdk::fail(MINIINFER_INVALID_ARGUMENT,
              "a default stream of CUDA cannot be worked on, %s wants one that was created: the "
              "default ones wait for others",
              device.id());
  }
  int index = -1;
  CUDA_CHECK_THROW(cudaStreamGetDevice(stream, &index));
  if (index != device.index()) {
    sdk::fail(MINIINFER_INVALID_ARGUMENT, "the stream belongs to CUDA device %d, %s is number %d",
              index, device.id(), device.index());
  }
  return stream;
}

}  // namespace

CUDAEvent::CUDAEvent(Device& device) : device_(device) {
  cudaEvent_t event = nullptr;
  CUDA_CHECK_THROW(cudaEventCreate(&event));
  event_.reset(event);
}

CUDAEvent::~CUDAEvent() {
  device_.release([&] { event_.reset(); });
  static_cast<void>(event_.release());
}

void CUDAEvent::sync() {
  device_.on_device([&] { CUDA_CHECK_THROW(cudaEventSynchronize(event_.get())); });
}

bool CUDAEvent::done() {
  return device_.on_device([&] { return is_done(cudaEventQuery(event_.get()), "cudaEventQuery"); });
}

std::uint64_t CUDAEvent::elapsed_ns(sdk::Event& to) {
  return device_.on_device([&] {
    float milliseconds = 0;
    CUDA_CHECK_THROW(cudaEventElapsedTime(&milliseconds, event_.get(),
                                          static_cast<CUDAEvent&>(to).event_.get()));
    return static_cast<std::uint64_t>(std::max(0.0, std::round(double{milliseconds} * 1e6)));
  });
}

CUDADeviceContext::CUDADeviceContext(Device& device, std::int32_t priority, void* native)
    : device_(device) {
  if (native != nullptr) {
    stream_ = check_foreign(device, native);
  } else {
    owned_ = make_stream(priority);
    stream_ = owned_.get();
  }
  cudaEvent_t order = nullptr;
  CUDA_CHECK_THROW(cudaEventCreateWithFlags(&order, cudaEventDisableTiming));
  order_.reset(order);
}

CUDADeviceContext::~CUDADeviceContext() {
  device_.release([&] {
    if (capturing_) end_capture();
    static_cast<void>(CUDA_CHECK(cudaStreamSynchronize(stream_)));
    staging_.reset();
    if (cudnn_ != nullptr) device_.libraries().cudnn().cudnnDestroy(cudnn_);
    if (cublas_lt_ != nullptr) device_.libraries().cublas_lt().cublasLtDestroy(cublas_lt_);
    order_.reset();
    owned_.reset();
  });
  // Where CUDA may not be called they are left behind.
  static_cast<void>(staging_.release());
  static_cast<void>(order_.release());
  static_cast<void>(owned_.release());
}

void CUDADeviceContext::sync() {
  device_.on_device([&] { CUDA_CHECK_THROW(cudaStreamSynchronize(stream_)); });
}

bool CUDADeviceContext::done() {
  return device_.on_device([&] { return is_done(cudaStreamQuery(stream_), "cudaStreamQuery"); });
}

void CUDADeviceContext::copy(miniinfer_copy_direction direction, miniinfer_mem dst,
                             miniinfer_mem src, std::uint64_t bytes) {
  constexpr cudaMemcpyKind kKinds[] = {cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost,
                                       cudaMemcpyDeviceToDevice};
  if (direction < 0 || direction >= 3) {
    sdk::fail(MINIINFER_INVALID_ARGUMENT, "copy in direction %d on %s", direction, device_.id());
  }
  if (bytes == 0) return;
  device_.on_device([&] {
    if (direction == MINIINFER_COPY_HOST_TO_DEVICE && bytes > kStagedBytes && !capturing_ &&
        is_pageable(address(src))) {
      if (staging_ == nullptr) staging_ = std::make_unique<Staging>();
      staging_->upload(address(dst), address(src), bytes, stream_);
      return;
    }
    CUDA_CHECK_THROW(
        cudaMemcpyAsync(address(dst), address(src), bytes, kKinds[direction], stream_));
  });
}

void CUDADeviceContext::fill(miniinfer_mem dst, std::uint64_t bytes, std::uint64_t pattern,
                             std::uint32_t pattern_bytes) {
  const bool valid =
      pattern_bytes == 1 || pattern_bytes == 2 || pattern_bytes == 4 || pattern_bytes == 8;
  if (!valid || bytes % pattern_bytes != 0) {
    sdk::fail(MINIINFER_INVALID_ARGUMENT, "fill of %llu bytes by a pattern of %u on %s",
              static_cast<unsigned long long>(bytes), pattern_bytes, device_.id());
  }
  if (bytes == 0) return;
  // All patterns repeat after 8 bytes.
  if (pattern_bytes == 1) pattern = (pattern & 0xff) * 0x0101010101010101u;
  if (pattern_bytes == 2) pattern = (pattern & 0xffff) * 0x0001000100010001u;
  if (pattern_bytes == 4) pattern = (pattern & 0xffffffff) * 0x0000000100000001u;
  device_.on_device([&] {
    if (pattern == (pattern & 0xff) * 0x0101010101010101u) {
      CUDA_CHECK_THROW(
          cudaMemsetAsync(address(dst), static_cast<int>(pattern & 0xff), bytes, stream_));
    } else {
      CUDA_CHECK_THROW(launch_fill(address(dst), bytes, pattern, stream_));
    }
  });
}

void CUDADeviceContext::record(sdk::Event& event) {
  const cudaEvent_t native = static_cast<CUDAEvent&>(event).native();
  device_.on_device([&] { CUDA_CHECK_THROW(cudaEventRecord(native, stream_)); });
}

void CUDADeviceContext::wait(sdk::Event& event) {
  const cudaEvent_t native = static_cast<CUDAEvent&>(event).native();
  device_.on_device([&] { CUDA_CHECK_THROW(cudaStreamWaitEvent(stream_, native, 0)); });
}

void CUDADeviceContext::copy_from(CUDADeviceContext& from, miniinfer_mem dst, miniinfer_mem src,
                                  std::uint64_t bytes) {
  if (bytes == 0) return;
  // The failure is the target's to report: another device's loss is not its own.
  const auto on = [&](CUDADeviceContext& stream, auto&& body) {
    try {
      stream.device_.on_device(body);
    } catch (const sdk::Error& error) {
      if (&stream.device_ == &device_ || error.code() != MINIINFER_DEVICE_LOST) throw;
      sdk::fail(MINIINFER_INTERNAL, "copying from %s to %s: %s", from.device_.id(), device_.id(),
                error.what());
    }
  };
  // Events are recorded where they were made; any device's streams wait for them.
  const auto order = [&](CUDADeviceContext& first, CUDADeviceContext& then) {
    if (&first == &then) return;
    on(first, [&] { CUDA_CHECK_THROW(cudaEventRecord(first.order_.get(), first.stream_)); });
    on(then, [&] { CUDA_CHECK_THROW(cudaStreamWaitEvent(then.stream_, first.order_.get(), 0)); });
  };
  order(from, *this);
  on(*this, [&] {
    CUDA_CHECK_THROW(cudaMemcpyPeerAsync(address(dst), device_.index(), address(src),
                                         from.device_.index(), bytes, stream_));
  });
  order(*this, from);
}

void CUDADeviceContext::begin_capture() {
  device_.on_device([&] {
    if (device_.uses_cublas_lt) cublas_lt();
    if (device_.uses_cudnn) cudnn();
    // Other threads go on calling what a capture forbids to its own.
    CUDA_CHECK_THROW(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    capturing_ = true;
  });
}

UniqueGraph CUDADeviceContext::end_capture() {
  return device_.on_device([&] {
    capturing_ = false;
    cudaGraph_t graph = nullptr;
    CUDA_CHECK_THROW(cudaStreamEndCapture(stream_, &graph));
    return UniqueGraph(graph);
  });
}

cublasLtContext* CUDADeviceContext::cublas_lt() {
  if (cublas_lt_ != nullptr) return cublas_lt_;
  const CublasLt& library = device_.libraries().cublas_lt();
  if (const cublasStatus_t status = library.cublasLtCreate(&cublas_lt_);
      status != CUBLAS_STATUS_SUCCESS) {
    cublas_lt_ = nullptr;
    sdk::fail(status == CUBLAS_STATUS_ALLOC_FAILED ? MINIINFER_OUT_OF_MEMORY : MINIINFER_INTERNAL,
              "cublasLtCreate on %s: %s", device_.id(), library.cublasLtGetStatusString(status));
  }
  device_.uses_cublas_lt = true;
  return cublas_lt_;
}

cudnnContext* CUDADeviceContext::cudnn() {
  if (cudnn_ != nullptr) return cudnn_;
  const Cudnn& library = device_.libraries().cudnn();
  const auto check = [&](cudnnStatus_t status, const char* call) {
    if (status == CUDNN_STATUS_SUCCESS) return;
    if (cudnn_ != nullptr) library.cudnnDestroy(std::exchange(cudnn_, nullptr));
    sdk::fail(status == CUDNN_STATUS_ALLOC_FAILED ? MINIINFER_OUT_OF_MEMORY : MINIINFER_INTERNAL,
              "%s on %s: %s", call, device_.id(), library.cudnnGetErrorString(status));
  };
  check(library.cudnnCreate(&cudnn_), "cudnnCreate");
  check(library.cudnnSetStream(cudnn_, stream_), "cudnnSetStream");
  device_.uses_cudnn = true;
  return cudnn_;
}

}  // namespace miniinfer::cuda
