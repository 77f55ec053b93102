#include "miniinfer/onnx_tensor.hpp"

#include "core/base/format.hpp"
#include "core/onnx/wire_reader.hpp"
#include "core/platform/mapped_file.hpp"

namespace miniinfer {

Result<NamedTensor> read_onnx_tensor(std::span<const std::byte> bytes) {
  Result<onnx::Tensor> read = onnx::read_tensor(bytes, nullptr, ImportLimits());
  if (!read) {
    // A SequenceProto or an OptionalProto reads like a tensor whose data is missing.
    return Status(read.status().code(), std::string(read.status().message()),
                  "a TensorProto is read here, no sequence and no optional");
  }
  const Constant& constant = *read->constant;
  Result<Tensor> tensor = constant.type.dtype == DataType::String
                              ? Tensor::from_strings(constant.strings, constant.type.shape)
                              : Tensor::from_bytes(constant.bytes, constant.type);
  if (!tensor) return tensor.status();
  return NamedTensor{std::string(read->name), std::move(*tensor)};
}

Result<NamedTensor> read_onnx_tensor(const std::filesystem::path& file) {
  Result<MappedFile> mapped = MappedFile::open(file);
  if (!mapped) return mapped.status();
  Result<NamedTensor> tensor = read_onnx_tensor(mapped->bytes());
  if (!tensor) return tensor.status().with_context(printable(file.string(), 256));
  return tensor;
}

}  // namespace miniinfer
