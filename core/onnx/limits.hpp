#pragma once

#include <cstdint>

namespace miniinfer {

// What a model file may ask for. Enforced while decoding: a check afterwards would come too late,
// since two bytes of file can ask for a hundred of memory.
struct ImportLimits {
  int max_graph_depth = 32;             // subgraphs inside subgraphs
  std::uint64_t max_nodes = 1'000'000;  // subgraphs and inlined functions included
  std::uint64_t max_initializers = 1'000'000;
  std::uint64_t max_values = 1 << 21;     // names of inputs and outputs
  std::uint64_t max_strings = 1'000'000;  // in tensors and attributes
  std::uint64_t max_name_bytes = 64 << 10;
  std::uint64_t max_rank = 64;
  std::uint64_t max_attribute_elements = 16 << 20;
  std::uint64_t max_node_attributes = 256;
  std::uint64_t max_opsets = 256;  // imported by the model or one function
  std::uint64_t max_functions = 10'000;
  int max_function_depth = 64;  // calls inside calls, subgraphs between them included
  std::uint64_t max_inlined_name_bytes = 256 << 20;
};

}  // namespace miniinfer
