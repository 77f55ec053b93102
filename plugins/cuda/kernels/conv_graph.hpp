#pragma once

// A convolution and what follows it as a graph of cuDNN's operations.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "miniinfer/abi/op.h"
#include "plugins/cuda/kernels/conv_shape.hpp"
#include "plugins/cuda/kernels/cudnn_graph.hpp"

namespace miniinfer::cuda {

// What a run calls the operands by.
enum ConvUid : std::int64_t { kX = 1, kW, kY, kBias, kResidual, kFirstVirtual };

// Everything a plan depends on; also, byte for byte, the key it is kept under.
struct ConvProblem {
  std::int64_t x_dims[5], w_dims[5], y_dims[5];
  std::int64_t x_strides[5], w_strides[5], y_strides[5];
  std::int64_t stride[3], dilation[3], pad_begin[3], pad_end[3];
  std::int64_t workspace_bytes;
  double low, high;
  std::int32_t device, dtype, rank;  // 4 or 5
  std::uint32_t math;
  std::int32_t transpose, bias, residual, reserved;
};

inline void drop_depth(std::int64_t (&values)[5]) {
  values[2] = values[3];
  values[3] = values[4];
  values[4] = 0;
}

// False where a layout is none of cuDNN's.
inline bool describe_conv(int device, const ConvArgs& args, std::uint32_t math,
                          std::uint64_t workspace_bytes, ConvProblem& p) {
  std::memset(static_cast<void*>(&p), 0, sizeof p);
  const ConvDims dims = conv_dims(args);
  std::copy_n(dims.x, 5, p.x_dims);
  std::copy_n(dims.w, 5, p.w_dims);
  std::copy_n(dims.y, 5, p.y_dims);
  const auto all_have = [&](ConvLayout layout) {
    return has_layout(p.x_dims, args.x_strides, layout) &&
           has_layout(p.y_dims, args.y_strides, layout) &&
           has_layout(p.w_dims, args.w_strides, layout);
  };
  ConvLayout x_layout, y_layout, w_layout;
  if (all_have(ConvLayout::kRowMajor)) {
    x_layout = y_layout = w_layout = ConvLayout::kRowMajor;
  } else if (all_have(ConvLayout::kChannelsLast)) {
    x_layout = y_layout = w_layout = ConvLayout::kChannelsLast;
  } else {
    x_layout = conv_layout(p.x_dims, args.x_strides);
    y_layout = conv_layout(p.y_dims, args.y_strides);
    w_layout = conv_layout(p.w_dims, args.w_strides);
  }
  for (const ConvLayout layout : {x_layout, y_layout, w_layout}) {
    if (layout == ConvLayout::kNeither) return false;
  }
  pack_strides(p.x_dims, x_layout, p.x_strides);
  pack_strides(p.y_dims, y_layout, p.y_strides);
  pack_strides(p.w_dims, w_layout, p.w_strides);
  std::copy_n(args.stride, 3, p.stride);
  std::copy_n(args.dilation, 3, p.dilation);
  std::copy_n(args.pad_begin, 3, p.pad_begin);
  std::copy_n(args.pad_end, 3, p.pad_end);
  p.rank = 5;
  if (args.in[0] == 1 && args.out[0] == 1 && args.window[0] == 1 && args.pad_begin[0] == 0 &&
      args.pad_end[0] == 0) {
    p.rank = 4;
    for (auto* values :
         {&p.x_dims, &p.w_dims, &p.y_dims, &p.x_strides, &p.w_strides, &p.y_strides}) {
      drop_depth(*values);
    }
    for (auto* values : {&p.stride, &p.dilation, &p.pad_begin, &p.pad_end}) {
      (*values)[0] = (*values)[1];
      (*values)[1] = (*values)[2];
      (*values)[2] = 0;
    }
  }
  p.workspace_bytes = static_cast<std::int64_t>(workspace_bytes);
  p.low = args.low;
  p.high = args.high;
  p.device = device;
  p.dtype = args.dtype;
  p.math = math;
  p.transpose = args.transpose;
  p.bias = args.bias != nullptr;
  p.residual = args.residual != nullptr;
  return true;
}

// What a graph computes beside the convolution.
enum class ConvForm : std::uint8_t {
  kPlain,     // nothing
  kFused,     // residual, bias and ReLU, where there are any
  kFusedZero  // the same with the output, times zero, as the residual: what some engines ask for
};

inline cudnnDataType_t conv_element_type(std::int32_t dtype) {
  switch (dtype) {
    case MINIINFER_FLOAT16:
      return CUDNN_DATA_HALF;
    case MINIINFER_BFLOAT16:
      return CUDNN_DATA_BFLOAT16;
    case MINIINFER_FLOAT64:
      return CUDNN_DATA_DOUBLE;
    default:
      return CUDNN_DATA_FLOAT;
  }
}

inline bool conv_clips(const ConvProblem& p) {
  return std::isfinite(p.low) || std::isfinite(p.high);
}

// Builds the descriptors of one problem.
class ConvGraphBuilder {
 public:
  ConvGraphBuilder(const Cudnn& cudnn, const ConvProblem& problem)
      : cudnn_(cudnn),
        p_(problem),
        element_(conv_element_type(problem.dtype)),
        compute_(element_ == CUDNN_DATA_DOUBLE ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT) {}

  std::unique_ptr<graph::Engines> build(cudnnHandle_t handle, ConvForm form) {
    const bool fused = form != ConvForm::kPlain;
    const bool adds = fused && (p_.residual != 0 || form == ConvForm::kFusedZero);
    const bool biases = fused && p_.bias != 0;
    const bool activates = fused && conv_clips(p_);
    steps_left_ = 1 + adds + biases + activates;
    cudnnBackendDescriptor_t value = convolve();
    if (adds) {
      const auto residual = tensor(kResidual, element_, p_.y_dims, p_.y_strides);
      value = pointwise(CUDNN_POINTWISE_ADD, value, residual, p_.residual != 0 ? 1 : 0);
    }
    if (biases) {
      std::int64_t dims[5] = {1, p_.y_dims[1], 1, 1, 1};
      std::int64_t strides[5] = {p_.y_dims[1], 1, 1, 1, 1};
      // As a tensor of the output's layout would have them.
      if (p_.y_strides[1] == 1) {
        std::fill_n(strides + 2, 3, p_.y_dims[1]);
      }
      value = pointwise(CUDNN_POINTWISE_ADD, value, tensor(kBias, element_, dims, strides), 1);
    }
    if (activates) pointwise(CUDNN_POINTWISE_RELU_FWD, value, nullptr, 0);
    return std::make_unique<graph::Engines>(cudnn_, handle, std::move(parts_),
                                            std::move(operations_));
  }

 private:
  std::size_t rank() const { return static_cast<std::size_t>(p_.rank); }

  cudnnBackendDescriptor_t keep(graph::Descriptor descriptor) {
    parts_.push_back(std::move(descriptor));
    return parts_.back().get();
  }

  cudnnBackendDescriptor_t tensor(std::int64_t uid, cudnnDataType_t type,
                                  const std::int64_t (&dims)[5], const std::int64_t (&strides)[5],
                                  bool is_virtual = false) {
    return keep(
        graph::make_tensor(cudnn_, {uid, type, {dims, rank()}, {strides, rank()}, is_virtual}));
  }

  // What the next operation writes: y where it is the last.
  cudnnBackendDescriptor_t next_output() {
    if (--steps_left_ == 0) return tensor(kY, element_, p_.y_dims, p_.y_strides);
    return tensor(next_virtual_++, compute_, p_.y_dims, p_.y_strides, true);
  }

  void set(graph::Descriptor& to, cudnnBackendAttributeName_t attribute,
           cudnnBackendDescriptor_t descriptor) {
    to.set_descriptors(attribute, {&descriptor, 1});
  }

  void set_factor(graph::Descriptor& to, cudnnBackendAttributeName_t attribute, double factor) {
    if (compute_ == CUDNN_DATA_DOUBLE) {
      to.set(attribute, factor);
    } else {
      to.set(attribute, static_cast<float>(factor));
    }
  }

  cudnnBackendDescriptor_t convolve() {
    graph::Descriptor convolution(cudnn_, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, "a convolution");
    const std::size_t axes = rank() - 2;
    const auto list = [&](const std::int64_t(&values)[3]) {
      return std::span<const std::int64_t>(values, axes);
    };
    convolution.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, compute_);
    convolution.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION);
    convolution.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, static_cast<std::int64_t>(axes));
    convolution.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, list(p_.pad_begin));
    convolution.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, list(p_.pad_end));
    convolution.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, list(p_.dilation));
    convolution.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, list(p_.stride));
    convolution.finish();
    const auto shape = keep(std::move(convolution));
    const auto x = tensor(kX, element_, p_.x_dims, p_.x_strides);
    const auto w = tensor(kW, element_, p_.w_dims, p_.w_strides);
    const auto y = next_output();
    // A transposed convolution is the gradient of the convolution that takes y to x.
    graph::Descriptor operation(cudnn_,
                                p_.transpose != 0
                                    ? CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR
                                    : CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                                "a convolution's operation");
    if (p_.transpose != 0) {
      set(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, y);
      set(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, w);
      set(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, x);
      set(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, shape);
      set_factor(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, 1);
      set_factor(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, 0);
    } else {
      set(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x);
      set(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w);
      set(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y);
      set(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, shape);
      set_factor(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, 1);
      set_factor(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, 0);
    }
    operation.finish();
    operations_.push_back(keep(std::move(operation)));
    return y;
  }

  // mode(x, factor * b); b null for one operand.
  cudnnBackendDescriptor_t pointwise(cudnnPointwiseMode_t mode, cudnnBackendDescriptor_t x,
                                     cudnnBackendDescriptor_t b, double factor) {
    graph::Descriptor kind(cudnn_, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, "a pointwise");
    kind.set(CUDNN_ATTR_POINTWISE_MODE, mode);
    kind.set(CUDNN_ATTR_POINTWISE_MATH_PREC, compute_);
    if (mode == CUDNN_POINTWISE_RELU_FWD) {
      kind.set(CUDNN_ATTR_POINTWISE_NAN_PROPAGATION, CUDNN_PROPAGATE_NAN);
      if (std::isfinite(p_.high)) kind.set(CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, p_.high);
    }
    kind.finish();
    const auto shape = keep(std::move(kind));
    const auto y = next_output();
    graph::Descriptor operation(cudnn_, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR,
                                "a pointwise operation");
    set(operation, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, shape);
    set(operation, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (b != nullptr) {
      set(operation, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
      set_factor(operation, CUDNN_ATTR_OPERATION_POINTWISE_ALPHA1, 1);
      set_factor(operation, CUDNN_ATTR_OPERATION_POINTWISE_ALPHA2, factor);
    }
    set(operation, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    operation.finish();
    operations_.push_back(keep(std::move(operation)));
    return y;
  }

  const Cudnn& cudnn_;
  const ConvProblem& p_;
  cudnnDataType_t element_, compute_;
  std::vector<graph::Descriptor> parts_;
  std::vector<cudnnBackendDescriptor_t> operations_;
  int steps_left_ = 0;
  std::int64_t next_virtual_ = kFirstVirtual;
};

}  // namespace miniinfer::cuda
