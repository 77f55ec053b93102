#include "plugins/cuda/kernels/conv_plan.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "miniinfer/abi/op.h"
#include "miniinfer/sdk/host.hpp"
#include "plugins/cuda/bench.hpp"
#include "plugins/cuda/check.hpp"
#include "plugins/cuda/findings.hpp"
#include "plugins/cuda/kernels/conv_finish.hpp"
#include "plugins/cuda/kernels/conv_graph.hpp"
#include "plugins/cuda/kernels/tuning.hpp"

namespace miniinfer::cuda {
namespace {

// One handle for each device, for finding plans; streams have their own. It lives as long as the
// library does. Under the findings' lock.
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

// Where plans are looked for. What the heuristics recommend comes before what merely works: the
// fallback engine of a fused graph was seen to take fifty times as long as a recommended one and a
// pass of ours.
struct Attempt {
  const char* name;
  ConvForm form;
  cudnnBackendHeurMode_t mode;
  bool runtime_compiled;
};
constexpr Attempt kAttempts[] = {
    {"fused", ConvForm::kFused, CUDNN_HEUR_MODE_A, false},
    {"fused with a zero sum", ConvForm::kFusedZero, CUDNN_HEUR_MODE_A, false},
    {"alone", ConvForm::kPlain, CUDNN_HEUR_MODE_A, false},
    {"alone, fallback", ConvForm::kPlain, CUDNN_HEUR_MODE_FALLBACK, false},
    {"alone, compiled", ConvForm::kPlain, CUDNN_HEUR_MODE_A, true},
    {"alone, fallback, compiled", ConvForm::kPlain, CUDNN_HEUR_MODE_FALLBACK, true},
};
constexpr std::size_t kRecommended = 3;   // the attempts that are worth measuring
constexpr std::size_t kMostMeasured = 8;  // of each

struct Found {
  std::shared_ptr<const ConvPlan> plan;
  std::string name;  // "fused 2:17:4096"
  std::int64_t workspace_bytes;
};

class Search {
 public:
  Search(Device& device, const Cudnn& cudnn, const ConvProblem& problem, const ConvArgs& args)
      : device_(device),
        cudnn_(cudnn),
        problem_(problem),
        args_(args),
        handle_(planning_handle(cudnn, problem.device)) {
    rules_.tensor_cores =
        problem.dtype != MINIINFER_FLOAT32 || (problem.math & MINIINFER_MATH_TF32) != 0;
    rules_.winograd = (problem.math & MINIINFER_MATH_WINOGRAD) != 0;
    rules_.workspace_bytes = problem.workspace_bytes;
  }

  std::shared_ptr<const ConvPlan> run() {
    const Fastest fastest(device_, subject());
    if (auto plan = named(fastest.recall())) return plan;
    if (tuning_wanted()) {
      if (auto found = measured()) {
        fastest.remember(found->name);
        return found->plan;
      }
    }
    return first();
  }

 private:
  bool follows() const {
    return problem_.bias != 0 || problem_.residual != 0 || conv_clips(problem_);
  }

  bool is_wanted(const Attempt& attempt) const {
    // cuDNN's ReLU begins at 0.
    const bool fusible = !conv_clips(problem_) || problem_.low == 0;
    switch (attempt.form) {
      case ConvForm::kFused:
        return follows() && fusible;
      case ConvForm::kFusedZero:
        return problem_.bias != 0 && problem_.residual == 0 && fusible;
      default:
        return true;
    }
  }

  // Calls find(engines, rules) for what gives plans, and makes them complete. A graph that cuDNN
  // does not take is no failure while there are other ways.
  template <class Find>
  std::vector<Found> collect(const Attempt& attempt, Find&& find) {
    std::vector<Found> result;
    if (!is_wanted(attempt)) return result;
    graph::EngineRules rules = rules_;
    rules.runtime_compiled = attempt.runtime_compiled;
    try {
      const std::shared_ptr<const graph::Engines> engines =
          ConvGraphBuilder(cudnn_, problem_).build(handle_, attempt.form);
      for (std::unique_ptr<graph::Plan>& plan : find(*engines, rules)) {
        if (plan == nullptr) continue;
        const std::int64_t bytes = plan->workspace_bytes;
        std::string name = std::string(attempt.name) + " " + plan->name;
        const bool fused = attempt.form != ConvForm::kPlain || !follows();
        result.push_back({keep(new ConvPlan(cudnn_, engines, std::move(plan), fused,
                                            attempt.form == ConvForm::kFusedZero)),
                          std::move(name), bytes});
      }
    } catch (const sdk::Error& error) {
      if (error.code() != MINIINFER_UNSUPPORTED && error.code() != MINIINFER_INTERNAL) throw;
      why_ = error.what();
    }
    return result;
  }

  std::vector<Found> recommended(const Attempt& attempt, std::size_t most) {
    return collect(attempt, [&](const graph::Engines& engines, const graph::EngineRules& rules) {
      return engines.find_plans(attempt.mode, rules, most);
    });
  }

  // At exit cuDNN goes before we do: its plans are then left behind.
  std::shared_ptr<const ConvPlan> keep(const ConvPlan* plan) const {
    return {plan, [device = &device_](const ConvPlan* made) {
              if (device->reachable()) delete made;
            }};
  }

  std::shared_ptr<const ConvPlan> named(const std::string& name) {
    for (const Attempt& attempt : kAttempts) {
      const std::string begin = std::string(attempt.name) + " ";
      if (!name.starts_with(begin)) continue;
      std::vector<Found> found =
          collect(attempt, [&](const graph::Engines& engines, const graph::EngineRules& rules) {
            std::vector<std::unique_ptr<graph::Plan>> one;
            one.push_back(engines.find_plan(attempt.mode, rules, name.substr(begin.size())));
            return one;
          });
      if (!found.empty()) return chosen(found.front(), "measured before");
    }
    return nullptr;
  }

  std::shared_ptr<const ConvPlan> first() {
    for (const Attempt& attempt : kAttempts) {
      std::vector<Found> found = recommended(attempt, 1);
      if (!found.empty()) return chosen(found.front(), "recommended");
    }
    sdk::log(MINIINFER_LOG_INFO, "cuDNN has no plan for a convolution of %s: %s",
             text_of(problem_).c_str(), why_.c_str());
    return nullptr;
  }

  std::optional<Found> measured() {
    std::vector<Found> all;
    for (std::size_t i = 0; i < kRecommended; ++i) {
      for (Found& each : recommended(kAttempts[i], kMostMeasured)) all.push_back(std::move(each));
    }
    if (all.size() < 2) return std::nullopt;
    try {
      const auto best = measure(all);
      if (!best) return std::nullopt;
      chosen(all[*best], "measured");
      return all[*best];
    } catch (const sdk::Error& error) {
      if (error.code() != MINIINFER_OUT_OF_MEMORY) throw;
      sdk::log(MINIINFER_LOG_INFO, "a convolution of %s is not measured: %s",
               text_of(problem_).c_str(), error.what());
      return std::nullopt;
    }
  }

  std::optional<std::size_t> measure(const std::vector<Found>& all) {
    Bench bench(device_);
    Trial trial;
    trial.dtype = problem_.dtype;
    trial.math = problem_.math;
    const std::vector<std::byte> numbers = tuning_numbers(trial.dtype);
    const auto bytes = [&](const std::int64_t(&dims)[5]) {
      std::uint64_t count = sdk::element_bytes(trial.dtype);
      for (int axis = 0; axis < problem_.rank; ++axis) {
        count *= static_cast<std::uint64_t>(dims[axis]);
      }
      return count;
    };
    trial.out_bytes = bytes(problem_.y_dims);
    trial.out = bench.take(trial.out_bytes, numbers);
    ConvArgs args = args_;
    args.x = bench.take(bytes(problem_.x_dims), numbers);
    args.w = bench.take(bytes(problem_.w_dims), numbers);
    args.y = trial.out;
    if (args.bias != nullptr) {
      const auto channels = static_cast<std::uint64_t>(problem_.y_dims[1]);
      args.bias = bench.take(channels * sdk::element_bytes(trial.dtype), numbers);
    }
    if (args.residual != nullptr) args.residual = bench.take(trial.out_bytes, numbers);
    std::int64_t most = 0;
    for (const Found& each : all) most = std::max(most, each.workspace_bytes);
    std::byte* const workspace = bench.take(static_cast<std::uint64_t>(most), numbers);

    struct OnStream {  // the planning handle, for a while
      OnStream(const Cudnn& cudnn, cudnnHandle_t handle, cudaStream_t stream)
          : cudnn(cudnn), handle(handle) {
        graph::check(cudnn, cudnn.cudnnSetStream(handle, stream), "cudnnSetStream");
      }
      ~OnStream() { cudnn.cudnnSetStream(handle, nullptr); }
      const Cudnn& cudnn;
      cudnnHandle_t handle;
    };
    const OnStream on(cudnn_, handle_, bench.stream());
    trial.problem = "a convolution of " + text_of(problem_);
    trial.ways = all.size();
    trial.run = [&](std::size_t way) {
      all[way].plan->execute(handle_, args, workspace);
      if (!all[way].plan->is_fused()) CUDA_CHECK_THROW(finish_conv(args, bench.stream()));
    };
    return find_fastest(device_, bench, trial);
  }

  std::shared_ptr<const ConvPlan> chosen(const Found& found, const char* how) const {
    sdk::log(MINIINFER_LOG_DEBUG, "cuDNN convolution of %s: %s, %s, %lld bytes of workspace",
             text_of(problem_).c_str(), how, found.name.c_str(),
             static_cast<long long>(found.workspace_bytes));
    return found.plan;
  }

  // The problem without the device's number, and what it is asked of.
  std::string subject() const {
    const ConvProblem& p = problem_;
    std::string text = sdk::format("cuDNN %zu %s", cudnn_.cudnnGetVersion(),
                                   p.transpose != 0 ? "conv_transpose" : "conv");
    const auto add = [&](std::span<const std::int64_t> values) {
      for (const std::int64_t value : values) {
        text += sdk::format(" %lld", static_cast<long long>(value));
      }
      text += ',';
    };
    for (const auto* five :
         {&p.x_dims, &p.w_dims, &p.y_dims, &p.x_strides, &p.w_strides, &p.y_strides}) {
      add(*five);
    }
    for (const auto* three : {&p.stride, &p.dilation, &p.pad_begin, &p.pad_end}) add(*three);
    return text + sdk::format(" rank %d dtype %d math %u bias %d residual %d clip %a %a room %lld",
                              p.rank, p.dtype, p.math, p.bias, p.residual, p.low, p.high,
                              static_cast<long long>(p.workspace_bytes));
  }

  Device& device_;
  const Cudnn& cudnn_;
  const ConvProblem& problem_;
  const ConvArgs& args_;
  cudnnHandle_t handle_;
  graph::EngineRules rules_;
  std::string why_ = "no engine";
};

}  // namespace

ConvPlan::ConvPlan(const Cudnn& cudnn, std::shared_ptr<const graph::Engines> engines,
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
  // A plan that was recommended is no answer to who wants it measured.
  const std::string key(reinterpret_cast<const char*>(&problem), sizeof problem);
  const std::string asked = key + (tuning_wanted() ? "measured" : "");
  Findings& findings = device.findings();
  const std::lock_guard lock(findings.mutex);
  if (const auto* known = findings.conv_plans.find(asked)) return *known;
  auto plan = Search(device, cudnn, problem, args).run();
  findings.conv_plans.add(asked, plan);
  return plan;
}

}  // namespace miniinfer::cuda
