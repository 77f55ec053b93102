// cuBLASLt stores by columns: a row-major out = a b is its out^T = b^T a^T, so b is its first
// operand and a bias along n is its bias along rows.

#include "plugins/cuda/kernels/lt_product.hpp"

#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "miniinfer/sdk/host.hpp"
#include "plugins/cuda/bench.hpp"
#include "plugins/cuda/context.hpp"
#include "plugins/cuda/findings.hpp"
#include "plugins/cuda/kernels/tuning.hpp"

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
      dtype_(dtype),
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
  if (fast_ != nullptr) tune(device, handle, *fast_, math);
}

std::uint64_t LtProduct::workspace_bytes(const ContractCalls& calls) {
  const double products = static_cast<double>(calls.m) * static_cast<double>(calls.n) *
                          static_cast<double>(calls.k) * static_cast<double>(calls.batch);
  constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
  return products < 1 << 20 ? kMiB / 4 : products < 1 << 26 ? 8 * kMiB : 32 * kMiB;
}

bool LtProduct::enqueue(sdk::Stream* stream, const Operands& operands) const {
  const Call& call = fast_ != nullptr && is_aligned(operands) ? *fast_ : *plain_;
  const cublasLtHandle_t handle = context(stream).cublas_lt();
  const auto on = static_cast<cudaStream_t>(stream->native());
  const std::int64_t count = calls_.outer.count();
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = [&](int operand) {
      return unravel_wide(i, calls_.outer.rank, calls_.outer.dims, calls_.outer.strides[operand]) *
             static_cast<std::int64_t>(bytes_);
    };
    Operands one = operands;
    one.a += at(0);
    one.b += at(1);
    one.out += at(2);
    if (one.residual != nullptr) one.residual += at(2);
    multiply(handle, on, call, call.algorithm, one);
  }
  return call.fused || epilogue_.is_plain();
}

void LtProduct::multiply(cublasLtHandle_t handle, cudaStream_t stream, const Call& call,
                         const cublasLtMatmulAlgo_t& algorithm, const Operands& operands) const {
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
  check_lt(lt_,
           lt_.cublasLtMatmul(handle, &descriptor, alpha_at, operands.b, b_layout_->get(),
                              operands.a, a_layout_->get(), beta_at, c, out_layout_->get(),
                              operands.out, out_layout_->get(), &algorithm, operands.workspace,
                              workspace_bytes(calls_), stream),
           "cublasLtMatmul");
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
  const auto found = algorithms(handle, *call, alignment, 1, why);
  if (found.empty()) return nullptr;
  call->algorithm = found[0];
  return call;
}

std::vector<cublasLtMatmulAlgo_t> LtProduct::algorithms(cublasLtHandle_t handle, const Call& call,
                                                        std::uint32_t alignment, int most,
                                                        cublasStatus_t& why) const {
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
  std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<std::size_t>(most));
  int count = 0;
  why = lt_.cublasLtMatmulAlgoGetHeuristic(handle, call.descriptor.get(), b_layout_->get(),
                                           a_layout_->get(), out_layout_->get(), out_layout_->get(),
                                           preference.get(), most, results.data(), &count);
  std::vector<cublasLtMatmulAlgo_t> found;
  if (why != CUBLAS_STATUS_SUCCESS) return found;
  for (int i = 0; i < count; ++i) {
    if (results[i].state == CUBLAS_STATUS_SUCCESS) {
      found.push_back(results[i].algo);
    } else {
      why = results[i].state;
    }
  }
  return found;
}

bool LtProduct::is_usable(cublasLtHandle_t handle, const Call& call,
                          const cublasLtMatmulAlgo_t& algorithm) const {
  cublasLtMatmulHeuristicResult_t result{};
  return lt_.cublasLtMatmulAlgoCheck(handle, call.descriptor.get(), b_layout_->get(),
                                     a_layout_->get(), out_layout_->get(), out_layout_->get(),
                                     &algorithm, &result) == CUBLAS_STATUS_SUCCESS &&
         result.workspaceSize <= workspace_bytes(calls_);
}

// An algorithm is plain memory that the library allows to be stored for the same version of it,
// which the subject names. It is not looked for among what is recommended: the library promises no
// equal answers to equal questions.
void LtProduct::tune(Device& device, cublasLtHandle_t handle, Call& call,
                     std::uint32_t math) const {
  constexpr int kMost = 16;
  const std::lock_guard lock(device.findings().mutex);
  const Fastest fastest(device, subject(call));
  const std::string known = fastest.recall();
  if (cublasLtMatmulAlgo_t algorithm; known.size() == sizeof algorithm) {
    std::memcpy(&algorithm, known.data(), sizeof algorithm);
    if (is_usable(handle, call, algorithm)) {
      call.algorithm = algorithm;
      return;
    }
  }
  if (!tuning_wanted()) return;
  cublasStatus_t why = CUBLAS_STATUS_SUCCESS;
  auto all = algorithms(handle, call, kVector, kMost, why);
  // What would not be recognised later is not worth measuring.
  std::erase_if(all, [&](const auto& each) { return !is_usable(handle, call, each); });
  if (all.size() < 2) return;
  try {
    const auto best = measure(device, handle, call, all, math);
    if (!best) return;
    call.algorithm = all[*best];
    fastest.remember({reinterpret_cast<const char*>(&call.algorithm), sizeof call.algorithm});
  } catch (const sdk::Error& error) {
    if (error.code() != MINIINFER_OUT_OF_MEMORY) throw;
    sdk::log(MINIINFER_LOG_INFO, "a product of %lld x %lld x %lld is not measured: %s",
             static_cast<long long>(calls_.m), static_cast<long long>(calls_.n),
             static_cast<long long>(calls_.k), error.what());
  }
}

std::optional<std::size_t> LtProduct::measure(Device& device, cublasLtHandle_t handle,
                                              const Call& call,
                                              const std::vector<cublasLtMatmulAlgo_t>& all,
                                              std::uint32_t math) const {
  const ContractCalls& c = calls_;
  const auto bytes = [&](std::int64_t lines, std::int64_t line, std::int64_t ld,
                         std::int64_t step) {
    return static_cast<std::uint64_t>((c.batch - 1) * step + (lines - 1) * ld + line) * bytes_;
  };
  Bench bench(device);
  const std::vector<std::byte> numbers = tuning_numbers(dtype_);
  Trial trial;
  trial.problem =
      sdk::format("a product of %lld x %lld x %lld, batch %lld, in %s", static_cast<long long>(c.m),
                  static_cast<long long>(c.n), static_cast<long long>(c.k),
                  static_cast<long long>(c.batch), sdk::dtype_name(dtype_));
  trial.dtype = dtype_;
  trial.math = math;
  trial.ways = all.size();
  trial.out_bytes = bytes(c.m, c.n, c.out_ld, c.out_step);
  trial.out = bench.take(trial.out_bytes, numbers);
  Operands operands{};
  operands.a = bench.take(
      c.a.transposed ? bytes(c.k, c.m, c.a.ld, c.a_step) : bytes(c.m, c.k, c.a.ld, c.a_step),
      numbers);
  operands.b = bench.take(
      c.b.transposed ? bytes(c.n, c.k, c.b.ld, c.b_step) : bytes(c.k, c.n, c.b.ld, c.b_step),
      numbers);
  if (call.has_bias) {
    operands.bias = bench.take(static_cast<std::uint64_t>(c.n) * bytes_, numbers);
  }
  operands.out = trial.out;
  operands.workspace = bench.take(workspace_bytes(c), numbers);
  trial.run = [&](std::size_t way) { multiply(handle, bench.stream(), call, all[way], operands); };
  return find_fastest(device, bench, trial);
}

// What an algorithm is chosen by.
std::string LtProduct::subject(const Call& call) const {
  const ContractCalls& c = calls_;
  const auto number = [](std::int64_t value) { return static_cast<long long>(value); };
  return sdk::format(
      "cuBLASLt %zu product %lld %lld %lld, a %d %lld, b %d %lld, out %lld, batch %lld %lld %lld "
      "%lld, types %d %d %d, epilogue %d, aligned %u, room %llu",
      lt_.cublasLtGetVersion(), number(c.m), number(c.n), number(c.k), c.a.transposed,
      number(c.a.ld), c.b.transposed, number(c.b.ld), number(c.out_ld), number(c.batch),
      number(c.a_step), number(c.b_step), number(c.out_step), types_.element, types_.compute,
      types_.scale, call.fused ? library_epilogue(epilogue_) : CUBLASLT_EPILOGUE_DEFAULT, kVector,
      static_cast<unsigned long long>(workspace_bytes(c)));
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
