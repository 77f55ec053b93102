// Products through cuBLASLt, which stores by columns: a row-major out = a b is its
// out^T = b^T a^T, so b is its first operand and a bias along n is its bias along rows.

#include "plugins/cuda/kernels/contract_lt.hpp"

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>

#include "plugins/cuda/check.hpp"
#include "plugins/cuda/context.hpp"
#include "plugins/cuda/kernels/contract_descriptors.hpp"
#include "plugins/cuda/kernels/epilogue_launch.hpp"
#include "plugins/cuda/kernels/rows.hpp"

namespace miniinfer::cuda {
namespace {

// One handle for each device, for choosing algorithms; streams have their own. It lives as long as
// the library does.
cublasLtHandle_t planning_handle(const CublasLt& lt, const Device& device) {
  static std::mutex mutex;
  static auto& handles = *new std::map<int, cublasLtHandle_t>;
  const std::lock_guard lock(mutex);
  cublasLtHandle_t& handle = handles[device.index()];
  if (handle == nullptr) check_lt(lt, lt.cublasLtCreate(&handle), "cublasLtCreate");
  return handle;
}

cublasLtEpilogue_t library_epilogue(const Epilogue& epilogue) {
  const bool bias = epilogue.bias >= 0;
  if (epilogue.activation == Epilogue::Activation::kGeluTanh) {
    return bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
  }
  if (epilogue.is_relu()) return bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU;
  return bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

// Clips other than ReLU, and anything in float64, are done afterwards.
bool library_has(const Epilogue& epilogue, miniinfer_dtype dtype) {
  if (epilogue.clips() && !epilogue.is_relu()) return false;
  return dtype != MINIINFER_FLOAT64 || library_epilogue(epilogue) == CUBLASLT_EPILOGUE_DEFAULT;
}

// How a call is made: what is fused into it and by which algorithm.
struct Product {
  Product(const CublasLt& lt, const LtTypes& types, const ContractCalls& calls)
      : descriptor(lt, types, calls.b.transposed, calls.a.transposed) {}
  LtMatmul descriptor;
  cublasLtMatmulAlgo_t algorithm{};
  bool fused = false;  // bias and activation
  bool has_bias = false;
};

class ContractLt final : public sdk::Kernel {
 public:
  ContractLt(Device& device, const sdk::Region& region, const ContractCalls& calls,
             const Follower& follower)
      : lt_(device.libraries().cublas_lt()),
        calls_(calls),
        epilogue_(follower.epilogue),
        program_(follower.make_program(device, region)),
        dtype_(region.out(0).dtype),
        types_(lt_types(dtype_, region.node().math)),
        bytes_(sdk::element_bytes(dtype_)),
        count_(elements(region.out(0))),
        columns_(region.out(0).dims[region.out(0).rank - 1]),
        workspace_bytes_(contract_lt_workspace(calls)),
        a_(region.arg_in(0)),
        b_(region.arg_in(1)) {
    if (count_ == 0 || calls.k == 0) return;
    const auto layout = [&](std::int64_t rows, std::int64_t columns, const StoredMatrix& stored,
                            std::int64_t step) {
      return std::make_unique<LtLayout>(lt_, types_.element, stored.transposed ? rows : columns,
                                        stored.transposed ? columns : rows, stored.ld, calls.batch,
                                        step);
    };
    a_layout_ = layout(calls.m, calls.k, calls.a, calls.a_step);
    b_layout_ = layout(calls.k, calls.n, calls.b, calls.b_step);
    out_layout_ = layout(calls.m, calls.n, {false, calls.out_ld}, calls.out_step);
    device.uses_cublas_lt = true;  // before a capture, which may not make handles
    const cublasLtHandle_t handle = planning_handle(lt_, device);
    cublasStatus_t why = CUBLAS_STATUS_SUCCESS;
    if (library_has(epilogue_, dtype_)) fast_ = find(handle, true, kVector, why);
    if (fast_ == nullptr) fast_ = find(handle, false, kVector, why);
    plain_ = find(handle, false, bytes_, why);
    if (plain_ == nullptr) {
      sdk::fail(MINIINFER_UNSUPPORTED,
                "cublasLtMatmulAlgoGetHeuristic: no algorithm for %lld x %lld x %lld in %s: %s",
                static_cast<long long>(calls.m), static_cast<long long>(calls.n),
                static_cast<long long>(calls.k), sdk::dtype_name(dtype_),
                lt_.cublasLtGetStatusName(why));
    }
  }

  void enqueue(sdk::Stream* stream, const miniinfer_run& run) const override {
    if (count_ == 0) return;
    const auto on = static_cast<cudaStream_t>(stream->native());
    std::byte* out = address(run.args[epilogue_.target]);
    if (calls_.k == 0) {
      CUDA_CHECK_THROW(cudaMemsetAsync(out, 0, static_cast<std::size_t>(count_) * bytes_, on));
      return finish(run, out, on, false);
    }
    const std::byte* a = address(run.args[a_]);
    const std::byte* b = address(run.args[b_]);
    const std::byte* c = epilogue_.residual < 0 ? out : address(run.args[epilogue_.residual]);
    const std::byte* bias = epilogue_.bias < 0 ? nullptr : address(run.args[epilogue_.bias]);
    const Product& product = fast_ != nullptr && is_aligned(a, b, c, out, bias) ? *fast_ : *plain_;

    // The descriptor is plain memory; its copy brings this run's bias.
    cublasLtMatmulDescOpaque_t descriptor = *product.descriptor.get();
    if (product.has_bias) {
      check_lt(lt_,
               lt_.cublasLtMatmulDescSetAttribute(&descriptor, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                                  &bias, sizeof bias),
               "cublasLtMatmulDescSetAttribute");
    }
    const cublasLtHandle_t handle = context(stream).cublas_lt();
    const std::int64_t count = calls_.outer.count();
    for (std::int64_t i = 0; i < count; ++i) {
      const auto at = [&](int operand) {
        return unravel_wide(i, calls_.outer.rank, calls_.outer.dims,
                            calls_.outer.strides[operand]) *
               static_cast<std::int64_t>(bytes_);
      };
      multiply(handle, on, run, product, &descriptor, a + at(0), b + at(1), c + at(2), out + at(2));
    }
    finish(run, out, on, product.fused);
  }

 private:
  static constexpr std::uint32_t kVector = 16;  // bytes, the alignment of the fast algorithms

  // Null, with the library's answer, where it has no algorithm.
  std::unique_ptr<Product> find(cublasLtHandle_t handle, bool fused, std::uint32_t alignment,
                                cublasStatus_t& why) const {
    auto product = std::make_unique<Product>(lt_, types_, calls_);
    if (fused) {
      product->fused = true;
      product->has_bias = epilogue_.bias >= 0;
      product->descriptor.set(CUBLASLT_MATMUL_DESC_EPILOGUE, library_epilogue(epilogue_));
      if (product->has_bias) {
        // There must be one for an algorithm to be chosen; each run brings its own.
        product->descriptor.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                reinterpret_cast<const void*>(std::uintptr_t{256}));
      }
    }
    cublasLtMatmulPreference_t preference = nullptr;
    check_lt(lt_, lt_.cublasLtMatmulPreferenceCreate(&preference),
             "cublasLtMatmulPreferenceCreate");
    const std::unique_ptr<std::remove_pointer_t<cublasLtMatmulPreference_t>,
                          decltype(lt_.cublasLtMatmulPreferenceDestroy)>
        owner(preference, lt_.cublasLtMatmulPreferenceDestroy);
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      check_lt(
          lt_,
          lt_.cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value),
          "cublasLtMatmulPreferenceSetAttribute");
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes_);
    for (const auto attribute :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      prefer(attribute, alignment);
    }
    if (bytes_ == 2) {
      // Parts of a sum are added in float32 and not in the output's type.
      prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
             static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    }
    cublasLtMatmulHeuristicResult_t result{};
    int found = 0;
    const cublasStatus_t status = lt_.cublasLtMatmulAlgoGetHeuristic(
        handle, product->descriptor.get(), b_layout_->get(), a_layout_->get(), out_layout_->get(),
        out_layout_->get(), preference, 1, &result, &found);
    if (status != CUBLAS_STATUS_SUCCESS || found == 0 || result.state != CUBLAS_STATUS_SUCCESS) {
      why = status != CUBLAS_STATUS_SUCCESS ? status : result.state;
      return nullptr;
    }
    product->algorithm = result.algo;
    return product;
  }

  // Whether every operand of every call is, and the bias.
  bool is_aligned(const std::byte* a, const std::byte* b, const std::byte* c, const std::byte* out,
                  const std::byte* bias) const {
    std::uintptr_t bits = 0;
    for (const std::byte* place : {a, b, c, out, bias}) {
      bits |= reinterpret_cast<std::uintptr_t>(place);
    }
    for (const auto& strides : calls_.outer.strides) {
      for (int axis = 0; axis < calls_.outer.rank; ++axis) {
        bits |= static_cast<std::uintptr_t>(strides[axis]) * bytes_;
      }
    }
    return bits % kVector == 0;
  }

  void multiply(cublasLtHandle_t handle, cudaStream_t on, const miniinfer_run& run,
                const Product& product, cublasLtMatmulDesc_t descriptor, const std::byte* a,
                const std::byte* b, const std::byte* c, std::byte* out) const {
    const float one = 1, beta = epilogue_.residual < 0 ? 0 : 1;
    const double wide_one = 1, wide_beta = beta;
    const bool wide = types_.scale == CUDA_R_64F;
    check_lt(
        lt_,
        lt_.cublasLtMatmul(handle, descriptor, wide ? static_cast<const void*>(&wide_one) : &one, b,
                           b_layout_->get(), a, a_layout_->get(),
                           wide ? static_cast<const void*>(&wide_beta) : &beta, c,
                           out_layout_->get(), out, out_layout_->get(), &product.algorithm,
                           address(run.workspace), workspace_bytes_, on),
        "cublasLtMatmul");
  }

  // What the call left undone; the residual is always the call's.
  void finish(const miniinfer_run& run, std::byte* out, cudaStream_t stream, bool fused) const {
    if (program_) CUDA_CHECK_THROW(program_->launch(run, stream, out));
    Epilogue rest = epilogue_;
    rest.residual = -1;
    if (fused || rest.is_plain()) return;
    EpilogueArgs args{};
    args.out = out;
    if (rest.bias >= 0) args.bias = address(run.args[rest.bias]);
    args.count = count_;
    args.inner = 1;
    args.channels = columns_;
    args.low = rest.low;
    args.high = rest.high;
    args.gelu = rest.activation == Epilogue::Activation::kGeluTanh;
    args.dtype = dtype_;
    CUDA_CHECK_THROW(launch_epilogue(args, stream));
  }

  const CublasLt& lt_;
  ContractCalls calls_;
  Epilogue epilogue_;
  std::optional<PointwiseRunner> program_;
  miniinfer_dtype dtype_;
  LtTypes types_;
  std::uint32_t bytes_;
  std::int64_t count_, columns_;
  std::uint64_t workspace_bytes_;
  int a_, b_;
  std::unique_ptr<LtLayout> a_layout_, b_layout_, out_layout_;
  std::unique_ptr<Product> fast_;   // operands aligned to kVector, fused where possible
  std::unique_ptr<Product> plain_;  // any operands, nothing fused
};

}  // namespace

std::uint64_t contract_lt_workspace(const ContractCalls& calls) {
  const double products = static_cast<double>(calls.m) * static_cast<double>(calls.n) *
                          static_cast<double>(calls.k) * static_cast<double>(calls.batch);
  constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
  return products < 1 << 20 ? kMiB / 4 : products < 1 << 26 ? 8 * kMiB : 32 * kMiB;
}

std::unique_ptr<sdk::Kernel> make_contract_lt(Device& device, const sdk::Region& region,
                                              const ContractCalls& calls,
                                              const Follower& follower) {
  return std::make_unique<ContractLt>(device, region, calls, follower);
}

}  // namespace miniinfer::cuda
