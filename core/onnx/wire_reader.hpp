#pragma once

#include <memory>
#include <span>

#include "core/onnx/limits.hpp"
#include "core/onnx/model.hpp"
#include "core/onnx/tensor_data.hpp"

namespace miniinfer::onnx {

// Decodes a ModelProto in place. Views in the result point into `bytes`, which `keep` keeps alive.
// INVALID_ARGUMENT with the place where the bytes are no such message, LIMIT_EXCEEDED beyond a
// limit.
Result<Model> read_model(std::span<const std::byte> bytes, std::shared_ptr<const void> keep,
                         const ImportLimits& limits, const ExternalReader& external);

// Decodes a TensorProto; the same rules.
Result<Tensor> read_tensor(std::span<const std::byte> bytes, std::shared_ptr<const void> keep,
                           const ImportLimits& limits);

}  // namespace miniinfer::onnx
