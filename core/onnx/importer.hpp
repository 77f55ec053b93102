#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/graph/graph.hpp"
#include "core/onnx/limits.hpp"
#include "core/onnx/tensor_data.hpp"

namespace miniinfer {

// An input or output as the file declares it.
struct DeclaredValue {
  std::string name;
  DataType dtype = DataType::Undefined;
  bool known_rank = false;
  Shape shape;                         // -1: free
  std::vector<std::string> dim_names;  // as long as shape; "" for a size without a name
};

struct ImportedModel {
  Graph graph;                        // canonical operators, in order
  std::vector<DeclaredValue> inputs;  // without those that are initializers
  std::vector<DeclaredValue> outputs;
  std::int64_t ir_version = 0;
  std::vector<std::pair<std::string, std::int64_t>> opsets;
  std::string producer;
  std::vector<std::pair<std::string, int>> operators;  // as in the file, by falling number
  int node_count = 0;                                  // as in the file
  std::uint64_t parameter_count = 0;                   // elements of initializers and constants
  std::uint64_t parameter_bytes = 0;
};

// Reads a model of IR 3 to 13 and opsets up to 27. Every operator is checked against its schema and
// upgraded to its newest definition. An initializer that is also an input (IR 3 asks for that) is a
// constant, which a caller cannot override.
//
// INVALID_ARGUMENT where the file is no valid model, LIMIT_EXCEEDED beyond a limit, UNSUPPORTED
// with all nodes that have an unknown operator or opset. `keep` keeps the bytes alive.
Result<ImportedModel> import_model(std::span<const std::byte> bytes,
                                   std::shared_ptr<const void> keep,
                                   const onnx::ExternalReader& external,
                                   const ImportLimits& limits = {});

}  // namespace miniinfer
