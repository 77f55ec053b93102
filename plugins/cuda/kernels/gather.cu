#include "plugins/cuda/kernels/gather_copy.cuh"

namespace miniinfer::cuda {
namespace {

template <class Index, class Word>
__global__ void __launch_bounds__(kThreads)
    gather(GatherWalk walk, WordOf<Index> words, std::int64_t total, const Word* data,
           const void* indices, Word* out, FaultAt fault) {
  for (std::int64_t i = first_item(); i < total; i += item_step()) {
    Index position, word;
    words.split(static_cast<Index>(i), &position, &word);
    IndexFault wrong;
    const std::int64_t place = gather_place(walk, position, indices, &wrong);
    if (place < 0) {
      report_fault(fault.to, MINIINFER_FAULT_INDEX, fault.step, wrong.index, wrong.size);
      out[i] = Word{};
      continue;
    }
    out[i] = data[static_cast<Index>(place) * static_cast<Index>(words.words) + word];
  }
}

}  // namespace

cudaError_t launch_gather(const GatherWalk& walk, std::int64_t element_bytes, const void* data,
                          const void* indices, void* out, FaultAt fault, cudaStream_t stream) {
  const std::int64_t bytes = walk.run * element_bytes;
  if (walk.positions == 0 || bytes == 0) return cudaSuccess;
  const std::int64_t word = word_bytes(bytes, data, out);
  const std::int64_t words = bytes / word;
  const std::int64_t total = walk.positions * words;
  return with_word(word, [&](auto tag) {
    using Word = typename decltype(tag)::Storage;
    return with_index(largest_count(walk, words), [&](auto index) {
      using Index = decltype(index);
      return launch(gather<Index, Word>, grid_for(total), kThreads, 0, stream, walk,
                    WordOf<Index>(words), total, static_cast<const Word*>(data), indices,
                    static_cast<Word*>(out), fault);
    });
  });
}

}  // namespace miniinfer::cuda
