#pragma once

// Tensors in the file formats of the ONNX backend tests.

#include <filesystem>
#include <span>
#include <string>

#include "miniinfer/tensor.hpp"

namespace miniinfer {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

// Reads a serialized TensorProto. INVALID_ARGUMENT for what is not one (a SequenceProto, say),
// UNSUPPORTED for element types without a DataType.
MINIINFER_API Result<NamedTensor> read_onnx_tensor(std::span<const std::byte> bytes);
// The same from a file, such as test_data_set_0/input_0.pb.
MINIINFER_API Result<NamedTensor> read_onnx_tensor(const std::filesystem::path& file);

}  // namespace miniinfer
