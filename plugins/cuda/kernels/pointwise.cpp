// pointwise/1: a kernel generated for the program where that pays, else the interpreter.

#include "plugins/cuda/kernels/pointwise.hpp"

#include "miniinfer/sdk/host.hpp"
#include "plugins/cuda/kernels/pointwise_compiled.hpp"
#include "plugins/cuda/kernels/pointwise_launch.hpp"
#include "plugins/cuda/kernels/rows.hpp"
#include "plugins/cuda/kernels/stream_kernel.hpp"

namespace miniinfer::cuda {

PointwiseRunner::PointwiseRunner(const Device& device, const sdk::Region& region,
                                 std::uint32_t node) {
  constexpr std::int64_t kWorthCompiling = 16 * 1024;  // elements
  const PointwiseProgram program = read_pointwise(region, node);
  for (std::uint32_t i = 0; i < program.inputs; ++i) args_.push_back(region.arg_in(i, node));
  for (std::uint32_t o = 0; o < program.outputs(); ++o) args_.push_back(region.arg_out(o, node));
  interpreted_ = make_interpreted(program);
  if (program.count == 0) return;
  if (auto generated = generate(program)) {
    generated_ = std::move(*generated);
    kernel_ = compile_pointwise(device, generated_, program.count >= kWorthCompiling);
    generated_.text = {};
  }
}

cudaError_t PointwiseRunner::launch(const miniinfer_run& run, cudaStream_t stream,
                                    void* inside) const {
  if (interpreted_.count == 0) return cudaSuccess;
  const auto place = [&](std::size_t k) -> void* {
    return args_[k] < 0 ? inside : address(run.args[args_[k]]);
  };
  miniinfer_fault* fault =
      run.fault.handle == 0 ? nullptr : reinterpret_cast<miniinfer_fault*>(address(run.fault));
  if (kernel_ == nullptr) {
    InterpretedProgram program = interpreted_;
    for (std::size_t k = 0; k < args_.size(); ++k) program.pointers[k] = place(k);
    program.fault = fault;
    program.step = run.step;
    return launch_interpreted(program, stream);
  }
  GeneratedArgs args = generated_.args;
  bool aligned = generated_.strides_fit;
  for (std::size_t k = 0; k < args_.size(); ++k) {
    args.pointers[k] = place(k);
    const std::uint32_t pack = generated_.pack_bytes[k];
    aligned =
        aligned && (pack == 0 || reinterpret_cast<std::uintptr_t>(args.pointers[k]) % pack == 0);
  }
  args.aligned = aligned ? 1 : 0;
  args.fault = fault;
  args.step = run.step;
  return launch_compiled(*kernel_, args, generated_.vector, stream);
}

namespace {

class Pointwise final : public StreamKernel {
 public:
  Pointwise(const Device& device, const sdk::Region& region)
      : StreamKernel("pointwise"), runner_(device, region, 0) {}

 private:
  cudaError_t launch(const miniinfer_run& run, cudaStream_t stream) const override {
    return runner_.launch(run, stream);
  }

  PointwiseRunner runner_;
};

// An output may take over the memory of an input whose elements lie just as its own do.
std::uint64_t in_place(const sdk::Region& region) {
  std::uint64_t bits = 0;
  for (std::uint32_t o = 0; o < region.outputs().size(); ++o) {
    for (std::uint32_t i = 0; i < region.inputs().size(); ++i) {
      const miniinfer_value& in = region.value(region.inputs()[i]);
      const miniinfer_value& out = region.value(region.outputs()[o]);
      if (in.dtype == out.dtype && same_shape(in, out) && is_dense(in) && is_dense(out)) {
        bits |= sdk::in_place_bit(o, i);
      }
    }
  }
  return bits;
}

void support(const Device&, const sdk::Region& region, sdk::Choices& choices) {
  if (region.node_count() != 1) {
    choices.refuse("pointwise: %u nodes; programs are merged by the host", region.node_count());
    return;
  }
  double bytes = 0;
  try {
    const PointwiseProgram program = read_pointwise(region, 0);
    for (const Operand& operand : program.operands) {
      bytes += static_cast<double>(operand.count) * sdk::element_bytes(operand.dtype);
    }
  } catch (const sdk::Error& error) {
    choices.refuse("%s", error.what());
    return;
  }
  miniinfer_choice* choice = choices.add();
  if (choice == nullptr) return;
  choice->in_place = in_place(region);
  choice->cost_ns = static_cast<std::uint64_t>(2500 + bytes / 1500);  // 1.5 TB/s
  choice->flags = MINIINFER_CHOICE_DETERMINISTIC | MINIINFER_CHOICE_CAPTURABLE;
}

std::unique_ptr<sdk::Kernel> make(Device& device, const sdk::Region& region,
                                  const miniinfer_choice&) {
  return std::make_unique<Pointwise>(device, region);
}

}  // namespace

const Family kPointwise = {MINIINFER_POINTWISE, sizeof(miniinfer_pointwise_attrs), support, make};

}  // namespace miniinfer::cuda
