#include "plugins/cuda/kernels/cudnn_graph.hpp"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "miniinfer/sdk/error.hpp"

namespace miniinfer::cuda::graph {

namespace {

bool allows(const Descriptor& engine, const EngineRules& rules) {
  for (const auto note :
       engine.get_list<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE)) {
    switch (note) {
      case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
        if (!rules.tensor_cores) return false;
        break;
      case CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP:
        break;
      case CUDNN_NUMERICAL_NOTE_FFT:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13:
        if (!rules.winograd) return false;
        break;
      default:  // inputs cut down, sums in a narrow type, not the same bits each time
        return false;
    }
  }
  for (const auto note :
       engine.get_list<cudnnBackendBehaviorNote_t>(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE)) {
    if (note == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION && !rules.runtime_compiled) return false;
    if (note == CUDNN_BEHAVIOR_NOTE_REQUIRES_FILTER_INT8x32_REORDER ||
        note == CUDNN_BEHAVIOR_NOTE_REQUIRES_BIAS_INT8x32_REORDER) {
      return false;
    }
  }
  return true;
}

}  // namespace

void check(const Cudnn& cudnn, cudnnStatus_t status, const std::string& call) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char text[512] = "";
  cudnn.cudnnGetLastErrorString(text, sizeof text);
  const int category = CUDNN_STATUS_CATEGORY(static_cast<int>(status));
  const bool no_memory = status == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED ||
                         status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED;
  sdk::fail(no_memory                                ? MINIINFER_OUT_OF_MEMORY
            : category == CUDNN_STATUS_NOT_SUPPORTED ? MINIINFER_UNSUPPORTED
                                                     : MINIINFER_INTERNAL,
            "%s: %s: %s", call.c_str(), cudnn.cudnnGetErrorString(status), text);
}

Descriptor::Descriptor(const Cudnn& cudnn, cudnnBackendDescriptorType_t type, const char* name)
    : cudnn_(cudnn), name_(name) {
  check(cudnn_, cudnn_.cudnnBackendCreateDescriptor(type, &descriptor_),
        std::string("cudnnBackendCreateDescriptor of ") + name);
}

Descriptor::~Descriptor() {
  if (descriptor_ != nullptr) cudnn_.cudnnBackendDestroyDescriptor(descriptor_);
}

Descriptor::Descriptor(Descriptor&& other) noexcept
    : cudnn_(other.cudnn_),
      descriptor_(std::exchange(other.descriptor_, nullptr)),
      name_(other.name_) {}

void Descriptor::set_raw(cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type,
                         std::int64_t count, const void* values) {
  const cudnnStatus_t status =
      cudnn_.cudnnBackendSetAttribute(descriptor_, attribute, type, count, values);
  if (status == CUDNN_STATUS_SUCCESS) return;
  check(cudnn_, status,
        sdk::format("cudnnBackendSetAttribute of %s, attribute %d, %lld values of type %d", name_,
                    static_cast<int>(attribute), static_cast<long long>(count),
                    static_cast<int>(type)));
}

void Descriptor::set_descriptor(cudnnBackendAttributeName_t attribute, const Descriptor& other) {
  const cudnnBackendDescriptor_t raw = other.get();
  set_descriptors(attribute, {&raw, 1});
}

void Descriptor::set_descriptors(cudnnBackendAttributeName_t attribute,
                                 std::span<const cudnnBackendDescriptor_t> others) {
  set_raw(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<std::int64_t>(others.size()),
          others.data());
}

void Descriptor::finish() {
  check(cudnn_, try_finish(), std::string("cudnnBackendFinalize of ") + name_);
}

std::int64_t Descriptor::get_int64(cudnnBackendAttributeName_t attribute) const {
  std::int64_t value = 0, count = 0;
  check(
      cudnn_,
      cudnn_.cudnnBackendGetAttribute(descriptor_, attribute, CUDNN_TYPE_INT64, 1, &count, &value),
      sdk::format("cudnnBackendGetAttribute of %s, attribute %d", name_,
                  static_cast<int>(attribute)));
  return value;
}

Descriptor make_tensor(const Cudnn& cudnn, const Tensor& tensor) {
  Descriptor descriptor(cudnn, CUDNN_BACKEND_TENSOR_DESCRIPTOR, "a tensor");
  descriptor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, tensor.type);
  descriptor.set(CUDNN_ATTR_TENSOR_DIMENSIONS, tensor.dims);
  descriptor.set(CUDNN_ATTR_TENSOR_STRIDES, tensor.strides);
  descriptor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, tensor.uid);
  descriptor.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, kAlignment);
  if (tensor.is_virtual) descriptor.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, true);
  descriptor.finish();
  return descriptor;
}

Engines::Engines(const Cudnn& cudnn, cudnnHandle_t handle, std::vector<Descriptor> parts,
                 std::vector<cudnnBackendDescriptor_t> operations)
    : cudnn_(cudnn),
      parts_(std::move(parts)),
      graph_(cudnn, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, "an operation graph") {
  graph_.set_descriptors(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations);
  graph_.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, handle);
  graph_.finish();
}

std::unique_ptr<Plan> Engines::make_plan(Descriptor config, const EngineRules& rules,
                                         std::size_t place) const {
  const Descriptor engine(cudnn_, CUDNN_BACKEND_ENGINE_DESCRIPTOR, "an engine");
  cudnnBackendDescriptor_t raw = engine.get();
  std::int64_t count = 0;
  if (cudnn_.cudnnBackendGetAttribute(config.get(), CUDNN_ATTR_ENGINECFG_ENGINE,
                                      CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count,
                                      &raw) != CUDNN_STATUS_SUCCESS ||
      !allows(engine, rules)) {
    return nullptr;
  }
  Descriptor plan(cudnn_, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, "an execution plan");
  plan.set_descriptor(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
  // Lists name engines that then refuse the shape.
  if (plan.try_finish() != CUDNN_STATUS_SUCCESS) return nullptr;
  const std::int64_t workspace = plan.get_int64(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
  if (workspace > rules.workspace_bytes) return nullptr;
  std::string name =
      sdk::format("%zu:%lld:%lld", place,
                  static_cast<long long>(engine.get_int64(CUDNN_ATTR_ENGINE_GLOBAL_INDEX)),
                  static_cast<long long>(workspace));
  return std::make_unique<Plan>(
      Plan{std::move(config), std::move(plan), workspace, std::move(name)});
}

std::vector<Descriptor> Engines::list(cudnnBackendHeurMode_t mode) const {
  Descriptor heuristics(cudnn_, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, "the heuristics");
  heuristics.set_descriptor(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph_);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, mode);
  if (heuristics.try_finish() != CUDNN_STATUS_SUCCESS) return {};
  std::int64_t count = 0;
  if (cudnn_.cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                      CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count,
                                      nullptr) != CUDNN_STATUS_SUCCESS ||
      count <= 0) {
    return {};
  }
  std::vector<Descriptor> configs;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (std::int64_t i = 0; i < count; ++i) {
    configs.emplace_back(cudnn_, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, "an engine's configuration");
    raw.push_back(configs.back().get());
  }
  if (cudnn_.cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                      CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &count,
                                      raw.data()) != CUDNN_STATUS_SUCCESS) {
    return {};
  }
  while (configs.size() > static_cast<std::size_t>(std::max<std::int64_t>(count, 0))) {
    configs.pop_back();
  }
  return configs;
}

std::vector<std::unique_ptr<Plan>> Engines::find_plans(cudnnBackendHeurMode_t mode,
                                                       const EngineRules& rules,
                                                       std::size_t most) const {
  std::vector<std::unique_ptr<Plan>> plans;
  std::vector<Descriptor> configs = list(mode);
  for (std::size_t i = 0; i < configs.size() && plans.size() < most; ++i) {
    auto plan = make_plan(std::move(configs[i]), rules, i);
    if (plan != nullptr) plans.push_back(std::move(plan));
  }
  return plans;
}

std::unique_ptr<Plan> Engines::find_plan(cudnnBackendHeurMode_t mode, const EngineRules& rules,
                                         const std::string& name) const {
  std::vector<Descriptor> configs = list(mode);
  const std::size_t place = std::strtoull(name.c_str(), nullptr, 10);
  if (place >= configs.size()) return nullptr;
  auto plan = make_plan(std::move(configs[place]), rules, place);
  return plan != nullptr && plan->name == name ? std::move(plan) : nullptr;
}

void execute(const Cudnn& cudnn, cudnnHandle_t handle, const Plan& plan,
             std::span<const std::int64_t> uids, std::span<void* const> pointers, void* workspace) {
  Descriptor pack(cudnn, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, "a variant pack");
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, uids);
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, pointers);
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, workspace);
  pack.finish();
  check(cudnn, cudnn.cudnnBackendExecute(handle, plan.plan.get(), pack.get()),
        "cudnnBackendExecute");
}

}  // namespace miniinfer::cuda::graph
