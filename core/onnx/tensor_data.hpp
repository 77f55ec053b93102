#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/onnx/model.hpp"
#include "miniinfer/status.hpp"

namespace miniinfer::onnx {

// The fields of a TensorProto as they are read, before they are known to fit together.
struct RawTensor {
  std::string_view name;
  Shape dims;
  std::int64_t data_type = 0;
  bool external = false;
  std::vector<std::pair<std::string_view, std::string_view>> external_data;
  bool has_raw = false;
  std::string_view raw;          // raw_data
  std::vector<std::byte> typed;  // elements of a typed field, in the tensor's own type
  std::string_view typed_field;  // its name; empty: none
  std::vector<std::string> strings;
};

// Bytes of an external file: location, offset, length (0: to the end), as the file asks for them.
struct ExternalRange {
  std::string location;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};
struct ExternalBytes {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> keep;
};
using ExternalReader = std::function<Result<ExternalBytes>(const ExternalRange&)>;

// Puts a tensor together. INVALID_ARGUMENT, naming it, where the data is not exactly as long as its
// type and dims say, or is given in two ways. `keep` keeps what raw_data points into.
Result<Tensor> finish_tensor(RawTensor raw, const std::shared_ptr<const void>& keep,
                             const ExternalReader& external);

// Appends one element of a typed field (float_data, int32_data, ..) in the tensor's own type; false
// where that field cannot hold that type.
bool append_element(DataType type, std::int64_t value, std::vector<std::byte>& out);  // int32_data
bool append_element(DataType type, float value, std::vector<std::byte>& out);
bool append_element(DataType type, double value, std::vector<std::byte>& out);
bool append_element64(DataType type, std::uint64_t bits, std::vector<std::byte>& out);  // 64-bit

}  // namespace miniinfer::onnx
