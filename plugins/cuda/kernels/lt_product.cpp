// cuBLASLt stores by columns: a row-major out = a b is its out^T = b^T a^T, so b is its first
// operand and a bias along n is its bias along rows.

#include "plugins/cuda/kernels/lt_product.hpp"

#include <map>
#include <mutex>

#include "plugins/cuda/context.hpp"

namespace miniinfer::cuda {
namespace {

constexpr std::uint32_t kVector = 16;  // bytes, the alignment of the fast algorithms

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
bool library_has(const Epilogue& epilogue, const LtTypes& types) {
  if (epilogue.clips() && !epilogue.is_relu()) return false;
  return types.element != CUDA_R_64F || library_epilogue(epilogue) == CUBLASLT_EPILOGUE_DEFAULT;
}

}  // namespace

LtProduct::LtProduct(Device& device, const ContractCalls& calls, miniinfer_dtype dtype,
                     std::uint32_t math, const Epilogue& epilogue)
    : lt_(device.libraries().cublas_lt()),
      calls_(calls),
      epilogue_(epilogue),
      types_(lt_types(dtype, math)),
      bytes_(sdk::element_bytes(dtype)),
      a_layout_(layout(calls.m, calls.k, calls.a, calls.a_step)),
      b_layout_(layout(calls.k, calls.n, calls.b, calls.b_step)),
      out_layout_(layout(calls.m, calls.n, {false, calls.out_ld}, calls.out_step)) {
  epilogue_.residual = -1;       // always the call's
  device.uses_cublas_lt = true;  // before a capture, which may not make handles
  const cublasLtHandle_t handle = planning_handle(lt_, device);
  cublasStatus_t why = CUBLAS_STATUS_SUCCESS;
  if (library_has(epilogue_, types_)) fast_ = find(handle, true, kVector, why);
  if (fast_ == nullptr) fast_ = find(handle, false, kVector, why);
  plain_ = find(handle, false, bytes_, why);
  if (plain_ == nullptr) {
    sdk::fail(MINIINFER_UNSUPPORTED,
              "cublasLtMatmulAlgoGetHeuristic: no algorithm for %lld x %lld x %lld in %s: %s",
              static_cast<long long>(calls.m), static_cast<long long>(calls.n),
              static_cast<long long>(calls.k), sdk::dtype_name(dtype),
              lt_.cublasLtGetStatusName(why));
  }
}

std::uint64_t LtProduct::workspace_bytes(const ContractCalls& calls) {
  const double products = static_cast<double>(calls.m) * static_cast<double>(calls.n) *
                          static_cast<double>(calls.k) * static_cast<double>(calls.batch);
  constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
  return products < 1 << 20 ? kMiB / 4 : products < 1 << 26 ? 8 * kMiB : 32 * kMiB;
}

bool LtProduct::enqueue(sdk::Stream* stream, const Operands& operands) const {
  const Call& call = fast_ != nullptr && is_aligned(operands) ? *fast_ : *plain_;
  // The descriptor is plain memory; its copy brings this run's bias.
  cublasLtMatmulDescOpaque_t descriptor = *call.descriptor.get();
  if (call.has_bias) {
    check_lt(lt_,
             lt_.cublasLtMatmulDescSetAttribute(&descriptor, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                                &operands.bias, sizeof operands.bias),
             "cublasLtMatmulDescSetAttribute");
  }
  const float one = 1, beta = operands.residual != nullptr ? 1 : 0;
  const double wide_one = 1, wide_beta = beta;
  const bool wide = types_.scale == CUDA_R_64F;
  const void* const alpha_at = wide ? static_cast<const void*>(&wide_one) : &one;
  const void* const beta_at = wide ? static_cast<const void*>(&wide_beta) : &beta;
  const std::byte* const c = operands.residual != nullptr ? operands.residual : operands.out;
  const cublasLtHandle_t handle = context(stream).cublas_lt();
  const auto on = static_cast<cudaStream_t>(stream->native());
  const std::int64_t count = calls_.outer.count();
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = [&](int operand) {
      return unravel_wide(i, calls_.outer.rank, calls_.outer.dims, calls_.outer.strides[operand]) *
             static_cast<std::int64_t>(bytes_);
    };
    check_lt(lt_,
             lt_.cublasLtMatmul(handle, &descriptor, alpha_at, operands.b + at(1), b_layout_->get(),
                                operands.a + at(0), a_layout_->get(), beta_at, c + at(2),
                                out_layout_->get(), operands.out + at(2), out_layout_->get(),
                                &call.algorithm, operands.workspace, workspace_bytes(calls_), on),
             "cublasLtMatmul");
  }
  return call.fused || epilogue_.is_plain();
}

std::unique_ptr<LtLayout> LtProduct::layout(std::int64_t rows, std::int64_t columns,
                                            const StoredMatrix& stored, std::int64_t step) const {
  return std::make_unique<LtLayout>(lt_, types_.element, stored.transposed ? rows : columns,
                                    stored.transposed ? columns : rows, stored.ld, calls_.batch,
                                    step);
}

std::unique_ptr<LtProduct::Call> LtProduct::find(cublasLtHandle_t handle, bool fused,
                                                 std::uint32_t alignment,
                                                 cublasStatus_t& why) const {
  std::unique_ptr<Call> call(new Call{{lt_, types_, calls_.b.transposed, calls_.a.transposed}});
  if (fused) {
    call->fused = true;
    call->has_bias = epilogue_.bias >= 0;
    call->descriptor.set(CUBLASLT_MATMUL_DESC_EPILOGUE, library_epilogue(epilogue_));
    if (call->has_bias) {
      // There must be one for an algorithm to be chosen; each run brings its own.
      call->descriptor.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                           reinterpret_cast<const void*>(std::uintptr_t{256}));
    }
  }
  LtPreference preference(lt_);
  preference.set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes(calls_));
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    preference.set(attribute, alignment);
  }
  if (bytes_ == 2) {
    // Parts of a sum are added in float32 and not in the output's type.
    preference.set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                   static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  }
  cublasLtMatmulHeuristicResult_t result{};
  int found = 0;
  const cublasStatus_t status = lt_.cublasLtMatmulAlgoGetHeuristic(
      handle, call->descriptor.get(), b_layout_->get(), a_layout_->get(), out_layout_->get(),
      out_layout_->get(), preference.get(), 1, &result, &found);
  if (status != CUBLAS_STATUS_SUCCESS || found == 0 || result.state != CUBLAS_STATUS_SUCCESS) {
    why = status != CUBLAS_STATUS_SUCCESS ? status : result.state;
    return nullptr;
  }
  call->algorithm = result.algo;
  return call;
}

// Whether every operand of every call is, and the bias.
bool LtProduct::is_aligned(const Operands& operands) const {
  std::uintptr_t bits = 0;
  for (const std::byte* place : {operands.a, operands.b, operands.residual, operands.bias,
                                 static_cast<const std::byte*>(operands.out)}) {
    bits |= reinterpret_cast<std::uintptr_t>(place);
  }
  for (const auto& strides : calls_.outer.strides) {
    for (int axis = 0; axis < calls_.outer.rank; ++axis) {
      bits |= static_cast<std::uintptr_t>(strides[axis]) * bytes_;
    }
  }
  return bits % kVector == 0;
}

}  // namespace miniinfer::cuda
