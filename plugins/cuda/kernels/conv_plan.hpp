#pragma once

#include <memory>
#include <mutex>

#include "plugins/cuda/device.hpp"
#include "plugins/cuda/kernels/conv_launch.hpp"
#include "plugins/cuda/kernels/cudnn_graph.hpp"

namespace miniinfer::cuda {

// cuDNN's way of computing a convolution, with what follows it where an engine does that too.
// Shared by all kernels of equal shapes.
class ConvPlan {
 public:
  ConvPlan(const Cudnn& cudnn, std::shared_ptr<const graph::Engines> engines,
           std::unique_ptr<graph::Plan> plan, bool fused, bool reads_output);

  // Bias, residual and clip are part of the plan; otherwise the caller's.
  bool is_fused() const { return fused_; }
  // The operands' addresses are multiples of graph::kAlignment. [any-thread]
  void execute(cudnnHandle_t handle, const ConvArgs& args, void* workspace) const;

 private:
  const Cudnn& cudnn_;
  std::shared_ptr<const graph::Engines> engines_;
  std::unique_ptr<graph::Plan> plan_;
  bool fused_;
  bool reads_output_;         // the sum's place is taken by the output, multiplied by nothing
  mutable std::mutex mutex_;  // not all engines let a plan run on two threads at once
};

// The plan for a problem, of which only the shape, the clip, and whether there are a bias and a
// residual matter; null where no engine serves it. Those used last are kept while the device is
// open. The one that was measured to be fastest, should that be known or wanted (tuning.hpp), and
// otherwise the one cuDNN recommends. The device is current. Throws where cuDNN is missing.
std::shared_ptr<const ConvPlan> find_conv_plan(Device& device, const ConvArgs& args,
                                               std::uint32_t math, std::uint64_t workspace_bytes);

}  // namespace miniinfer::cuda
