#pragma once

#include <cublasLt.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "miniinfer/abi/op.h"
#include "miniinfer/sdk/stream.hpp"
#include "plugins/cuda/device.hpp"
#include "plugins/cuda/kernels/contract_descriptors.hpp"
#include "plugins/cuda/kernels/contract_shape.hpp"
#include "plugins/cuda/kernels/epilogue.hpp"

namespace miniinfer::cuda {

// A product in a float type through cuBLASLt, with what of its epilogue the library knows: no
// matter which operator it is of, and without the operands' addresses, which each call brings.
class LtProduct {
 public:
  struct Operands {
    const std::byte* a;
    const std::byte* b;
    const std::byte* residual;  // null where there is none; may be `out`
    const std::byte* bias;      // null where there is none; a number for each column of out
    std::byte* out;
    std::byte* workspace;  // workspace_bytes() of it
  };

  // Nothing is empty, and of `epilogue` only what it does matters. The algorithm is the one that
  // was measured to be fastest, should that be known or wanted (tuning.hpp), and otherwise the one
  // the library recommends. The device is current. Throws UNSUPPORTED where the library is missing
  // or has no algorithm.
  LtProduct(Device& device, const ContractCalls& calls, miniinfer_dtype dtype, std::uint32_t math,
            const Epilogue& epilogue);

  // Scratch for split sums: more than the algorithms want for a product of that size.
  static std::uint64_t workspace_bytes(const ContractCalls& calls);

  // out = a b + residual, and then bias and activation if it is true, which are otherwise left to
  // the caller. False only where there is one of them. [any-thread, a stream by one at a time]
  bool enqueue(sdk::Stream* stream, const Operands& operands) const;

 private:
  // How a call is made: what is fused into it and by which algorithm.
  struct Call {
    LtMatmul descriptor;
    cublasLtMatmulAlgo_t algorithm{};
    bool fused = false;  // bias and activation
    bool has_bias = false;
  };

  std::unique_ptr<LtLayout> layout(std::int64_t rows, std::int64_t columns,
                                   const StoredMatrix& stored, std::int64_t step) const;
  // Null, with the library's answer, where it has no algorithm.
  std::unique_ptr<Call> find(cublasLtHandle_t handle, bool fused, std::uint32_t alignment,
                             cublasStatus_t& why) const;
  // Those that the library recommends for a call, best first, at most so many.
  std::vector<cublasLtMatmulAlgo_t> algorithms(cublasLtHandle_t handle, const Call& call,
                                               std::uint32_t alignment, int most,
                                               cublasStatus_t& why) const;
  // Whether the library can make the call by an algorithm, be it from a cache.
  bool is_usable(cublasLtHandle_t handle, const Call& call,
                 const cublasLtMatmulAlgo_t& algorithm) const;
  // Gives the call the algorithm that is known, or measured, to be fastest.
  void tune(Device& device, cublasLtHandle_t handle, Call& call, std::uint32_t math) const;
  std::optional<std::size_t> measure(Device& device, cublasLtHandle_t handle, const Call& call,
                                     const std::vector<cublasLtMatmulAlgo_t>& all,
                                     std::uint32_t math) const;
  std::string subject(const Call& call) const;
  // One call of the library's, of the operands as they are; the bias is put into the descriptor.
  void multiply(cublasLtHandle_t handle, cudaStream_t stream, const Call& call,
                const cublasLtMatmulAlgo_t& algorithm, const Operands& operands) const;
  bool is_aligned(const Operands& operands) const;

  const CublasLt& lt_;
  ContractCalls calls_;
  Epilogue epilogue_;  // without the residual
  miniinfer_dtype dtype_;
  LtTypes types_;
  std::uint32_t bytes_;
  std::unique_ptr<LtLayout> a_layout_, b_layout_, out_layout_;
  std::unique_ptr<Call> fast_;   // operands aligned to 16 bytes, fused where possible
  std::unique_ptr<Call> plain_;  // any operands, nothing fused
};

}  // namespace miniinfer::cuda
