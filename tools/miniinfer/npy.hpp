#pragma once

// Tensors in NumPy's files.
//
// Read are bool, integers, float16 to float64 and complex, of either byte order and in C or Fortran
// order; whatever else (objects, records, dates, text) is UNSUPPORTED, never guessed at. Headers
// are parsed as the literals they are: nothing is evaluated, nothing unpickled.
//
// Every message names the file. NOT_FOUND where there is none, INVALID_ARGUMENT where it is no such
// file, LIMIT_EXCEEDED where it would unpack to far more than its size, FAILED_PRECONDITION where
// the system refuses to read or write. A file is written beside its place and then renamed, so
// there is never half of one.

#include <filesystem>
#include <span>
#include <vector>

#include "miniinfer/onnx_tensor.hpp"

namespace miniinfer::command {

Result<Tensor> read_npy(const std::filesystem::path& file);
// From any device.
Status write_npy(const std::filesystem::path& file, const Tensor& tensor);

// In the archive's order; names without ".npy".
Result<std::vector<NamedTensor>> read_npz(const std::filesystem::path& file);
// As numpy.savez writes them: not compressed.
Status write_npz(const std::filesystem::path& file, std::span<const NamedTensor> tensors);

}  // namespace miniinfer::command
