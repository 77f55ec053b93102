#pragma once

#include "miniinfer/sdk/backend.hpp"

namespace miniinfer::cuda {

class Backend final : public sdk::Backend {
 public:
  static constexpr const char* kVersion = "0.1.0";
  static constexpr const char* kVendor = "Mini-Infer";

  static sdk::Probe probe();

  Backend();
  std::unique_ptr<sdk::Device> open(std::uint32_t ordinal,
                                    const miniinfer_device_info& info) override;
};

}  // namespace miniinfer::cuda
