#pragma once

// An ONNX model as its file has it: the messages of onnx.proto that we use, names as views into the
// file's bytes.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/graph/constant.hpp"

namespace miniinfer::onnx {

struct Graph;

struct Tensor {
  std::string_view name;
  ConstantPtr constant;
};

struct Attribute {
  std::string_view name;
  std::string_view function_attribute;  // ref_attr_name: take the function's attribute of that name
  std::int64_t type = 0;                // AttributeProto.AttributeType; 0 in old files
  std::variant<std::monostate, float, std::int64_t, std::string, Tensor, std::shared_ptr<Graph>,
               std::vector<float>, std::vector<std::int64_t>, std::vector<std::string>>
      value;
};

struct Node {
  std::string_view name;
  std::string_view op_type;
  std::string_view domain;
  std::string_view overload;
  std::int64_t opset = 0;  // of the function it was inlined from; 0: what the model imports
  std::vector<std::string_view> inputs;
  std::vector<std::string_view> outputs;
  std::vector<Attribute> attributes;
};

struct ValueInfo {
  std::string_view name;
  std::string_view
      kind;  // "tensor", "sequence", "map", "optional", "sparse tensor"; empty: no type
  DataType dtype = DataType::Undefined;
  bool has_shape = false;
  Shape shape;  // -1 where the file names a size or says nothing
  std::vector<std::string> dim_names;
};

struct Graph {
  std::string_view name;
  std::vector<Node> nodes;
  std::vector<Tensor> initializers;
  std::vector<ValueInfo> inputs;
  std::vector<ValueInfo> outputs;
  std::string_view sparse_initializer;  // the name of one, if there is any
};

struct Function {
  std::string_view name;
  std::string_view domain;
  std::string_view overload;
  std::vector<std::string_view> inputs;
  std::vector<std::string_view> outputs;
  std::vector<Attribute> defaults;  // attributes with default values
  std::vector<Node> nodes;
  std::vector<std::pair<std::string_view, std::int64_t>> opsets;
};

struct Model {
  std::int64_t ir_version = 0;
  std::string_view producer;
  std::vector<std::pair<std::string_view, std::int64_t>> opsets;  // domain, version
  bool has_graph = false;
  Graph graph;
  std::vector<Function> functions;
};

}  // namespace miniinfer::onnx
