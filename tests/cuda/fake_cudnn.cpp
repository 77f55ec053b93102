#include "tests/cuda/fake_cudnn.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "miniinfer/sdk/reference/number.hpp"
#include "miniinfer/sdk/reference/operand.hpp"
#include "plugins/cuda/cudnn.hpp"
#include "tests/cuda/fake_bench.hpp"

namespace miniinfer::test {
namespace {

namespace reference = sdk::reference;

void require(bool holds, const char* what, int number = 0) {
  if (holds) return;
  std::fprintf(stderr, "fake cuDNN: %s (%d)\n", what, number);
  std::abort();
}

struct Value {
  cudnnBackendAttributeType_t type;
  std::vector<std::byte> bytes;
};

struct Object {
  cudnnBackendDescriptorType_t type;
  bool finished = false;
  std::map<cudnnBackendAttributeName_t, Value> values;
  Object* graph = nullptr;  // of a configuration
  int engine = 0;           // of an engine and its configuration

  template <class T>
  std::vector<T> list(cudnnBackendAttributeName_t name) const {
    const auto found = values.find(name);
    if (found == values.end()) return {};
    std::vector<T> result(found->second.bytes.size() / sizeof(T));
    std::memcpy(result.data(), found->second.bytes.data(), found->second.bytes.size());
    return result;
  }
  template <class T>
  T one(cudnnBackendAttributeName_t name) const {
    const auto values_of = list<T>(name);
    require(values_of.size() == 1, "an attribute has not one value", name);
    return values_of[0];
  }
  Object* object(cudnnBackendAttributeName_t name) const { return one<Object*>(name); }
};

Object* as_object(cudnnBackendDescriptor_t descriptor) { return static_cast<Object*>(descriptor); }

std::size_t size_of(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_BOOLEAN:
      return sizeof(bool);
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
      return 8;
    default:
      return 4;
  }
}

// The documentation's tables: descriptor, attribute, its type, how many (0: any), required.
struct Rule {
  cudnnBackendDescriptorType_t descriptor;
  cudnnBackendAttributeName_t attribute;
  cudnnBackendAttributeType_t type;
  std::int64_t count;
  bool required;
};
constexpr auto kTensor = CUDNN_BACKEND_TENSOR_DESCRIPTOR;
constexpr auto kConvolution = CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR;
constexpr auto kForward = CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR;
constexpr auto kBackward = CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR;
constexpr auto kPointwise = CUDNN_BACKEND_POINTWISE_DESCRIPTOR;
constexpr auto kPointwiseOp = CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR;
constexpr auto kGraph = CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR;
constexpr auto kHeuristics = CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR;
constexpr auto kPlan = CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR;
constexpr auto kPack = CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR;
constexpr auto kDescriptor = CUDNN_TYPE_BACKEND_DESCRIPTOR;
constexpr auto kInt64 = CUDNN_TYPE_INT64;
constexpr Rule kRules[] = {
    {kTensor, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, true},
    {kTensor, CUDNN_ATTR_TENSOR_DIMENSIONS, kInt64, 0, true},
    {kTensor, CUDNN_ATTR_TENSOR_STRIDES, kInt64, 0, true},
    {kTensor, CUDNN_ATTR_TENSOR_UNIQUE_ID, kInt64, 1, true},
    {kTensor, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, kInt64, 1, true},
    {kTensor, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, false},
    {kConvolution, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, true},
    {kConvolution, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, true},
    {kConvolution, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, kInt64, 1, true},
    {kConvolution, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, kInt64, 0, true},
    {kConvolution, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, kInt64, 0, true},
    {kConvolution, CUDNN_ATTR_CONVOLUTION_DILATIONS, kInt64, 0, true},
    {kConvolution, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, kInt64, 0, true},
    {kForward, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, kDescriptor, 1, true},
    {kForward, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, kDescriptor, 1, true},
    {kForward, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, kDescriptor, 1, true},
    {kForward, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, kDescriptor, 1, true},
    {kForward, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, true},
    {kForward, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, true},
    {kBackward, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, kDescriptor, 1, true},
    {kBackward, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, kDescriptor, 1, true},
    {kBackward, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, kDescriptor, 1, true},
    {kBackward, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, kDescriptor, 1, true},
    {kBackward, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_TYPE_FLOAT, 1, true},
    {kBackward, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, CUDNN_TYPE_FLOAT, 1, true},
    {kPointwise, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, true},
    {kPointwise, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, true},
    {kPointwise, CUDNN_ATTR_POINTWISE_NAN_PROPAGATION, CUDNN_TYPE_NAN_PROPOGATION, 1, false},
    {kPointwise, CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, CUDNN_TYPE_DOUBLE, 1, false},
    {kPointwiseOp, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, kDescriptor, 1, true},
    {kPointwiseOp, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, kDescriptor, 1, true},
    {kPointwiseOp, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, kDescriptor, 1, false},
    {kPointwiseOp, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, kDescriptor, 1, true},
    {kPointwiseOp, CUDNN_ATTR_OPERATION_POINTWISE_ALPHA1, CUDNN_TYPE_FLOAT, 1, false},
    {kPointwiseOp, CUDNN_ATTR_OPERATION_POINTWISE_ALPHA2, CUDNN_TYPE_FLOAT, 1, false},
    {kGraph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, true},
    {kGraph, CUDNN_ATTR_OPERATIONGRAPH_OPS, kDescriptor, 0, true},
    {kHeuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, kDescriptor, 1, true},
    {kHeuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, true},
    {kPlan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, kDescriptor, 1, true},
    {kPack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, kInt64, 0, true},
    {kPack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 0, true},
    {kPack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, true},
};

cudnnStatus_t create(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* out) {
  *out = new Object{type, false, {}, nullptr, 0};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t destroy(cudnnBackendDescriptor_t descriptor) {
  delete as_object(descriptor);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t set(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                  cudnnBackendAttributeType_t type, std::int64_t count, const void* values) {
  Object& object = *as_object(descriptor);
  require(!object.finished, "an attribute is set after finalize", name);
  const Rule* rule = std::find_if(std::begin(kRules), std::end(kRules), [&](const Rule& r) {
    return r.descriptor == object.type && r.attribute == name;
  });
  require(rule != std::end(kRules), "the descriptor has no such attribute", name);
  // Factors are float or double.
  require(type == rule->type || (rule->type == CUDNN_TYPE_FLOAT && type == CUDNN_TYPE_DOUBLE),
          "an attribute of another type", name);
  require(count > 0 && (rule->count == 0 || rule->count == count), "a count that does not fit",
          name);
  const auto* bytes = static_cast<const std::byte*>(values);
  object.values[name] = {type, {bytes, bytes + static_cast<std::size_t>(count) * size_of(type)}};
  if (type == kDescriptor) {
    for (const Object* other : object.list<Object*>(name)) {
      require(other->finished, "a descriptor is used before finalize", name);
    }
  }
  return CUDNN_STATUS_SUCCESS;
}

std::vector<Object*> operations(const Object& graph) {
  return graph.list<Object*>(CUDNN_ATTR_OPERATIONGRAPH_OPS);
}

bool is_transposed(const Object& operation) { return operation.type == kBackward; }

const Object& convolution_of(const Object& operation) {
  return *operation.object(is_transposed(operation)
                               ? CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC
                               : CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC);
}

std::vector<std::int64_t> dims_of(const Object& tensor) {
  return tensor.list<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS);
}

// x and y as the convolution that goes forward sees them.
struct Ends {
  const Object* x;
  const Object* w;
  const Object* y;
};
Ends ends_of(const Object& op) {
  if (is_transposed(op)) {
    return {op.object(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX),
            op.object(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W),
            op.object(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY)};
  }
  return {op.object(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X),
          op.object(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W),
          op.object(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y)};
}

bool shapes_fit(const Object& op) {
  const Object& convolution = convolution_of(op);
  const Ends ends = ends_of(op);
  const auto x = dims_of(*ends.x), w = dims_of(*ends.w), y = dims_of(*ends.y);
  const auto axes =
      static_cast<std::size_t>(convolution.one<std::int64_t>(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS));
  const auto begin = convolution.list<std::int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
  const auto end = convolution.list<std::int64_t>(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS);
  const auto dilation = convolution.list<std::int64_t>(CUDNN_ATTR_CONVOLUTION_DILATIONS);
  const auto stride = convolution.list<std::int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
  for (const std::size_t size : {begin.size(), end.size(), dilation.size(), stride.size()}) {
    require(size == axes, "a list of another length than the spatial axes");
  }
  require(axes >= 2 && x.size() == axes + 2 && w.size() == x.size() && y.size() == x.size(),
          "ranks do not fit");
  bool fit = x[0] == y[0] && w[0] == y[1] && x[1] % w[1] == 0;
  for (std::size_t i = 0; i < axes; ++i) {
    require(begin[i] >= 0 && end[i] >= 0, "negative padding");
    const std::int64_t reach = (w[2 + i] - 1) * dilation[i] + 1;
    fit = fit && y[2 + i] == (x[2 + i] + begin[i] + end[i] - reach) / stride[i] + 1;
    fit = fit && (fake_cudnn().takes_uneven_padding || begin[i] == end[i]);
  }
  return fit;
}

bool is_taken(const Object& graph) {
  const auto all = operations(graph);
  if (!shapes_fit(*all[0])) return false;
  if (all.size() == 1) return true;
  const FakeCudnn& fake = fake_cudnn();
  bool adds_residual = false;
  for (const Object* op : all) {
    if (op->type != kPointwiseOp) continue;
    const auto b = op->list<Object*>(CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
    adds_residual = adds_residual ||
                    (!b.empty() &&
                     dims_of(*b[0]) == dims_of(*op->object(CUDNN_ATTR_OPERATION_POINTWISE_YDESC)));
  }
  return fake.takes_fused && (adds_residual || !fake.wants_residual);
}

cudnnStatus_t finalize(cudnnBackendDescriptor_t descriptor) {
  Object& object = *as_object(descriptor);
  require(!object.finished, "finalized twice");
  for (const Rule& rule : kRules) {
    require(
        rule.descriptor != object.type || !rule.required || object.values.contains(rule.attribute),
        "an attribute is missing", rule.attribute);
  }
  if (object.type == kPlan) {
    const Object* config = object.object(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
    if (!is_taken(*config->graph)) return CUDNN_STATUS_NOT_SUPPORTED;
    ++fake_cudnn().plans;
  }
  object.finished = true;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t get(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                  cudnnBackendAttributeType_t type, std::int64_t room, std::int64_t* count,
                  void* values) {
  Object& object = *as_object(descriptor);
  require(object.finished, "an attribute is read before finalize", name);
  const auto others = [&] { return static_cast<Object**>(values); };
  switch (name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS:
      require(type == kDescriptor, "results are descriptors");
      *count = fake_cudnn().engines;
      for (std::int64_t i = 0; i < std::min<std::int64_t>(room, *count); ++i) {
        Object* config = others()[i];
        require(config->type == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, "results are configurations");
        config->finished = true;
        config->graph = object.object(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
        config->engine = static_cast<int>(i);
      }
      return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINECFG_ENGINE:
      require(type == kDescriptor && room == 1, "one engine");
      require(others()[0]->type == CUDNN_BACKEND_ENGINE_DESCRIPTOR, "an engine is asked for");
      others()[0]->finished = true;
      others()[0]->engine = object.engine;
      *count = 1;
      return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE:
      require(type == CUDNN_TYPE_NUMERICAL_NOTE, "numerical notes");
      *count = object.engine == 0 ? 1 : 0;
      if (object.engine == 0) {
        *static_cast<cudnnBackendNumericalNote_t*>(values) = CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
      }
      return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE:
      require(type == CUDNN_TYPE_BEHAVIOR_NOTE, "behaviour notes");
      *count = 0;
      return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX:
      require(type == kInt64 && room == 1, "one index");
      *static_cast<std::int64_t*>(values) = object.engine;
      *count = 1;
      return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
      require(type == kInt64 && room == 1, "one size");
      *static_cast<std::int64_t*>(values) = 64;
      *count = 1;
      return CUDNN_STATUS_SUCCESS;
    default:
      require(false, "an attribute that cannot be read", name);
      return CUDNN_STATUS_BAD_PARAM;
  }
}

miniinfer_dtype dtype_of(cudnnDataType_t type) {
  return type == CUDNN_DATA_DOUBLE     ? MINIINFER_FLOAT64
         : type == CUDNN_DATA_HALF     ? MINIINFER_FLOAT16
         : type == CUDNN_DATA_BFLOAT16 ? MINIINFER_BFLOAT16
                                       : MINIINFER_FLOAT32;
}

// The run of a plan: elements by tensor and index.
class Run {
 public:
  explicit Run(const Object& pack)
      : uids_(pack.list<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS)),
        pointers_(pack.list<std::byte*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS)) {
    require(uids_.size() == pointers_.size(), "as many names as pointers");
  }

  double read(const Object& tensor, const std::vector<std::int64_t>& index) {
    View& view = view_of(tensor);
    const std::int64_t at = view.offset(index);
    if (view.base == nullptr) return view.inside[at];
    return reference::with_type(view.dtype, [&](auto type) {
      using S = typename decltype(type)::Stored;
      return static_cast<double>(
          reference::load<S>(view.base + at * static_cast<std::int64_t>(sizeof(S))));
    });
  }
  void write(const Object& tensor, const std::vector<std::int64_t>& index, double value) {
    View& view = view_of(tensor);
    const std::int64_t at = view.offset(index);
    if (view.base == nullptr) {
      view.inside[at] = value;
      return;
    }
    reference::with_type(view.dtype, [&](auto type) {
      using S = typename decltype(type)::Stored;
      if constexpr (reference::kIsFloat<S>) {
        reference::store<S>(view.base + at * static_cast<std::int64_t>(sizeof(S)), value);
      }
    });
  }

 private:
  struct View {
    std::byte* base = nullptr;  // null: virtual
    miniinfer_dtype dtype = MINIINFER_FLOAT32;
    std::vector<std::int64_t> strides;
    std::map<std::int64_t, double> inside;

    std::int64_t offset(const std::vector<std::int64_t>& index) const {
      std::int64_t at = 0;
      for (std::size_t axis = 0; axis < index.size(); ++axis) at += index[axis] * strides[axis];
      return at;
    }
  };

  View& view_of(const Object& tensor) {
    const auto [found, added] = views_.try_emplace(&tensor);
    View& view = found->second;
    if (!added) return view;
    view.strides = tensor.list<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES);
    require(view.strides.size() == dims_of(tensor).size(), "a stride for each axis");
    for (const std::int64_t stride : view.strides) require(stride > 0, "a stride is not positive");
    view.dtype = dtype_of(tensor.one<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE));
    if (tensor.values.contains(CUDNN_ATTR_TENSOR_IS_VIRTUAL)) return view;
    const auto uid = tensor.one<std::int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID);
    const auto named = std::find(uids_.begin(), uids_.end(), uid);
    require(named != uids_.end(), "a tensor without a pointer", static_cast<int>(uid));
    view.base = pointers_[static_cast<std::size_t>(named - uids_.begin())];
    const auto alignment = tensor.one<std::int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
    require(
        reinterpret_cast<std::uintptr_t>(view.base) % static_cast<std::uintptr_t>(alignment) == 0,
        "a pointer is less aligned than its tensor says");
    return view;
  }

  std::vector<std::int64_t> uids_;
  std::vector<std::byte*> pointers_;
  std::map<const Object*, View> views_;
};

template <class F>
void each_index(const std::vector<std::int64_t>& dims, F&& f) {
  reference::for_each_index(dims, [&](reference::Index index) {
    f(std::vector<std::int64_t>(index.begin(), index.end()));
  });
}

// Every triple of x, weight and y that meet.
template <class F>
void each_product(const Object& op, F&& f) {
  const Object& convolution = convolution_of(op);
  const Ends ends = ends_of(op);
  const auto x = dims_of(*ends.x), w = dims_of(*ends.w), y = dims_of(*ends.y);
  const auto begin = convolution.list<std::int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
  const auto dilation = convolution.list<std::int64_t>(CUDNN_ATTR_CONVOLUTION_DILATIONS);
  const auto stride = convolution.list<std::int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
  const std::int64_t outputs = y[1] / (x[1] / w[1]);  // of a group
  auto window = w;
  window[0] = 1;
  each_index(y, [&](const std::vector<std::int64_t>& at_y) {
    each_index(window, [&](std::vector<std::int64_t> at_w) {
      at_w[0] = at_y[1];
      std::vector<std::int64_t> at_x = {at_y[0], at_y[1] / outputs * w[1] + at_w[1]};
      for (std::size_t axis = 2; axis < x.size(); ++axis) {
        at_x.push_back(at_y[axis] * stride[axis - 2] - begin[axis - 2] +
                       at_w[axis] * dilation[axis - 2]);
        if (at_x[axis] < 0 || at_x[axis] >= x[axis]) return;
      }
      f(at_x, at_w, at_y);
    });
  });
}

void convolve(Run& run, const Object& op) {
  const Ends ends = ends_of(op);
  const bool transposed = is_transposed(op);
  const Object& from = transposed ? *ends.y : *ends.x;
  const Object& to = transposed ? *ends.x : *ends.y;
  std::map<std::vector<std::int64_t>, double> sums;
  each_product(op, [&](const auto& x, const auto& w, const auto& y) {
    sums[transposed ? x : y] += run.read(from, transposed ? y : x) * run.read(*ends.w, w);
  });
  each_index(dims_of(to), [&](const auto& index) { run.write(to, index, sums[index]); });
}

double factor(const Object& op, cudnnBackendAttributeName_t name) {
  const Value& value = op.values.at(name);
  return value.type == CUDNN_TYPE_DOUBLE ? op.one<double>(name)
                                         : static_cast<double>(op.one<float>(name));
}

void point(Run& run, const Object& op) {
  const Object& kind = *op.object(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
  const Object& x = *op.object(CUDNN_ATTR_OPERATION_POINTWISE_XDESC);
  const Object& y = *op.object(CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
  const auto mode = kind.one<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE);
  each_index(dims_of(y), [&](const std::vector<std::int64_t>& index) {
    double value = run.read(x, index);
    if (mode == CUDNN_POINTWISE_RELU_FWD) {
      value = value < 0 ? 0 : value;
      const auto upper = kind.list<double>(CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP);
      if (!upper.empty()) value = value > upper[0] ? upper[0] : value;
    } else {
      require(mode == CUDNN_POINTWISE_ADD, "a mode that is not known", mode);
      const Object& b = *op.object(CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
      const auto b_dims = dims_of(b);
      std::vector<std::int64_t> at = index;
      for (std::size_t axis = 0; axis < at.size(); ++axis) {
        if (b_dims[axis] == 1) at[axis] = 0;
      }
      const double scale = factor(op, CUDNN_ATTR_OPERATION_POINTWISE_ALPHA2);
      value *= factor(op, CUDNN_ATTR_OPERATION_POINTWISE_ALPHA1);
      if (scale != 0) value += scale * run.read(b, at);
    }
    run.write(y, index, value);
  });
}

cudnnStatus_t execute(cudnnHandle_t, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack) {
  require(as_object(plan)->finished && as_object(pack)->finished, "a run before finalize");
  const Object* config = as_object(plan)->object(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
  FakeCudnn& fake = fake_cudnn();
  const auto all = operations(*config->graph);
  ++fake.runs;
  fake.fused_runs += all.size() > 1;
  fake.tensor_core_runs += config->engine == 0;
  fake.last_engine = config->engine;
  FakeBench::spend(fake.ns[config->engine]);
  if (config->engine == fake.wrong) return CUDNN_STATUS_SUCCESS;
  Run run(*as_object(pack));
  for (const Object* op : all) op->type == kPointwiseOp ? point(run, *op) : convolve(run, *op);
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

FakeCudnn& fake_cudnn() {
  static FakeCudnn instance;
  return instance;
}

const cuda::Cudnn& fake_cudnn_table() {
  static const cuda::Cudnn instance = [] {
    cuda::Cudnn cudnn{};
    cudnn.cudnnGetErrorString = [](cudnnStatus_t) { return "status"; };
    cudnn.cudnnGetLastErrorString = [](char* text, std::size_t) { *text = '\0'; };
    cudnn.cudnnCreate = [](cudnnHandle_t* handle) {
      *handle = reinterpret_cast<cudnnHandle_t>(1);
      return CUDNN_STATUS_SUCCESS;
    };
    cudnn.cudnnSetStream = [](cudnnHandle_t, cudaStream_t) { return CUDNN_STATUS_SUCCESS; };
    cudnn.cudnnGetVersion = [] { return std::size_t{91900}; };
    cudnn.cudnnBackendCreateDescriptor = create;
    cudnn.cudnnBackendDestroyDescriptor = destroy;
    cudnn.cudnnBackendSetAttribute = set;
    cudnn.cudnnBackendGetAttribute = get;
    cudnn.cudnnBackendFinalize = finalize;
    cudnn.cudnnBackendExecute = execute;
    return cudnn;
  }();
  return instance;
}

}  // namespace miniinfer::test
