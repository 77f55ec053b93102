#pragma once

#include <memory>

#include "miniinfer/sdk/kernel.hpp"
#include "plugins/cuda/device.hpp"
#include "plugins/cuda/kernels/contract_shape.hpp"
#include "plugins/cuda/kernels/epilogue_follower.hpp"

namespace miniinfer::cuda {

// The kernel of a float product through cuBLASLt. Throws where the library is missing.
std::unique_ptr<sdk::Kernel> make_contract_lt(Device& device, const sdk::Region& region,
                                              const ContractCalls& calls, const Follower& follower);

}  // namespace miniinfer::cuda
