#pragma once

// A thin face of cuDNN's backend interface: descriptors that own themselves, typed attributes, and
// failures that say what was asked and what cuDNN answered.

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "plugins/cuda/cudnn.hpp"

namespace miniinfer::cuda::graph {

// Throws UNSUPPORTED, OUT_OF_MEMORY or INTERNAL, by the status, with "<call>: <status>: <text>".
void check(const Cudnn& cudnn, cudnnStatus_t status, const std::string& call);

// The attribute type of a C++ type.
template <class T>
inline constexpr int kAttributeType = -1;
template <>
inline constexpr int kAttributeType<cudnnHandle_t> = CUDNN_TYPE_HANDLE;
template <>
inline constexpr int kAttributeType<cudnnDataType_t> = CUDNN_TYPE_DATA_TYPE;
template <>
inline constexpr int kAttributeType<bool> = CUDNN_TYPE_BOOLEAN;
template <>
inline constexpr int kAttributeType<std::int64_t> = CUDNN_TYPE_INT64;
template <>
inline constexpr int kAttributeType<float> = CUDNN_TYPE_FLOAT;
template <>
inline constexpr int kAttributeType<double> = CUDNN_TYPE_DOUBLE;
template <>
inline constexpr int kAttributeType<void*> =
    CUDNN_TYPE_VOID_PTR;  // and descriptors: set_descriptor
template <>
inline constexpr int kAttributeType<cudnnConvolutionMode_t> = CUDNN_TYPE_CONVOLUTION_MODE;
template <>
inline constexpr int kAttributeType<cudnnBackendHeurMode_t> = CUDNN_TYPE_HEUR_MODE;
template <>
inline constexpr int kAttributeType<cudnnPointwiseMode_t> = CUDNN_TYPE_POINTWISE_MODE;
template <>
inline constexpr int kAttributeType<cudnnNanPropagation_t> = CUDNN_TYPE_NAN_PROPOGATION;
template <>
inline constexpr int kAttributeType<cudnnBackendNumericalNote_t> = CUDNN_TYPE_NUMERICAL_NOTE;
template <>
inline constexpr int kAttributeType<cudnnBackendBehaviorNote_t> = CUDNN_TYPE_BEHAVIOR_NOTE;

class Descriptor {
 public:
  // `name` is for messages and lives as long as the process.
  Descriptor(const Cudnn& cudnn, cudnnBackendDescriptorType_t type, const char* name);
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&&) = delete;

  cudnnBackendDescriptor_t get() const { return descriptor_; }

  template <class T>
  void set(cudnnBackendAttributeName_t attribute, std::span<const T> values) {
    static_assert(kAttributeType<T> >= 0);
    set_raw(attribute, static_cast<cudnnBackendAttributeType_t>(kAttributeType<T>),
            static_cast<std::int64_t>(values.size()), values.data());
  }
  template <class T>
  void set(cudnnBackendAttributeName_t attribute, T value) {
    set(attribute, std::span<const T>(&value, 1));
  }
  // The other descriptor is finished and lives as long as this one.
  void set_descriptor(cudnnBackendAttributeName_t attribute, const Descriptor& other);
  void set_descriptors(cudnnBackendAttributeName_t attribute,
                       std::span<const cudnnBackendDescriptor_t> others);
  void finish();  // throws
  cudnnStatus_t try_finish() { return cudnn_.cudnnBackendFinalize(descriptor_); }

  std::int64_t get_int64(cudnnBackendAttributeName_t attribute) const;
  // At most 32 of them; what cuDNN does not know of is empty.
  template <class T>
  std::vector<T> get_list(cudnnBackendAttributeName_t attribute) const {
    std::array<T, 32> values{};
    std::int64_t count = 0;
    const cudnnStatus_t status = cudnn_.cudnnBackendGetAttribute(
        descriptor_, attribute, static_cast<cudnnBackendAttributeType_t>(kAttributeType<T>),
        static_cast<std::int64_t>(values.size()), &count, values.data());
    if (status != CUDNN_STATUS_SUCCESS || count <= 0) return {};
    return {values.begin(), values.begin() + std::min<std::int64_t>(count, 32)};
  }

 private:
  void set_raw(cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type,
               std::int64_t count, const void* values);

  const Cudnn& cudnn_;
  cudnnBackendDescriptor_t descriptor_ = nullptr;
  const char* name_;
};

// A tensor of a graph. `uid` is what a run calls it by; a virtual one exists only inside.
struct Tensor {
  std::int64_t uid;
  cudnnDataType_t type;
  std::span<const std::int64_t> dims;
  std::span<const std::int64_t> strides;
  bool is_virtual = false;
};
Descriptor make_tensor(const Cudnn& cudnn, const Tensor& tensor);

// The bytes that every pointer of a run must be a multiple of.
inline constexpr std::int64_t kAlignment = 16;

// Which engines may be taken.
struct EngineRules {
  bool tensor_cores = false;  // on float32: TF32
  bool winograd = false;
  bool runtime_compiled = false;  // costs a compilation of 100 ms and more
  std::int64_t workspace_bytes = 0;
};

// A finished execution plan and the configuration that it refers to.
struct Plan {
  Descriptor config;
  Descriptor plan;
  std::int64_t workspace_bytes;
  std::string name;  // the same for one version of cuDNN, graph and GPU
};

// The ways of running a graph of operations, as heuristics list them; owns the descriptors.
class Engines {
 public:
  // `operations` and whatever they refer to are moved in.
  Engines(const Cudnn& cudnn, cudnnHandle_t handle, std::vector<Descriptor> parts,
          std::vector<cudnnBackendDescriptor_t> operations);

  // The first plans of the mode's list that fit the rules, at most so many. They refer to this
  // object.
  std::vector<std::unique_ptr<Plan>> find_plans(cudnnBackendHeurMode_t mode,
                                                const EngineRules& rules, std::size_t most) const;
  // The plan of that name in the list; null where there is none, or it does not fit the rules.
  std::unique_ptr<Plan> find_plan(cudnnBackendHeurMode_t mode, const EngineRules& rules,
                                  const std::string& name) const;

 private:
  std::vector<Descriptor> list(cudnnBackendHeurMode_t mode) const;
  // Null where the rules, or cuDNN, refuse what is at that place of a list.
  std::unique_ptr<Plan> make_plan(Descriptor config, const EngineRules& rules,
                                  std::size_t place) const;

  const Cudnn& cudnn_;
  std::vector<Descriptor> parts_;
  Descriptor graph_;
};

// Puts a plan on the handle's stream.
void execute(const Cudnn& cudnn, cudnnHandle_t handle, const Plan& plan,
             std::span<const std::int64_t> uids, std::span<void* const> pointers, void* workspace);

}  // namespace miniinfer::cuda::graph
