// conv/1 and conv_transpose/1. Windows of 1 are products of cuBLASLt's, and cuDNN serves most of
// the rest; small depthwise windows, and whatever no engine takes, have kernels of ours, so that
// every shape is served and none waits for a missing library.

#include "plugins/cuda/kernels/conv.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "plugins/cuda/check.hpp"
#include "plugins/cuda/context.hpp"
#include "plugins/cuda/kernels/conv_finish.hpp"
#include "plugins/cuda/kernels/conv_plan.hpp"
#include "plugins/cuda/kernels/conv_product.hpp"
#include "plugins/cuda/kernels/conv_shape.hpp"
#include "plugins/cuda/kernels/epilogue_follower.hpp"
#include "plugins/cuda/kernels/lt_product.hpp"

namespace miniinfer::cuda {
namespace {

// Who computes; the choice's algorithm.
enum Way : std::uint32_t { kLibrary, kDepthwise, kDirect, kProduct };

constexpr std::uint64_t kLaunchNs = 4000;
constexpr double kBytesPerNs = 1500;
constexpr double kFlopsPerNs[] = {20000, 3000, 500, 20000};  // by way

std::uint64_t align64(std::uint64_t bytes) { return (bytes + 63) & ~std::uint64_t{63}; }

std::uint64_t element_bytes(const ConvArgs& s) {
  return sdk::element_bytes(static_cast<miniinfer_dtype>(s.dtype));
}

bool is_constant(const miniinfer_value& value) {
  return (value.flags & MINIINFER_VALUE_CONSTANT) != 0;
}

bool pads_are_even(const ConvArgs& s) { return std::ranges::equal(s.pad_begin, s.pad_end); }

bool pads_are_negative(const ConvArgs& s) {
  const auto is_negative = [](std::int64_t pad) { return pad < 0; };
  return std::ranges::any_of(s.pad_begin, is_negative) ||
         std::ranges::any_of(s.pad_end, is_negative);
}

// x with its padding as an operand of its own, should cuDNN want both ends padded alike.
std::uint64_t padded_bytes(const ConvArgs& s) {
  if (s.transpose || pads_are_even(s) || pads_are_negative(s)) return 0;
  return align64(static_cast<std::uint64_t>(padded_elements(s)) * element_bytes(s));
}

// What an engine may use: room for each operand in another layout, and for split sums. Engines that
// want more are left out, so that the host knows the size before cuDNN is opened.
std::uint64_t library_bytes(const ConvArgs& s) {
  constexpr std::uint64_t kSplitSums = std::uint64_t{4} << 20;
  constexpr std::uint64_t kMost = std::uint64_t{1} << 30;
  std::int64_t elements = output_count(s) + padded_elements(s);
  elements += s.group * s.in_channels * s.out_channels * s.window[0] * s.window[1] * s.window[2];
  const std::uint64_t bytes =
      static_cast<std::uint64_t>(std::max<std::int64_t>(elements, 0)) * element_bytes(s);
  return align64(std::min(kMost, bytes + kSplitSums));
}

ConvArgs with_own_padding(ConvArgs s) {
  const bool last = is_channels_last(s);
  for (int axis = 2; axis >= 0; --axis) {
    s.in[axis] = padded_size(s, axis);
    s.pad_begin[axis] = s.pad_end[axis] = 0;
  }
  pack_strides(conv_dims(s).x, last ? ConvLayout::kChannelsLast : ConvLayout::kRowMajor,
               s.x_strides);
  return s;
}

// Row-major weights of channels-last operands are wanted the same way round by cuDNN, and with
// whole vectors of channels by our depthwise kernel.
bool turns_weights(const ConvArgs& s, Way way) {
  if (way != kLibrary && way != kDepthwise) return false;
  const ConvDims dims = conv_dims(s);
  return is_channels_last(s) && has_layout(dims.w, s.w_strides, ConvLayout::kRowMajor) &&
         (way == kDepthwise || !has_layout(dims.w, s.w_strides, ConvLayout::kChannelsLast));
}

class Conv final : public sdk::Kernel {
 public:
  Conv(Device& device, const sdk::Region& region, bool transpose, Way way, Follower follower)
      : shape_(conv_shape(region, transpose)),
        way_(way),
        epilogue_(follower.epilogue),
        program_(follower.make_program(device, region)),
        x_(region.arg_in(0)),
        w_(region.arg_in(1)),
        bias_(has_bias(region) ? region.arg_in(2) : epilogue_.bias) {
    shape_.low = epilogue_.low;
    shape_.high = epilogue_.high;
    if (output_count(shape_) == 0) return;
    turns_weights_ = turns_weights(shape_, way_) && is_constant(region.in(1));
    if (turns_weights_ && way_ == kLibrary) {
      pack_strides(conv_dims(shape_).w, ConvLayout::kChannelsLast, shape_.w_strides);
    }
    if (turns_weights_ && way_ == kDepthwise) {
      // [c, 1, window] with the window's places apart by all channels.
      for (int axis = 0; axis < 5; ++axis) shape_.w_strides[axis] *= shape_.group;
      shape_.w_strides[0] = 1;
    }
    const std::uint32_t math = region.node().math;
    if (way_ == kProduct) make_product(device, math);
    if (way_ == kLibrary) make_plan(device, math);
  }

  sdk::Packed packed(std::uint32_t operand) const override {
    if (!turns_weights_ || static_cast<int>(operand) != w_) return {};
    const std::int64_t count = weight_rows() * weight_columns() * taps();
    return {static_cast<std::uint64_t>(count) * element_bytes(shape_), 64,
            way_ == kDepthwise ? "cuda.conv.taps_first" : "cuda.conv.channels_last"};
  }

  void pack(std::uint32_t, miniinfer_mem src, miniinfer_mem dst,
            sdk::Stream* stream) const override {
    const auto on = static_cast<cudaStream_t>(stream->native());
    const bool depthwise = way_ == kDepthwise;  // its rows are what others have as columns
    CUDA_CHECK_THROW(launch_conv_turn(shape_, address(src), depthwise ? 1 : weight_rows(),
                                      depthwise ? weight_rows() : weight_columns(), address(dst),
                                      on));
  }

  void enqueue(sdk::Stream* stream, const miniinfer_run& run) const override {
    if (output_count(shape_) == 0) return;
    const auto on = static_cast<cudaStream_t>(stream->native());
    const auto place = [&](int arg) -> std::byte* {
      return arg < 0 ? nullptr : address(run.args[arg]);
    };
    ConvArgs args = shape_;
    args.x = place(x_);
    args.w = place(w_);
    args.bias = place(bias_);
    args.residual = place(epilogue_.residual);
    args.y = place(epilogue_.target);
    if (way_ == kDepthwise) {
      CUDA_CHECK_THROW(is_channels_last(args) ? launch_conv_depthwise_last(args, on)
                                              : launch_conv_depthwise(args, on));
    } else if (product_) {
      run_product(stream, args, address(run.workspace));
    } else if (plan_ != nullptr && is_aligned(args)) {
      run_plan(context(stream).cudnn(), on, args, address(run.workspace));
    } else {
      CUDA_CHECK_THROW(launch_conv_direct(args, on));
    }
    if (program_) CUDA_CHECK_THROW(program_->launch(run, on, args.y));
  }

 private:
  std::int64_t weight_rows() const { return conv_dims(shape_).w[0]; }
  std::int64_t weight_columns() const { return conv_dims(shape_).w[1]; }
  std::int64_t taps() const { return shape_.window[0] * shape_.window[1] * shape_.window[2]; }

  void make_product(Device& device, std::uint32_t math) {
    const auto product = conv_product(shape_);
    if (!product) sdk::fail(MINIINFER_INTERNAL, "convolution: the region has changed");
    // The library's bias goes along the rows' elements, and ours along the channels.
    Epilogue fused = epilogue_;
    fused.bias = bias_;
    if (bias_ >= 0 && !product->channels_last) {
      fused = {};
      fused.residual = epilogue_.residual;
    }
    multiplies_weights_ = !product->channels_last;
    leaves_bias_ = fused.bias != bias_;
    try {
      product_.emplace(device, product->calls, static_cast<miniinfer_dtype>(shape_.dtype), math,
                       fused);
    } catch (const sdk::Error& error) {
      if (error.code() != MINIINFER_UNSUPPORTED) throw;
      sdk::log(MINIINFER_LOG_INFO, "a convolution of window 1 is no product here: %s",
               error.what());
    }
  }

  void make_plan(Device& device, std::uint32_t math) {
    ConvArgs asked = shape_;
    // Only whether there are any matters to the plan.
    if (bias_ >= 0) asked.bias = &shape_;
    if (epilogue_.residual >= 0) asked.residual = &shape_;
    plan_ = find_conv_plan(device, asked, math, library_bytes(shape_));
    if (plan_ == nullptr && padded_bytes(shape_) > 0) {
      plan_ = find_conv_plan(device, with_own_padding(asked), math, library_bytes(shape_));
      pads_ = plan_ != nullptr;
    }
    if (plan_ != nullptr) device.uses_cudnn = true;  // before a capture, which may not make handles
  }

  static bool is_aligned(const ConvArgs& args) {
    std::uintptr_t bits = 0;
    for (const void* pointer : {args.x, args.w, args.bias, args.residual}) {
      bits |= reinterpret_cast<std::uintptr_t>(pointer);
    }
    bits |= reinterpret_cast<std::uintptr_t>(args.y);
    return bits % graph::kAlignment == 0;
  }

  void run_plan(cudnnHandle_t handle, cudaStream_t on, ConvArgs args, std::byte* workspace) const {
    if (pads_) {
      std::byte* padded = workspace + library_bytes(shape_);
      CUDA_CHECK_THROW(launch_conv_pad(args, is_channels_last(args), padded, on));
      args.x = padded;
    }
    plan_->execute(handle, args, workspace);
    if (!plan_->is_fused()) CUDA_CHECK_THROW(finish_conv(args, on));
  }

  void run_product(sdk::Stream* stream, ConvArgs args, std::byte* workspace) const {
    const auto bytes = [](const void* at) { return static_cast<const std::byte*>(at); };
    const void* const a = multiplies_weights_ ? args.w : args.x;
    const void* const b = multiplies_weights_ ? args.x : args.w;
    const void* const bias = leaves_bias_ ? nullptr : args.bias;
    const bool complete =
        product_->enqueue(stream, {bytes(a), bytes(b), bytes(args.residual), bytes(bias),
                                   static_cast<std::byte*>(args.y), workspace});
    args.residual = nullptr;
    if (!complete || leaves_bias_) {
      CUDA_CHECK_THROW(finish_conv(args, static_cast<cudaStream_t>(stream->native())));
    }
  }

  ConvArgs shape_;  // without addresses
  Way way_;
  Epilogue epilogue_;
  std::optional<PointwiseRunner> program_;
  int x_, w_, bias_;
  bool pads_ = false;           // x is padded first
  bool turns_weights_ = false;  // their packed form is in another order
  std::shared_ptr<const ConvPlan> plan_;
  std::optional<LtProduct> product_;
  bool multiplies_weights_ = false;  // from the left, and otherwise from the right
  bool leaves_bias_ = false;         // and with it the clip, to a pass of ours
};

bool shapes_fit(const sdk::Region& region, bool transpose) {
  const auto attrs = region.attrs<miniinfer_conv_attrs>();
  const miniinfer_value& x = region.in(0);
  const miniinfer_value& w = region.in(1);
  const miniinfer_value& y = region.out(0);
  if (attrs.spatial_rank < 1 || attrs.spatial_rank > MINIINFER_MAX_SPATIAL || attrs.group < 1 ||
      x.rank != attrs.spatial_rank + 2 || w.rank != x.rank || y.rank != x.rank || x.block > 1 ||
      w.block > 1 || y.block > 1) {
    return false;
  }
  const std::int64_t group = attrs.group;
  const std::int64_t rows = transpose ? x.dims[1] : y.dims[1];
  const std::int64_t columns = transpose ? y.dims[1] : x.dims[1];
  bool fit = x.dims[1] % group == 0 && y.dims[1] % group == 0 && x.dims[0] == y.dims[0] &&
             w.dims[0] == rows && w.dims[1] * group == columns;
  for (int axis = 0; axis < attrs.spatial_rank; ++axis) {
    fit = fit && attrs.stride[axis] > 0 && attrs.dilation[axis] > 0;
  }
  if (has_bias(region)) {
    const miniinfer_value& bias = region.in(2);
    fit = fit && bias.dtype == y.dtype && bias.rank == 1 && bias.dims[0] == y.dims[1] &&
          is_dense(bias);
  }
  return fit;
}

// Only one bias is added: the convolution's own where it has one.
EpilogueAbilities abilities(const sdk::Region& region) {
  return {.bias_axis = has_bias(region) ? -1 : 1};
}

// Why a library is missing; empty where it is not.
template <class Open>
std::string why_missing(Open&& open) {
  try {
    open();
    return {};
  } catch (const sdk::Error& error) {
    if (error.code() != MINIINFER_UNSUPPORTED) throw;
    return error.what();
  }
}

Way choose_way(const Device& device, const ConvArgs& shape) {
  if (conv_depthwise_serves(shape)) return kDepthwise;
  if (conv_product(shape) && why_missing([&] { device.libraries().cublas_lt(); }).empty()) {
    return kProduct;
  }
  const ConvDims dims = conv_dims(shape);
  const bool laid_out = conv_layout(dims.x, shape.x_strides) != ConvLayout::kNeither &&
                        conv_layout(dims.w, shape.w_strides) != ConvLayout::kNeither &&
                        conv_layout(dims.y, shape.y_strides) != ConvLayout::kNeither;
  if (!laid_out || pads_are_negative(shape)) return kDirect;
  const std::string why = why_missing([&] { device.libraries().cudnn(); });
  if (why.empty()) return kLibrary;
  // Slow, but what it takes on a GPU is still less than on most hosts.
  static const bool said = [&] {
    sdk::log(MINIINFER_LOG_WARN, "convolutions run without cuDNN and slowly: %s", why.c_str());
    return true;
  }();
  static_cast<void>(said);
  return kDirect;
}

// What a way costs beside its operations: passes over x or y that another layout would not need.
double layout_ns(const sdk::Region& region, const ConvArgs& shape, Way way) {
  const bool last = is_channels_last(shape);
  const bool tensor_cores =
      shape.dtype == MINIINFER_FLOAT16 || shape.dtype == MINIINFER_BFLOAT16 ||
      (shape.dtype == MINIINFER_FLOAT32 && (region.node().math & MINIINFER_MATH_TF32) != 0);
  const auto pass = [&](const miniinfer_value& value) {
    return kLaunchNs + 2.0 * static_cast<double>(elements(value)) *
                           static_cast<double>(element_bytes(shape)) / kBytesPerNs;
  };
  const double flops_ns = conv_flops(shape) / kFlopsPerNs[way];
  if (way == kLibrary && tensor_cores) {
    // cuDNN's tensor core engines work on channels-last operands and turn others before and after.
    return last ? 0 : pass(region.in(0)) + pass(region.out(0));
  }
  // In strict float32 row-major is what cuDNN is best at: an estimate, from whole networks.
  if (way == kLibrary) return last ? 0.5 * flops_ns : 0;
  if (way != kProduct || last) return 0;
  // A bias along the rows is a pass of ours, and rows that begin at odd places have slow loads.
  const std::int64_t places = shape.in[0] * shape.in[1] * shape.in[2];
  const bool odd = places * static_cast<std::int64_t>(element_bytes(shape)) % 16 != 0;
  return (has_bias(region) ? pass(region.out(0)) : 0) + (odd ? 0.5 * flops_ns : 0);
}

void support(const Device& device, const sdk::Region& region, sdk::Choices& choices,
             bool transpose) {
  const miniinfer_value& x = region.in(0);
  const miniinfer_value& w = region.in(1);
  const miniinfer_value& y = region.out(0);
  if (!is_real_float(y.dtype) || x.dtype != y.dtype || w.dtype != y.dtype ||
      !shapes_fit(region, transpose)) {
    return choices.refuse(
        "convolution of %s and %s to %s, ranks %d, %d, %d: one float type, one "
        "to three spatial axes and channels that the groups divide are served",
        sdk::dtype_name(x.dtype), sdk::dtype_name(w.dtype), sdk::dtype_name(y.dtype), x.rank,
        w.rank, y.rank);
  }
  const auto follower = read_follower(region, abilities(region));
  const ConvArgs shape = conv_shape(region, transpose);
  if (!follower || (region.node_count() > 1 &&
                    conv_layout(conv_dims(shape).y, shape.y_strides) == ConvLayout::kNeither)) {
    return choices.refuse("convolution: what follows does not go with it in one kernel");
  }
  const Way way = choose_way(device, shape);
  if (way == kLibrary && turns_weights(shape, way) && !is_constant(w)) {
    return choices.refuse(
        "convolution: channels-last operands and row-major weights that are not "
        "constant");
  }
  miniinfer_choice* choice = choices.add();
  if (choice == nullptr) return;
  choice->algorithm = way;
  if (way == kLibrary && output_count(shape) > 0) {
    choice->workspace_bytes = library_bytes(shape) + padded_bytes(shape);
  }
  if (way == kProduct && output_count(shape) > 0) {
    choice->workspace_bytes = LtProduct::workspace_bytes(conv_product(shape)->calls);
  }
  choice->cost_ns = kLaunchNs + static_cast<std::uint64_t>(conv_flops(shape) / kFlopsPerNs[way] +
                                                           layout_ns(region, shape, way));
  choice->flags = MINIINFER_CHOICE_DETERMINISTIC | MINIINFER_CHOICE_CAPTURABLE;
}

std::unique_ptr<sdk::Kernel> make(Device& device, const sdk::Region& region,
                                  const miniinfer_choice& choice, bool transpose) {
  const auto follower = read_follower(region, abilities(region));
  if (!follower) sdk::fail(MINIINFER_INTERNAL, "convolution: the region has changed");
  return std::make_unique<Conv>(device, region, transpose, static_cast<Way>(choice.algorithm),
                                *follower);
}

void support_conv(const Device& device, const sdk::Region& region, sdk::Choices& choices) {
  support(device, region, choices, false);
}
void support_transpose(const Device& device, const sdk::Region& region, sdk::Choices& choices) {
  support(device, region, choices, true);
}
std::unique_ptr<sdk::Kernel> make_conv(Device& device, const sdk::Region& region,
                                       const miniinfer_choice& choice) {
  return make(device, region, choice, false);
}
std::unique_ptr<sdk::Kernel> make_transpose(Device& device, const sdk::Region& region,
                                            const miniinfer_choice& choice) {
  return make(device, region, choice, true);
}

}  // namespace

const Family kConv = {MINIINFER_CONV, sizeof(miniinfer_conv_attrs), support_conv, make_conv};
const Family kConvTranspose = {MINIINFER_CONV_TRANSPOSE, sizeof(miniinfer_conv_attrs),
                               support_transpose, make_transpose};

}  // namespace miniinfer::cuda
