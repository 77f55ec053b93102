#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "miniinfer/sdk/backend.hpp"

namespace miniinfer::fake {

class Backend final : public sdk::Backend {
 public:
  static constexpr const char* kVersion = "0.1.0";
  static constexpr const char* kVendor = "Mini-Infer, for its own tests";
  static sdk::Probe probe();

  std::unique_ptr<sdk::Device> open(std::uint32_t ordinal,
                                    const miniinfer_device_info& info) override;
  const void* extension(std::string_view id) override;
};

}  // namespace miniinfer::fake
