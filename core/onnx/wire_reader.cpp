#include "core/onnx/wire_reader.hpp"

#include <limits>
#include <protozero/pbf_reader.hpp>

#include "core/base/format.hpp"

// Fields are dispatched on tag and wire type together: protozero's accessors do not check the type
// in release builds. A known field of another wire type is skipped like an unknown one.

namespace miniinfer::onnx {
namespace {

using protozero::pbf_reader;
using protozero::pbf_wire_type;

constexpr std::uint32_t varint(std::uint32_t tag) {
  return protozero::tag_and_type(tag, pbf_wire_type::varint);
}
constexpr std::uint32_t bytes_field(std::uint32_t tag) {
  return protozero::tag_and_type(tag, pbf_wire_type::length_delimited);
}
constexpr std::uint32_t fixed32(std::uint32_t tag) {
  return protozero::tag_and_type(tag, pbf_wire_type::fixed32);
}
constexpr std::uint32_t fixed64(std::uint32_t tag) {
  return protozero::tag_and_type(tag, pbf_wire_type::fixed64);
}

constexpr std::uint64_t kMaxExternalKeys = 64;

// Thrown inside this file only, to leave a nest of messages at once.
struct Failure {
  Status status;
};

[[noreturn]] void fail(Code code, std::string message, std::string hint = {}) {
  throw Failure{{code, std::move(message), std::move(hint)}};
}

// As pbf_reader::next, and makes sure that what has a length fits: the accessors take lengths
// modulo 2^32.
bool next(pbf_reader& in) {
  if (!in.next()) return false;
  if (in.wire_type() == pbf_wire_type::length_delimited) {
    const protozero::data_view rest = in.data();
    const char* at = rest.data();
    const char* const end = at + rest.size();
    const std::uint64_t length = protozero::decode_varint(&at, end);
    if (length > static_cast<std::uint64_t>(end - at)) throw protozero::end_of_buffer_exception();
    if (length > std::numeric_limits<protozero::pbf_length_type>::max()) {
      fail(Code::LimitExceeded, "a field of 4 GiB or more");
    }
  }
  return true;
}

class Decoder {
 public:
  Decoder(std::shared_ptr<const void> keep, const ImportLimits& limits,
          const ExternalReader& external)
      : keep_(std::move(keep)), limits_(limits), external_(external) {}

  Model model(pbf_reader in) {
    Model model;
    while (next(in)) {
      switch (in.tag_and_type()) {
        case varint(1):
          model.ir_version = in.get_int64();
          break;
        case bytes_field(2):
          model.producer = view(in);
          break;
        case bytes_field(7):
          model.graph = graph(in.get_message(), 0);
          model.has_graph = true;
          break;
        case bytes_field(8):
          add(model.opsets, opset(in.get_message()), limits_.max_opsets, "opset imports");
          break;
        case bytes_field(25):
          count(functions_, limits_.max_functions, "functions");
          model.functions.push_back(function(in.get_message()));
          break;
        default:
          in.skip();
      }
    }
    return model;
  }

  Tensor tensor(pbf_reader in) {
    RawTensor raw;
    // The type decides how typed fields are read, and may come after them.
    for (pbf_reader look = in; next(look);) {
      if (look.tag_and_type() == varint(2)) {
        raw.data_type = look.get_int32();
      } else {
        look.skip();
      }
    }
    const auto dtype = static_cast<DataType>(raw.data_type);
    while (next(in)) {
      switch (in.tag_and_type()) {
        case bytes_field(1):
          for (const std::int64_t dim : in.get_packed_int64()) add_dim(raw.dims, dim);
          break;
        case varint(1):
          add_dim(raw.dims, in.get_int64());
          break;
        case bytes_field(4):
          for (const float value : in.get_packed_float()) typed(raw, "float_data", dtype, value);
          break;
        case fixed32(4):
          typed(raw, "float_data", dtype, in.get_float());
          break;
        case bytes_field(5):
          for (const std::int32_t value : in.get_packed_int32()) {
            typed(raw, "int32_data", dtype, std::int64_t{value});
          }
          break;
        case varint(5):
          typed(raw, "int32_data", dtype, std::int64_t{in.get_int32()});
          break;
        case bytes_field(6):
          count(strings_, limits_.max_strings, "strings");
          raw.strings.emplace_back(view(in));
          break;
        case bytes_field(7):
          for (const std::int64_t value : in.get_packed_int64())
            typed64(raw, "int64_data", dtype, value);
          break;
        case varint(7):
          typed64(raw, "int64_data", dtype, in.get_int64());
          break;
        case bytes_field(8):
          raw.name = name(in);
          break;
        case bytes_field(9):
          raw.raw = view(in);
          raw.has_raw = true;
          break;
        case bytes_field(10):
          for (const double value : in.get_packed_double()) typed(raw, "double_data", dtype, value);
          break;
        case fixed64(10):
          typed(raw, "double_data", dtype, in.get_double());
          break;
        case bytes_field(11):
          for (const std::uint64_t value : in.get_packed_uint64()) {
            typed64(raw, "uint64_data", dtype, static_cast<std::int64_t>(value));
          }
          break;
        case varint(11):
          typed64(raw, "uint64_data", dtype, static_cast<std::int64_t>(in.get_uint64()));
          break;
        case bytes_field(13):
          add(raw.external_data, entry(in.get_message()), kMaxExternalKeys, "external_data keys");
          break;
        case varint(14):
          raw.external = in.get_int32() == 1;
          break;
        default:
          in.skip();
      }
    }
    Result<Tensor> made = finish_tensor(std::move(raw), keep_, external_);
    if (!made) throw Failure{made.status()};
    return std::move(*made);
  }

 private:
  static std::string_view view(pbf_reader& in) {
    const protozero::data_view data = in.get_view();
    return {data.data(), data.size()};
  }

  std::string_view name(pbf_reader& in) const {
    const std::string_view text = view(in);
    if (text.size() > limits_.max_name_bytes) {
      fail(Code::LimitExceeded, format("a name of %zu bytes: at most %llu", text.size(),
                                       static_cast<unsigned long long>(limits_.max_name_bytes)));
    }
    return text;
  }

  static void count(std::uint64_t& counter, std::uint64_t limit, const char* what) {
    if (++counter > limit) {
      fail(Code::LimitExceeded,
           format("more than %llu %s", static_cast<unsigned long long>(limit), what));
    }
  }

  template <class T>
  static void add(std::vector<T>& list, T item, std::uint64_t limit, const char* what) {
    if (list.size() >= limit) {
      fail(Code::LimitExceeded,
           format("more than %llu %s", static_cast<unsigned long long>(limit), what));
    }
    list.push_back(std::move(item));
  }

  void add_dim(Shape& dims, std::int64_t dim) const {
    if (dims.size() >= limits_.max_rank) {
      fail(Code::LimitExceeded, format("a tensor of more than %llu axes",
                                       static_cast<unsigned long long>(limits_.max_rank)));
    }
    dims.push_back(dim);
  }

  static void begin_typed(RawTensor& raw, std::string_view field) {
    if (!raw.typed_field.empty() && raw.typed_field != field) {
      fail(Code::InvalidArgument,
           "tensor " + printable(raw.name) + ": its data is given in two ways");
    }
    raw.typed_field = field;
  }
  static void refuse_typed(const RawTensor& raw, std::string_view field, DataType dtype) {
    fail(Code::InvalidArgument, "tensor " + printable(raw.name) + ": " + std::string(field) +
                                    " cannot hold " + std::string(to_string(dtype)));
  }
  template <class T>
  static void typed(RawTensor& raw, std::string_view field, DataType dtype, T value) {
    begin_typed(raw, field);
    if (!append_element(dtype, value, raw.typed)) refuse_typed(raw, field, dtype);
  }
  static void typed64(RawTensor& raw, std::string_view field, DataType dtype, std::int64_t value) {
    begin_typed(raw, field);
    if (!append_element64(dtype, static_cast<std::uint64_t>(value), raw.typed)) {
      refuse_typed(raw, field, dtype);
    }
  }

  static std::pair<std::string_view, std::string_view> entry(pbf_reader in) {
    std::pair<std::string_view, std::string_view> entry;
    while (next(in)) {
      switch (in.tag_and_type()) {
        case bytes_field(1):
          entry.first = view(in);
          break;
        case bytes_field(2):
          entry.second = view(in);
          break;
        default:
          in.skip();
      }
    }
    return entry;
  }

  std::pair<std::string_view, std::int64_t> opset(pbf_reader in) const {
    std::pair<std::string_view, std::int64_t> opset;
    while (next(in)) {
      switch (in.tag_and_type()) {
        case bytes_field(1):
          opset.first = name(in);
          break;
        case varint(2):
          opset.second = in.get_int64();
          break;
        default:
          in.skip();
      }
    }
    return opset;
  }

  Graph graph(pbf_reader in, int depth) {
    if (depth > limits_.max_graph_depth) {
      fail(Code::LimitExceeded,
           format("subgraphs nested more than %d deep", limits_.max_graph_depth));
    }
    Graph graph;
    while (next(in)) {
      switch (in.tag_and_type()) {
        case bytes_field(1):
          count(nodes_, limits_.max_nodes, "nodes");
          graph.nodes.push_back(node(in.get_message(), depth));
          break;
        case bytes_field(2):
          graph.name = name(in);
          break;
        case bytes_field(5):
          count(initializers_, limits_.max_initializers, "initializers");
          graph.initializers.push_back(tensor(in.get_message()));
          break;
        case bytes_field(11):
          count(values_, limits_.max_values, "values");
          graph.inputs.push_back(value_info(in.get_message()));
          break;
        case bytes_field(12):
          count(values_, limits_.max_values, "values");
          graph.outputs.push_back(value_info(in.get_message()));
          break;
        case bytes_field(15):
          graph.sparse_initializer = sparse_name(in.get_message());
          break;
        default:
          in.skip();
      }
    }
    return graph;
  }

  static std::string_view sparse_name(pbf_reader in) {
    while (next(in)) {
      if (in.tag_and_type() != bytes_field(1)) {
        in.skip();
        continue;
      }
      pbf_reader values = in.get_message();
      while (next(values)) {
        if (values.tag_and_type() == bytes_field(8)) return view(values);
        values.skip();
      }
    }
    return "?";
  }

  Node node(pbf_reader in, int depth) {
    Node node;
    while (next(in)) {
      switch (in.tag_and_type()) {
        case bytes_field(1):
          count(values_, limits_.max_values, "values");
          node.inputs.push_back(name(in));
          break;
        case bytes_field(2):
          count(values_, limits_.max_values, "values");
          node.outputs.push_back(name(in));
          break;
        case bytes_field(3):
          node.name = name(in);
          break;
        case bytes_field(4):
          node.op_type = name(in);
          break;
        case bytes_field(5):
          add(node.attributes, attribute(in.get_message(), depth), limits_.max_node_attributes,
              "attributes of one node");
          break;
        case bytes_field(7):
          node.domain = name(in);
          break;
        case bytes_field(8):
          node.overload = name(in);
          break;
        default:
          in.skip();
      }
    }
    // Refused at once: a file can hold five million of these in ten megabytes.
    if (node.op_type.empty()) {
      fail(Code::InvalidArgument,
           format("node %s has no operator",
                  node.name.empty()
                      ? format("no. %llu", static_cast<unsigned long long>(nodes_)).c_str()
                      : printable(node.name).c_str()));
    }
    return node;
  }

  template <class List>
  void grow(const List& list) const {
    if (list.size() >= limits_.max_attribute_elements) {
      fail(Code::LimitExceeded,
           format("an attribute of more than %llu elements",
                  static_cast<unsigned long long>(limits_.max_attribute_elements)));
    }
  }

  Attribute attribute(pbf_reader in, int depth) {
    Attribute attribute;
    std::vector<float> floats;
    std::vector<std::int64_t> ints;
    std::vector<std::string> strings;
    const auto append = [&](auto& list, auto value) {
      grow(list);
      list.push_back(std::move(value));
    };
    while (next(in)) {
      switch (in.tag_and_type()) {
        case bytes_field(1):
          attribute.name = name(in);
          break;
        case fixed32(2):
          attribute.value = in.get_float();
          break;
        case varint(3):
          attribute.value = in.get_int64();
          break;
        case bytes_field(4):
          attribute.value = std::string(view(in));
          break;
        case bytes_field(5):
          attribute.value = tensor(in.get_message());
          break;
        case bytes_field(6):
          attribute.value = std::make_shared<Graph>(graph(in.get_message(), depth + 1));
          break;
        case bytes_field(7):
          for (const float value : in.get_packed_float()) append(floats, value);
          break;
        case fixed32(7):
          append(floats, in.get_float());
          break;
        case bytes_field(8):
          for (const std::int64_t value : in.get_packed_int64()) append(ints, value);
          break;
        case varint(8):
          append(ints, in.get_int64());
          break;
        case bytes_field(9):
          count(strings_, limits_.max_strings, "strings");
          append(strings, std::string(view(in)));
          break;
        case varint(20):
          attribute.type = in.get_int32();
          break;
        case bytes_field(21):
          attribute.function_attribute = name(in);
          break;
        default:
          in.skip();
      }
    }
    if (attribute.name.empty()) fail(Code::InvalidArgument, "an attribute has no name");
    // An empty list has no field at all: only the type tells. Old files leave the type out.
    enum { kFloats = 6, kInts = 7, kStrings = 8 };
    if (attribute.type == kFloats || !floats.empty()) {
      attribute.value = std::move(floats);
    } else if (attribute.type == kInts || !ints.empty()) {
      attribute.value = std::move(ints);
    } else if (attribute.type == kStrings || !strings.empty()) {
      attribute.value = std::move(strings);
    } else if (std::holds_alternative<std::monostate>(attribute.value)) {
      // A field that has its default value may be left out.
      if (attribute.type == 1) attribute.value = 0.0F;
      if (attribute.type == 2) attribute.value = std::int64_t{0};
      if (attribute.type == 3) attribute.value = std::string();
    }
    return attribute;
  }

  ValueInfo value_info(pbf_reader in) {
    ValueInfo info;
    while (next(in)) {
      switch (in.tag_and_type()) {
        case bytes_field(1):
          info.name = name(in);
          break;
        case bytes_field(2):
          type(in.get_message(), info);
          break;
        default:
          in.skip();
      }
    }
    if (info.name.empty()) fail(Code::InvalidArgument, "an input or output has no name");
    return info;
  }

  void type(pbf_reader in, ValueInfo& info) {
    while (next(in)) {
      switch (in.tag_and_type()) {
        case bytes_field(1):
          info.kind = "tensor";
          tensor_type(in.get_message(), info);
          break;
        case bytes_field(4):
          info.kind = "sequence";
          in.skip();
          break;
        case bytes_field(5):
          info.kind = "map";
          in.skip();
          break;
        case bytes_field(8):
          info.kind = "sparse tensor";
          in.skip();
          break;
        case bytes_field(9):
          info.kind = "optional";
          in.skip();
          break;
        default:
          in.skip();
      }
    }
  }

  void tensor_type(pbf_reader in, ValueInfo& info) {
    while (next(in)) {
      switch (in.tag_and_type()) {
        case varint(1): {
          const std::int32_t dtype = in.get_int32();
          info.dtype =
              dtype > 0 && dtype <= 26 ? static_cast<DataType>(dtype) : DataType::Undefined;
          break;
        }
        case bytes_field(2): {
          info.has_shape = true;
          pbf_reader shape = in.get_message();
          while (next(shape)) {
            if (shape.tag_and_type() == bytes_field(1)) {
              dimension(shape.get_message(), info);
            } else {
              shape.skip();
            }
          }
          break;
        }
        default:
          in.skip();
      }
    }
  }

  void dimension(pbf_reader in, ValueInfo& info) {
    std::int64_t size = -1;
    std::string_view symbol;
    while (next(in)) {
      switch (in.tag_and_type()) {
        case varint(1):
          size = in.get_int64();
          break;
        case bytes_field(2):
          symbol = name(in);
          break;
        default:
          in.skip();
      }
    }
    add_dim(info.shape, size);
    info.dim_names.emplace_back(size < 0 ? symbol : std::string_view());
  }

  Function function(pbf_reader in) {
    Function function;
    while (next(in)) {
      switch (in.tag_and_type()) {
        case bytes_field(1):
          function.name = name(in);
          break;
        case bytes_field(4):
          count(values_, limits_.max_values, "values");
          function.inputs.push_back(name(in));
          break;
        case bytes_field(5):
          count(values_, limits_.max_values, "values");
          function.outputs.push_back(name(in));
          break;
        case bytes_field(7):
          count(nodes_, limits_.max_nodes, "nodes");
          function.nodes.push_back(node(in.get_message(), 0));
          break;
        case bytes_field(9):
          add(function.opsets, opset(in.get_message()), limits_.max_opsets, "opset imports");
          break;
        case bytes_field(10):
          function.domain = name(in);
          break;
        case bytes_field(11):
          add(function.defaults, attribute(in.get_message(), 0), limits_.max_node_attributes,
              "attributes of one function");
          break;
        case bytes_field(13):
          function.overload = name(in);
          break;
        default:
          in.skip();
      }
    }
    return function;
  }

  std::shared_ptr<const void> keep_;
  const ImportLimits& limits_;
  const ExternalReader& external_;
  std::uint64_t nodes_ = 0;
  std::uint64_t initializers_ = 0;
  std::uint64_t values_ = 0;
  std::uint64_t strings_ = 0;
  std::uint64_t functions_ = 0;
};

template <class Decode>
auto guarded(std::span<const std::byte> bytes, const char* what, const Decode& decode)
    -> Result<decltype(decode(pbf_reader()))> {
  try {
    return decode(pbf_reader(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  } catch (const Failure& failure) {
    return failure.status;
  } catch (const protozero::exception& error) {
    return Status(Code::InvalidArgument,
                  format("the bytes are no ONNX %s: %s", what, error.what()));
  } catch (const std::bad_alloc&) {
    return Status(Code::OutOfMemory, format("no memory to read the %s", what));
  }
}

}  // namespace

Result<Model> read_model(std::span<const std::byte> bytes, std::shared_ptr<const void> keep,
                         const ImportLimits& limits, const ExternalReader& external) {
  Decoder decoder(std::move(keep), limits, external);
  return guarded(bytes, "model", [&](pbf_reader in) { return decoder.model(in); });
}

Result<Tensor> read_tensor(std::span<const std::byte> bytes, std::shared_ptr<const void> keep,
                           const ImportLimits& limits) {
  const ExternalReader none;
  Decoder decoder(std::move(keep), limits, none);
  return guarded(bytes, "tensor", [&](pbf_reader in) { return decoder.tensor(in); });
}

}  // namespace miniinfer::onnx
