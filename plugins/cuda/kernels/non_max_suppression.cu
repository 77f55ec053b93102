// non_max_suppression/1 in three launches, after the scores were sorted: a block goes down each
// class's boxes, and all its threads strike out what the box just chosen overlaps; the chosen ones
// are counted; and written side by side. Bound by one pass over a class's boxes for each chosen
// one.

#include "plugins/cuda/kernels/block_scan.cuh"
#include "plugins/cuda/kernels/non_max_suppression_launch.hpp"

namespace miniinfer::cuda {
namespace {

constexpr unsigned kRowThreads = 1024;

// Rounded, whatever the compiler makes of sums: the choice must be the other backends' choice.
__device__ __forceinline__ float product(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}

// (x0, y0) and (x1, y1).
__device__ float4 corners_of(const float* box, bool center_point) {
  if (center_point) {
    return make_float4(box[0] - box[2] / 2, box[1] - box[3] / 2, box[0] + box[2] / 2,
                       box[1] + box[3] / 2);
  }
  // Either pair of diagonal corners may be given.
  return make_float4(fminf(box[1], box[3]), fminf(box[0], box[2]), fmaxf(box[1], box[3]),
                     fmaxf(box[0], box[2]));
}

__device__ __forceinline__ float area_of(float4 a) { return product(a.z - a.x, a.w - a.y); }

__device__ bool overlap(float4 a, float4 b, float threshold) {
  const float width = fminf(a.z, b.z) - fmaxf(a.x, b.x);
  const float height = fminf(a.w, b.w) - fmaxf(a.y, b.y);
  if (!(width > 0) || !(height > 0)) return false;
  const float both = product(width, height);
  const float area_a = area_of(a), area_b = area_of(b);
  const float all = area_a + area_b - both;
  if (!(area_a > 0) || !(area_b > 0) || !(all > 0)) return false;
  return both / all > threshold;
}

// The first mark at or after `from`, or `end`. By a whole warp.
__device__ std::int64_t next_mark(const unsigned* marks, std::int64_t from, std::int64_t end) {
  const std::int64_t words = (end + 31) / 32;
  for (std::int64_t word = from / 32; word < words; word += 32) {
    const std::int64_t mine = word + threadIdx.x % 32;
    unsigned bits = mine < words ? marks[mine] : 0;
    if (mine == from / 32) bits &= ~0u << (from % 32);
    const unsigned lanes = __ballot_sync(~0u, bits != 0);
    if (lanes == 0) continue;
    const int lane = __ffs(static_cast<int>(lanes)) - 1;
    bits = __shfl_sync(~0u, bits, lane);
    return (word + lane) * 32 + __ffs(static_cast<int>(bits)) - 1;
  }
  return end;
}

__global__ void __launch_bounds__(kRowThreads)
    choose(NonMaxSuppression args, const float* boxes, const float* scores, NonMaxScratch scratch) {
  auto* marks = dynamic_shared<unsigned>();  // bit i: the i-th box by score is still in
  __shared__ std::int64_t next;
  const std::int64_t row = blockIdx.x;
  const std::int64_t n = args.boxes;
  boxes += row / args.classes * n * 4;
  scores += row * n;
  std::int64_t* order = scratch.order + row * n;
  float4* corners = scratch.corners + row * n;
  const std::int64_t padded = (n + 31) / 32 * 32;
  for (std::int64_t i = threadIdx.x; i < padded; i += blockDim.x) {  // whole warps
    bool in = false;
    if (i < n) {
      const float score = scores[order[i]];
      in = args.any_score ? score == score : score > args.score_threshold;
      corners[i] = corners_of(boxes + order[i] * 4, args.center_point);
    }
    const unsigned word = __ballot_sync(~0u, in);
    if (i % 32 == 0) marks[i / 32] = word;
  }
  __syncthreads();
  std::int64_t chosen = 0;
  std::int64_t from = 0;
  while (chosen < args.max_per_class && chosen < args.room) {
    if (threadIdx.x < 32) {
      const std::int64_t found = next_mark(marks, from, n);
      if (threadIdx.x == 0) next = found;
    }
    __syncthreads();
    const std::int64_t i = next;
    if (i >= n) break;
    if (threadIdx.x == 0) order[chosen] = order[i];  // no later box is read from there
    ++chosen;
    from = i + 1;
    const float4 box = corners[i];
    const std::int64_t first = from / 32 * 32 + threadIdx.x;
    for (std::int64_t j = first; j < padded; j += blockDim.x) {  // whole warps
      const unsigned word = marks[j / 32];
      if (word == 0) continue;
      const bool strike =
          j >= from && (word >> (j % 32) & 1) != 0 && overlap(box, corners[j], args.iou_threshold);
      const unsigned struck = __ballot_sync(~0u, strike);
      __syncwarp();
      if (j % 32 == 0 && struck != 0) marks[j / 32] = word & ~struck;
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) scratch.counts[row] = chosen;
}

__global__ void __launch_bounds__(kThreads)
    put_chosen(NonMaxSuppression args, NonMaxScratch scratch, std::int64_t* out) {
  const std::int64_t row = blockIdx.x;
  const std::int64_t before = scratch.counts[row];
  const std::int64_t chosen = scratch.counts[row + 1] - before;
  for (std::int64_t i = threadIdx.x; i < chosen && before + i < args.room; i += blockDim.x) {
    std::int64_t* to = out + (before + i) * 3;
    to[0] = row / args.classes;
    to[1] = row % args.classes;
    to[2] = scratch.order[row * args.boxes + i];
  }
}

}  // namespace

cudaError_t launch_non_max_suppression(const NonMaxSuppression& args, const float* boxes,
                                       const float* scores, const NonMaxScratch& scratch,
                                       std::int64_t* out, std::int64_t* count,
                                       cudaStream_t stream) {
  const std::int64_t rows = args.boxes > 0 ? args.rows() : 0;
  const auto blocks = static_cast<unsigned>(rows);
  const auto shared = static_cast<std::size_t>((args.boxes + 31) / 32) * sizeof(unsigned);
  if (rows > 0) {
    const cudaError_t error =
        launch(choose, blocks, kRowThreads, shared, stream, args, boxes, scores, scratch);
    if (error != cudaSuccess) return error;
  }
  const cudaError_t error =
      launch(scan_counts, 1, 1024, 0, stream, scratch.counts, rows, args.room, count);
  if (error != cudaSuccess || rows == 0) return error;
  return launch(put_chosen, blocks, kThreads, 0, stream, args, scratch, out);
}

}  // namespace miniinfer::cuda
