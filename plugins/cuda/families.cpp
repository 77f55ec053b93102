#include "plugins/cuda/family.hpp"
#include "plugins/cuda/kernels/attention.hpp"
#include "plugins/cuda/kernels/contract.hpp"
#include "plugins/cuda/kernels/conv.hpp"
#include "plugins/cuda/kernels/copy.hpp"
#include "plugins/cuda/kernels/cum_sum.hpp"
#include "plugins/cuda/kernels/gather.hpp"
#include "plugins/cuda/kernels/layer_norm.hpp"
#include "plugins/cuda/kernels/non_max_suppression.hpp"
#include "plugins/cuda/kernels/non_zero.hpp"
#include "plugins/cuda/kernels/pointwise.hpp"
#include "plugins/cuda/kernels/reduce.hpp"
#include "plugins/cuda/kernels/resize.hpp"
#include "plugins/cuda/kernels/scatter.hpp"
#include "plugins/cuda/kernels/softmax.hpp"
#include "plugins/cuda/kernels/top_k.hpp"

namespace miniinfer::cuda {

std::span<const Family* const> families() {
  static const Family* const kAll[] = {
      &kAttention, &kContract, &kConv,      &kConvTranspose,     &kCopy,
      &kCumSum,    &kGather,   &kLayerNorm, &kNonMaxSuppression, &kNonZero,
      &kPointwise, &kReduce,   &kResize,    &kScatter,           &kSoftmax,
      &kTopK};
  return kAll;
}

}  // namespace miniinfer::cuda
