#pragma once

// What the depthwise kernels of both layouts take.

#include "plugins/cuda/kernels/conv_launch.hpp"

namespace miniinfer::cuda {

constexpr int kOutputs = 4;  // neighbours of a row of y that a thread computes

// Row lengths and counts are below 2^31; see conv_depthwise_serves.
struct Depthwise {
  const void* x;
  const void* w;
  const void* bias;
  const void* residual;
  void* y;
  int channels, in_h, in_w, out_h, out_w, pad_h, pad_w, groups_w;  // groups of kOutputs
  std::int64_t w_channel, w_tap;                                   // strides of the weights
  double low, high;
};

inline Depthwise depthwise_of(const ConvArgs& args) {
  Depthwise s{};
  s.x = args.x;
  s.w = args.w;
  s.bias = args.bias;
  s.residual = args.residual;
  s.y = args.y;
  s.channels = static_cast<int>(args.group);
  s.in_h = static_cast<int>(args.in[1]);
  s.in_w = static_cast<int>(args.in[2]);
  s.out_h = static_cast<int>(args.out[1]);
  s.out_w = static_cast<int>(args.out[2]);
  s.pad_h = static_cast<int>(args.pad_begin[1]);
  s.pad_w = static_cast<int>(args.pad_begin[2]);
  s.groups_w = (s.out_w + kOutputs - 1) / kOutputs;
  s.w_channel = args.w_strides[0];
  s.w_tap = args.w_strides[4];
  s.low = args.low;
  s.high = args.high;
  return s;
}

}  // namespace miniinfer::cuda
