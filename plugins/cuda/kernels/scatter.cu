#include "plugins/cuda/kernels/gather_copy.cuh"
#include "plugins/cuda/kernels/scatter_combine.cuh"
#include "plugins/cuda/kernels/scatter_launch.hpp"

namespace miniinfer::cuda {
namespace {

template <class Index, class Word>
__global__ void __launch_bounds__(kThreads)
    scatter_set(GatherWalk walk, WordOf<Index> words, std::int64_t total, const Word* updates,
                const void* indices, Word* out, FaultAt fault) {
  for (std::int64_t i = first_item(); i < total; i += item_step()) {
    Index position, word;
    words.split(static_cast<Index>(i), &position, &word);
    IndexFault wrong;
    const std::int64_t place = gather_place(walk, position, indices, &wrong);
    if (place < 0) {
      report_fault(fault.to, MINIINFER_FAULT_INDEX, fault.step, wrong.index, wrong.size);
      continue;
    }
    out[static_cast<Index>(place) * static_cast<Index>(words.words) + word] = updates[i];
  }
}

// Which element update `i` meets, or -1 after a fault. Combining is rare and bound by its atomics:
// one kind of index arithmetic is enough.
__device__ __forceinline__ std::int64_t target(const GatherWalk& walk, const void* indices,
                                               std::int64_t i, FaultAt fault) {
  const std::int64_t position = i / walk.run;
  IndexFault wrong;
  const std::int64_t place = gather_place<std::int64_t>(walk, position, indices, &wrong);
  if (place < 0) {
    report_fault(fault.to, MINIINFER_FAULT_INDEX, fault.step, wrong.index, wrong.size);
    return -1;
  }
  return place * walk.run + i - position * walk.run;
}

template <class S>
__global__ void __launch_bounds__(kThreads)
    scatter_atomic(GatherWalk walk, std::int64_t total, int how, const S* updates,
                   const void* indices, S* out, FaultAt fault) {
  for (std::int64_t i = first_item(); i < total; i += item_step()) {
    const std::int64_t at = target(walk, indices, i, fault);
    if (at >= 0) combine_atomically(out + at, updates[i], how);
  }
}

template <class S>
__global__ void __launch_bounds__(kThreads)
    scatter_lines(GatherWalk walk, ScatterLines lines, int how, const S* updates,
                  const void* indices, S* out, FaultAt fault) {
  for (std::int64_t line = first_item(); line < lines.count; line += item_step()) {
    const std::int64_t outer = line / lines.inner;
    std::int64_t i = outer * lines.length * lines.inner + line - outer * lines.inner;
    for (std::int64_t n = 0; n < lines.length; ++n, i += lines.inner) {
      const std::int64_t at = target(walk, indices, i, fault);
      if (at < 0) continue;
      store<S>(out, at, combined(load<S>(out, at), load<S>(updates, i), how));
    }
  }
}

}  // namespace

cudaError_t launch_scatter_set(const Scatter& args, const void* indices, const void* updates,
                               void* out, FaultAt fault, cudaStream_t stream) {
  const std::int64_t bytes = args.walk.run * args.element_bytes;
  if (args.walk.positions == 0 || bytes == 0) return cudaSuccess;
  const std::int64_t word = word_bytes(bytes, updates, out);
  const std::int64_t words = bytes / word;
  const std::int64_t total = args.walk.positions * words;
  return with_word(word, [&](auto tag) {
    using Word = typename decltype(tag)::Storage;
    return with_index(largest_count(args.walk, words), [&](auto index) {
      using Index = decltype(index);
      return launch(scatter_set<Index, Word>, grid_for(total), kThreads, 0, stream, args.walk,
                    WordOf<Index>(words), total, static_cast<const Word*>(updates), indices,
                    static_cast<Word*>(out), fault);
    });
  });
}

cudaError_t launch_scatter_atomic(const Scatter& args, const void* indices, const void* updates,
                                  void* out, FaultAt fault, cudaStream_t stream) {
  const std::int64_t total = args.walk.positions * args.walk.run;
  if (total == 0) return cudaSuccess;
  return with_number(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Storage;
    return launch(scatter_atomic<S>, grid_for(total), kThreads, 0, stream, args.walk, total,
                  args.combine, static_cast<const S*>(updates), indices, static_cast<S*>(out),
                  fault);
  });
}

cudaError_t launch_scatter_lines(const Scatter& args, const void* indices, const void* updates,
                                 void* out, FaultAt fault, cudaStream_t stream) {
  if (args.lines.count == 0 || args.lines.length == 0) return cudaSuccess;
  // Only sums and products of floats depend on their order.
  return with_float(args.dtype, [&](auto tag) {
    using S = typename decltype(tag)::Storage;
    return launch(scatter_lines<S>, grid_for(args.lines.count), kThreads, 0, stream, args.walk,
                  args.lines, args.combine, static_cast<const S*>(updates), indices,
                  static_cast<S*>(out), fault);
  });
}

}  // namespace miniinfer::cuda
