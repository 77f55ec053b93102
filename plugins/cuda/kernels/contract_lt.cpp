#include "plugins/cuda/kernels/contract_lt.hpp"

#include <optional>

#include "plugins/cuda/check.hpp"
#include "plugins/cuda/context.hpp"
#include "plugins/cuda/kernels/epilogue_launch.hpp"
#include "plugins/cuda/kernels/lt_product.hpp"
#include "plugins/cuda/kernels/rows.hpp"

namespace miniinfer::cuda {
namespace {

class ContractLt final : public sdk::Kernel {
 public:
  ContractLt(Device& device, const sdk::Region& region, const ContractCalls& calls,
             const Follower& follower)
      : epilogue_(follower.epilogue),
        program_(follower.make_program(device, region)),
        dtype_(region.out(0).dtype),
        count_(elements(region.out(0))),
        columns_(region.out(0).dims[region.out(0).rank - 1]),
        a_(region.arg_in(0)),
        b_(region.arg_in(1)) {
    if (count_ > 0 && calls.k > 0) {
      product_.emplace(device, calls, dtype_, region.node().math, epilogue_);
    }
  }

  void enqueue(sdk::Stream* stream, const miniinfer_run& run) const override {
    if (count_ == 0) return;
    const auto on = static_cast<cudaStream_t>(stream->native());
    const auto place = [&](int arg) { return arg < 0 ? nullptr : address(run.args[arg]); };
    std::byte* out = place(epilogue_.target);
    bool complete = false;
    if (product_) {
      complete = product_->enqueue(stream, {place(a_), place(b_), place(epilogue_.residual),
                                            place(epilogue_.bias), out, address(run.workspace)});
    } else {
      const std::size_t bytes = static_cast<std::size_t>(count_) * sdk::element_bytes(dtype_);
      CUDA_CHECK_THROW(cudaMemsetAsync(out, 0, bytes, on));
    }
    if (program_) CUDA_CHECK_THROW(program_->launch(run, on, out));
    if (!complete) finish(out, place(epilogue_.bias), on);
  }

 private:
  // What the product left undone; the residual is never.
  void finish(std::byte* out, const std::byte* bias, cudaStream_t stream) const {
    if (bias == nullptr && epilogue_.activation == Epilogue::Activation::kClip &&
        !epilogue_.clips()) {
      return;
    }
    EpilogueArgs args{};
    args.out = out;
    args.bias = bias;
    args.count = count_;
    args.inner = 1;
    args.channels = columns_;
    args.low = epilogue_.low;
    args.high = epilogue_.high;
    args.gelu = epilogue_.activation == Epilogue::Activation::kGeluTanh;
    args.dtype = dtype_;
    CUDA_CHECK_THROW(launch_epilogue(args, stream));
  }

  Epilogue epilogue_;
  std::optional<PointwiseRunner> program_;
  miniinfer_dtype dtype_;
  std::int64_t count_, columns_;
  int a_, b_;
  std::optional<LtProduct> product_;  // none where a sum is empty
};

}  // namespace

std::unique_ptr<sdk::Kernel> make_contract_lt(Device& device, const sdk::Region& region,
                                              const ContractCalls& calls,
                                              const Follower& follower) {
  return std::make_unique<ContractLt>(device, region, calls, follower);
}

}  // namespace miniinfer::cuda
