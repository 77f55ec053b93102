// Pointwise programs by interpretation: what has no kernel of its own, small operands mostly. An
// instruction is decoded once for all threads and for up to 4 elements of each; slots lie in shared
// memory, a thread's next to its neighbour's. Bound by the decoding, some 50 cycles an instruction.

#include "plugins/cuda/kernels/launch.cuh"
#include "plugins/cuda/kernels/numeric.cuh"
#include "plugins/cuda/kernels/pointwise_launch.hpp"

namespace miniinfer::cuda {
namespace {

constexpr unsigned kInterpreterThreads = 128;
constexpr std::size_t kSharedBytes = 48 * 1024;

struct FaultSink {
  miniinfer_fault* fault;
  std::uint32_t step;
  __device__ void divide_by_zero(long long a, long long b) const {
    report_fault(fault, MINIINFER_FAULT_DIVIDE, step, a, b);
  }
};

template <class Slot, int kElements>
__global__ void __launch_bounds__(kInterpreterThreads)
    interpret(const __grid_constant__ InterpretedProgram program) {
  const FaultSink sink{program.fault, program.step};
  const Interpreter<Slot, kElements, FaultSink> interpreter(
      program, dynamic_shared<Slot>() + threadIdx.x, blockDim.x, sink);
  const std::int64_t per_block = std::int64_t{blockDim.x} * kElements;
  for (std::int64_t base = blockIdx.x * per_block; base < program.count;
       base += gridDim.x * per_block) {
    interpreter.run(base + threadIdx.x, blockDim.x);
  }
}

template <class Slot, int kElements>
cudaError_t launch_as(const InterpretedProgram& program, unsigned threads, cudaStream_t stream) {
  const std::int64_t per_block = std::int64_t{threads} * kElements;
  const std::int64_t blocks = (program.count + per_block - 1) / per_block;
  constexpr std::int64_t kMost = 1 << 20;
  const std::size_t shared = std::size_t{program.slots} * sizeof(Slot) * threads * kElements;
  return launch(interpret<Slot, kElements>,
                dim3(static_cast<unsigned>(blocks < kMost ? blocks : kMost)), dim3(threads), shared,
                stream, program);
}

template <class Slot>
cudaError_t launch_slots(const InterpretedProgram& program, cudaStream_t stream) {
  const std::size_t bytes = std::size_t{program.slots} * sizeof(Slot) * kInterpreterThreads;
  if constexpr (sizeof(Slot) == 4) {  // wide types are rare, and their code is long
    if (4 * bytes <= kSharedBytes && program.count > 4096) {
      return launch_as<Slot, 4>(program, kInterpreterThreads, stream);
    }
  }
  // A program has at most 80 slots.
  const unsigned threads = bytes <= kSharedBytes ? kInterpreterThreads : kInterpreterThreads / 2;
  return launch_as<Slot, 1>(program, threads, stream);
}

}  // namespace

cudaError_t launch_interpreted(const InterpretedProgram& program, cudaStream_t stream) {
  if (program.count == 0) return cudaSuccess;
  return program.wide_slots != 0 ? launch_slots<unsigned long long>(program, stream)
                                 : launch_slots<unsigned>(program, stream);
}

}  // namespace miniinfer::cuda
