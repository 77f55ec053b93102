#pragma once

// Inputs for a run, from files or made up; and expected outputs.

#include <filesystem>
#include <string>
#include <vector>

#include "command.hpp"
#include "miniinfer/onnx_tensor.hpp"

namespace miniinfer::command {

struct Input {
  std::string name;
  Tensor tensor;
  std::string source;  // "@f.npy", "random:0", "zeros", "test_data_set_0/input_0.pb"
};

// A tensor for every input of the session: from -i and --inputs, and where neither names one,
// `made_up` ("random", "zeros"; empty: an error) with the sizes of --shape, free ones 1.
Result<std::vector<Input>> gather_inputs(const Session& session, const ModelOptions& options,
                                         const std::string& made_up);
// The shapes to plan for: those of the inputs that are given, or else of --shape.
Outcome gather_shapes(const Session& session, const ModelOptions& options,
                      std::vector<NamedShape>& shapes);
// How a command ends that could not get its inputs.
Outcome input_failure(const Status& status);
Json to_json(const std::vector<Input>& inputs);
std::vector<Named> named(const std::vector<Input>& inputs);

// Tensors of a test_data_set folder: input_0.pb or output_0.pb and so on, named after `specs` in
// their order where the file names none of them.
Result<std::vector<NamedTensor>> read_data_set(const std::filesystem::path& folder,
                                               const std::string& prefix,
                                               std::span<const TensorSpec> specs);
// The same, or an .npz.
Result<std::vector<NamedTensor>> read_tensors(const std::filesystem::path& path,
                                              const std::string& prefix,
                                              std::span<const TensorSpec> specs);

// Floats in [low, high), integers from low to high, by a seed; a PCG32 generator, so the same on
// every machine.
Result<Tensor> random_tensor(const TensorType& type, std::uint64_t seed, double low, double high);

}  // namespace miniinfer::command
