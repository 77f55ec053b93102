#include "plugins/cuda/kernels/conv_plan.hpp"

#include <map>
#include <string>
#include <unordered_map>
#include <utility>

#include "miniinfer/abi/op.h"
#include "miniinfer/sdk/host.hpp"
#include "plugins/cuda/kernels/conv_graph.hpp"

namespace miniinfer::cuda {
namespace {

// One handle for each device, for finding plans; streams have their own. It lives as long as the
// library does. Under the cache's lock.
cudnnHandle_t planning_handle(const Cudnn& cudnn, int device) {
  static auto& handles = *new std::map<int, cudnnHandle_t>;
  cudnnHandle_t& handle = handles[device];
  if (handle == nullptr) graph::check(cudnn, cudnn.cudnnCreate(&handle), "cudnnCreate");
  return handle;
}

// "1x64x56x56 and 64x64x3x3"
std::string text_of(const ConvProblem& problem) {
  std::string text;
  for (const auto* dims : {problem.x_dims, problem.w_dims}) {
    if (!text.empty()) text += " and ";
    for (int axis = 0; axis < problem.rank; ++axis) {
      text += (axis == 0 ? "" : "x") + std::to_string(dims[axis]);
    }
  }
  return text;
}

constexpr const char* kForms[] = {"alone", "with what follows", "with what follows and a zero sum"};

std::shared_ptr<const ConvPlan> search(const Cudnn& cudnn, const ConvProblem& problem) {
  const cudnnHandle_t handle = planning_handle(cudnn, problem.device);
  const bool follows = problem.bias != 0 || problem.residual != 0 || conv_clips(problem);
  // cuDNN's ReLU begins at 0.
  const bool fusible = !conv_clips(problem) || problem.low == 0;
  struct Attempt {
    ConvForm form;
    cudnnBackendHeurMode_t mode;
    bool runtime_compiled;
    bool wanted;
  };
  // What the heuristics recommend comes before what merely works: the fallback engine of a fused
  // graph was seen to take fifty times as long as a recommended one and a pass of ours.
  const bool fused = follows && fusible;
  const bool fused_zero = problem.bias != 0 && problem.residual == 0 && fusible;
  const Attempt attempts[] = {
      {ConvForm::kFused, CUDNN_HEUR_MODE_A, false, fused},
      {ConvForm::kFusedZero, CUDNN_HEUR_MODE_A, false, fused_zero},
      {ConvForm::kPlain, CUDNN_HEUR_MODE_A, false, true},
      {ConvForm::kPlain, CUDNN_HEUR_MODE_FALLBACK, false, true},
      {ConvForm::kPlain, CUDNN_HEUR_MODE_A, true, true},
      {ConvForm::kPlain, CUDNN_HEUR_MODE_FALLBACK, true, true},
  };
  std::string why = "no engine";
  for (const Attempt& attempt : attempts) {
    if (!attempt.wanted) continue;
    graph::EngineRules rules;
    rules.tensor_cores =
        problem.dtype != MINIINFER_FLOAT32 || (problem.math & MINIINFER_MATH_TF32) != 0;
    rules.winograd = (problem.math & MINIINFER_MATH_WINOGRAD) != 0;
    rules.runtime_compiled = attempt.runtime_compiled;
    rules.workspace_bytes = problem.workspace_bytes;
    try {
      auto engines = ConvGraphBuilder(cudnn, problem).build(handle, attempt.form);
      auto plan = engines->find_plan(attempt.mode, rules);
      if (plan == nullptr) continue;
      sdk::log(
          MINIINFER_LOG_DEBUG, "cuDNN convolution of %s: %s%s, %lld bytes of workspace",
          text_of(problem).c_str(), kForms[static_cast<int>(attempt.form)],
          attempt.runtime_compiled ? ", compiled at run time" : "",
          static_cast<long long>(plan->plan.get_int64(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)));
      return std::make_shared<ConvPlan>(cudnn, std::move(engines), std::move(plan),
                                        attempt.form != ConvForm::kPlain || !follows,
                                        attempt.form == ConvForm::kFusedZero);
    } catch (const sdk::Error& error) {
      // A graph that cuDNN does not take is no failure while there are other ways.
      if (error.code() != MINIINFER_UNSUPPORTED && error.code() != MINIINFER_INTERNAL) throw;
      why = error.what();
    }
  }
  sdk::log(MINIINFER_LOG_INFO, "cuDNN has no plan for a convolution of %s: %s",
           text_of(problem).c_str(), why.c_str());
  return nullptr;
}

}  // namespace

ConvPlan::ConvPlan(const Cudnn& cudnn, std::unique_ptr<graph::Engines> engines,
                   std::unique_ptr<graph::Plan> plan, bool fused, bool reads_output)
    : cudnn_(cudnn),
      engines_(std::move(engines)),
      plan_(std::move(plan)),
      fused_(fused),
      reads_output_(reads_output) {}

void ConvPlan::execute(cudnnHandle_t handle, const ConvArgs& args, void* workspace) const {
  std::int64_t uids[] = {kX, kW, kY, 0, 0};
  void* pointers[] = {const_cast<void*>(args.x), const_cast<void*>(args.w), args.y, nullptr,
                      nullptr};
  std::size_t count = 3;
  const auto bind = [&](std::int64_t uid, const void* pointer) {
    if (!fused_ || pointer == nullptr) return;
    uids[count] = uid;
    pointers[count++] = const_cast<void*>(pointer);
  };
  bind(kBias, args.bias);
  bind(kResidual, reads_output_ ? args.y : args.residual);
  const std::lock_guard lock(mutex_);
  graph::execute(cudnn_, handle, *plan_, {uids, count}, {pointers, count}, workspace);
}

std::shared_ptr<const ConvPlan> find_conv_plan(Device& device, const ConvArgs& args,
                                               std::uint32_t math, std::uint64_t workspace_bytes) {
  const Cudnn& cudnn = device.libraries().cudnn();
  ConvProblem problem;
  if (!describe_conv(device.index(), args, math, workspace_bytes, problem)) return nullptr;
  static std::mutex mutex;
  static auto& plans = *new std::unordered_map<std::string, std::shared_ptr<const ConvPlan>>;
  const std::string key(reinterpret_cast<const char*>(&problem), sizeof problem);
  const std::lock_guard lock(mutex);
  const auto found = plans.find(key);
  if (found != plans.end()) return found->second;
  return plans.emplace(key, search(cudnn, problem)).first->second;
}

}  // namespace miniinfer::cuda
