// reduce/1: whole axes by rows or columns, and windows.

#include "plugins/cuda/kernels/reduce.hpp"

#include "plugins/cuda/device.hpp"
#include "plugins/cuda/kernels/reduce_plan.hpp"
#include "plugins/cuda/kernels/rows.hpp"
#include "plugins/cuda/kernels/stream_kernel.hpp"

namespace miniinfer::cuda {
namespace {

class Reduce final : public StreamKernel {
 public:
  Reduce(const sdk::Region& region, int multiprocessors)
      : StreamKernel("reduce"),
        plan_(plan_reduce(region, multiprocessors)),
        in_(region.arg_in(0)),
        out_(region.arg_out(0)),
        positions_(arg_of_out(region, 1)) {}

 private:
  cudaError_t launch(const miniinfer_run& run, cudaStream_t stream) const override {
    if (plan_.result().outputs == 0) return cudaSuccess;
    const auto bind = [&](ReduceResult& result) {
      result.in = operand(run, in_);
      result.out = operand(run, out_);
      result.positions = operand<std::int64_t>(run, positions_);
    };
    if (plan_.shape == ReducePlan::Shape::Windows) {
      ReduceWindow window = plan_.window;
      bind(window.result);
      return launch_reduce_windows(window, stream);
    }
    ReduceWhole whole = plan_.whole;
    bind(whole.result);
    whole.partial = workspace(run);
    return plan_.shape == ReducePlan::Shape::Rows ? launch_reduce_rows(whole, stream)
                                                  : launch_reduce_columns(whole, stream);
  }

  ReducePlan plan_;
  int in_;
  int out_;
  int positions_;
};

void support(const Device& device, const sdk::Region& region, sdk::Choices& choices) {
  std::uint64_t workspace_bytes = 0;
  try {
    workspace_bytes = plan_reduce(region, device.properties().multiprocessors).workspace_bytes();
  } catch (const sdk::Error& error) {
    return choices.refuse("%s", error.what());
  }
  miniinfer_choice* choice = choices.add();
  if (choice == nullptr) return;
  const auto attrs = region.attrs<miniinfer_reduce_attrs>();
  double read = static_cast<double>(elements(region.out()));
  for (std::int32_t axis = 0; axis < region.in(0).rank; ++axis) {
    read *= static_cast<double>(attrs.window[axis]);
  }
  const double bytes = read * sdk::element_bytes(region.in(0).dtype);
  choice->cost_ns = static_cast<std::uint64_t>(3000 + bytes / 1000);
  choice->workspace_bytes = workspace_bytes;
  choice->flags = MINIINFER_CHOICE_DETERMINISTIC | MINIINFER_CHOICE_CAPTURABLE;
}

std::unique_ptr<sdk::Kernel> make(Device& device, const sdk::Region& region,
                                  const miniinfer_choice&) {
  return std::make_unique<Reduce>(region, device.properties().multiprocessors);
}

}  // namespace

const Family kReduce = {MINIINFER_REDUCE, sizeof(miniinfer_reduce_attrs), support, make};

}  // namespace miniinfer::cuda
