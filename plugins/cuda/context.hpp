#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "miniinfer/sdk/stream.hpp"
#include "plugins/cuda/handles.hpp"
#include "plugins/cuda/staging.hpp"

struct cublasLtContext;
struct cudnnContext;

namespace miniinfer::cuda {

class Device;

// A place in a stream's work, with a time stamp. [any-thread]
class CUDAEvent final : public sdk::Event {
 public:
  explicit CUDAEvent(Device& device);
  ~CUDAEvent() override;
  void sync() override;
  bool done() override;
  std::uint64_t elapsed_ns(sdk::Event& to) override;
  cudaEvent_t native() const { return event_.get(); }

 private:
  Device& device_;
  UniqueEvent event_;
};

// A non-blocking stream and what belongs to it: one set of library handles, made when first needed.
//
// Copies, fills, kernels, a capture's begin and end, and the handles are for one thread at a time;
// copy_from works on both streams, and is for one thread at a time of either. sync, done, native,
// record and wait may come from any thread meanwhile, and touch nothing of this object that
// changes; but not during a capture, which a question would end and a mark would be recorded into.
class CUDADeviceContext final : public sdk::Stream {
 public:
  // `native`: a cudaStream_t of the application's, which stays alive; or null.
  CUDADeviceContext(Device& device, std::int32_t priority, void* native);
  ~CUDADeviceContext() override;

  void sync() override;
  bool done() override;
  void* native() noexcept override { return stream_; }
  void copy(miniinfer_copy_direction direction, miniinfer_mem dst, miniinfer_mem src,
            std::uint64_t bytes) override;
  void fill(miniinfer_mem dst, std::uint64_t bytes, std::uint64_t pattern,
            std::uint32_t pattern_bytes) override;
  void record(sdk::Event& event) override;
  void wait(sdk::Event& event) override;
  // From memory of another stream's device, which may be this one's: after what is on that stream
  // so far, and before what is put there later.
  void copy_from(CUDADeviceContext& from, miniinfer_mem dst, miniinfer_mem src,
                 std::uint64_t bytes);

  Device& device() const { return device_; }
  cudaStream_t stream() const { return stream_; }
  bool capturing() const { return capturing_; }

  // What the graph capture extension does. Between the two nothing that is put on the stream runs.
  void begin_capture();
  UniqueGraph end_capture();

  // The stream's own handles; throws UNSUPPORTED with the places searched where the library is
  // missing.
  cublasLtContext* cublas_lt();
  cudnnContext* cudnn();

 private:
  Device& device_;
  UniqueStream owned_;  // null where the stream is the application's
  cudaStream_t stream_ = nullptr;
  UniqueEvent order_;  // for streams of other devices: where this one was
  bool capturing_ = false;
  std::unique_ptr<Staging> staging_;
  cublasLtContext* cublas_lt_ = nullptr;
  cudnnContext* cudnn_ = nullptr;
};

inline CUDADeviceContext& context(sdk::Stream* stream) {
  return *static_cast<CUDADeviceContext*>(stream);
}

// Where a memory is on the device.
inline std::byte* address(miniinfer_mem mem) {
  return reinterpret_cast<std::byte*>(mem.handle + mem.offset);
}

}  // namespace miniinfer::cuda
