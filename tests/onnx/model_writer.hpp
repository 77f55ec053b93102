#pragma once

// Writes ONNX models, sound and hostile, as bytes: a protobuf encoder of a few lines, so that tests
// state what they read and no blob is stored.

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/data_type.hpp"

namespace miniinfer::test::onnx {

inline std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}

inline std::string tag(std::uint32_t number, std::uint32_t wire_type) {
  return varint(number << 3 | wire_type);
}
inline std::string integer(std::uint32_t number, std::int64_t value) {
  return tag(number, 0) + varint(static_cast<std::uint64_t>(value));
}
// Text, bytes, or a message.
inline std::string bytes(std::uint32_t number, std::string_view value) {
  return tag(number, 2) + varint(value.size()) + std::string(value);
}
template <class T>
std::string fixed(std::uint32_t number, T value) {
  return tag(number, sizeof(T) == 4 ? 5 : 1) +
         std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class T>
std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}
inline std::string packed(const std::vector<std::int64_t>& values) {
  std::string out;
  for (const std::int64_t value : values) out += varint(static_cast<std::uint64_t>(value));
  return out;
}

// TensorProto without its data: add a field, raw_data is 9.
inline std::string tensor(std::string_view name, DataType type, const Shape& dims) {
  std::string out;
  for (const std::int64_t dim : dims) out += integer(1, dim);
  return out + integer(2, static_cast<std::int64_t>(type)) + bytes(8, name);
}
inline std::string floats(std::string_view name, const Shape& dims,
                          const std::vector<float>& values) {
  return tensor(name, DataType::Float32, dims) + bytes(9, raw(values));
}
inline std::string external(std::string_view name, DataType type, const Shape& dims,
                            std::initializer_list<std::pair<std::string, std::string>> entries) {
  std::string out = tensor(name, type, dims) + integer(14, 1);
  for (const auto& [key, value] : entries) out += bytes(13, bytes(1, key) + bytes(2, value));
  return out;
}

// AttributeProto
inline std::string attribute(std::string_view name, std::int64_t value) {
  return bytes(1, name) + integer(3, value) + integer(20, 2);
}
inline std::string graph_attribute(std::string_view name, std::string_view graph) {
  return bytes(1, name) + bytes(6, graph) + integer(20, 5);
}
inline std::string tensor_attribute(std::string_view name, std::string_view tensor) {
  return bytes(1, name) + bytes(5, tensor) + integer(20, 4);
}
// An attribute of a function's node that takes the call's attribute `from`.
inline std::string reference(std::string_view name, std::string_view from, std::int64_t type) {
  return bytes(1, name) + bytes(21, from) + integer(20, type);
}

using Names = std::initializer_list<std::string_view>;

// NodeProto; `more` is attribute fields and the like.
inline std::string node(std::string_view op, Names inputs, Names outputs,
                        std::string_view name = {}, std::string_view more = {},
                        std::string_view domain = {}) {
  std::string out;
  for (const std::string_view input : inputs) out += bytes(1, input);
  for (const std::string_view output : outputs) out += bytes(2, output);
  if (!name.empty()) out += bytes(3, name);
  out += bytes(4, op);
  if (!domain.empty()) out += bytes(7, domain);
  return out + std::string(more);
}

// ValueInfoProto; a size of -1 is one without a name.
inline std::string value(std::string_view name, DataType type, const Shape& dims) {
  std::string shape;
  for (const std::int64_t dim : dims) shape += bytes(1, dim >= 0 ? integer(1, dim) : "");
  return bytes(1, name) +
         bytes(2, bytes(1, integer(1, static_cast<std::int64_t>(type)) + bytes(2, shape)));
}

// The fields of a GraphProto.
inline std::string with_node(std::string_view node) { return bytes(1, node); }
inline std::string with_initializer(std::string_view tensor) { return bytes(5, tensor); }
inline std::string with_input(std::string_view value) { return bytes(11, value); }
inline std::string with_output(std::string_view value) { return bytes(12, value); }
inline std::string x_in() { return with_input(value("x", DataType::Float32, {2})); }
inline std::string y_out() { return with_output(value("y", DataType::Float32, {2})); }

inline std::string opset(std::int64_t version, std::string_view domain = {}) {
  return bytes(8, bytes(1, domain) + integer(2, version));
}

// ModelProto of IR 8.
inline std::string model(std::string_view graph, std::int64_t version = 17,
                         std::string_view more = {}) {
  return integer(1, 8) + bytes(2, "model_writer") + bytes(7, graph) + opset(version) +
         std::string(more);
}
// x -> `nodes` -> y
inline std::string model_of(std::string_view nodes, std::string_view more = {}) {
  return model(std::string(nodes) + x_in() + y_out(), 17, more);
}

// FunctionProto of domain "f"; the field of a ModelProto.
inline std::string function(std::string_view name, Names inputs, Names outputs,
                            std::string_view nodes, std::int64_t version = 17) {
  std::string out = bytes(1, name);
  for (const std::string_view input : inputs) out += bytes(4, input);
  for (const std::string_view output : outputs) out += bytes(5, output);
  return bytes(25, out + std::string(nodes) + bytes(9, integer(2, version)) +
                       bytes(9, bytes(1, "f") + integer(2, 1)) + bytes(10, "f"));
}
// A node of a function's body.
inline std::string in_body(std::string_view node) { return bytes(7, node); }

inline std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace miniinfer::test::onnx
