#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace miniinfer::cuda {

// A row is a class of a batch.
struct NonMaxSuppression {
  std::int64_t batches;
  std::int64_t classes;
  std::int64_t boxes;  // of a batch
  std::int64_t room;   // rows of the output, at most
  std::int64_t max_per_class;
  float iou_threshold;
  float score_threshold;
  bool any_score;  // no threshold: -infinity may be chosen, too
  bool center_point;

  std::int64_t rows() const { return batches * classes; }
};

// Boxes whose marks fit into a block's shared memory, a bit each.
inline constexpr std::int64_t kMostBoxes = 256 * 1024;

// Scratch, for all rows: `order` has each row's boxes by falling score, and keeps those that are
// chosen; `corners` has room for a box each; `counts` for a number a row.
struct NonMaxScratch {
  std::int64_t* order;
  float4* corners;
  std::int64_t* counts;
};

// `count` may be null.
cudaError_t launch_non_max_suppression(const NonMaxSuppression& args, const float* boxes,
                                       const float* scores, const NonMaxScratch& scratch,
                                       std::int64_t* out, std::int64_t* count, cudaStream_t stream);

}  // namespace miniinfer::cuda
