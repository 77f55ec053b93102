#include "core/onnx/importer.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <unordered_map>

#include "core/base/format.hpp"
#include "core/onnx/inline_functions.hpp"
#include "core/onnx/wire_reader.hpp"
#include "core/ops/operator.hpp"

namespace miniinfer {
namespace {

constexpr std::int64_t kOldestIr = 3;
constexpr std::int64_t kNewestIr = 13;
constexpr std::int64_t kNewestOpset = 27;

std::string_view canonical_domain(std::string_view domain) {
  return domain == "ai.onnx" ? std::string_view() : domain;
}

std::string operator_name(const onnx::Node& node) {
  const std::string_view domain = canonical_domain(node.domain);
  return domain.empty() ? std::string(node.op_type)
                        : std::string(domain) + "." + std::string(node.op_type);
}

Status invalid(std::string message) { return {Code::InvalidArgument, std::move(message)}; }

ConstantPtr make_strings(std::vector<std::string> strings, Shape shape) {
  auto constant = std::make_shared<Constant>();
  constant->type = {DataType::String, std::move(shape)};
  constant->strings = std::move(strings);
  return constant;
}

class Importer {
 public:
  Importer(onnx::Model model, ImportedModel& out)
      : model_(std::move(model)), out_(out), graph_(out.graph) {}

  Status run(const ImportLimits& limits) {
    if (Status status = check_versions(); !status.ok()) return status;
    describe_file();
    if (Status status = onnx::inline_functions(model_, limits, names_); !status.ok()) return status;
    if (Status status = declare_values(); !status.ok()) return status;
    for (const onnx::Node& node : model_.graph.nodes) {
      if (Status status = add_node(node); !status.ok()) return status;
    }
    if (!unsupported_.empty()) {
      return {Code::Unsupported,
              format("%zu of %zu nodes are of operators not known here", unsupported_.size(),
                     model_.graph.nodes.size()),
              {},
              std::move(unsupported_)};
    }
    if (Status status = bind_outputs(); !status.ok()) return status;
    if (Status status = check_origins(); !status.ok()) return status;
    return graph_.sort();
  }

 private:
  Status check_versions() {
    if (!model_.has_graph) return invalid("the bytes are no ONNX model: there is no graph in them");
    if (model_.ir_version < kOldestIr || model_.ir_version > kNewestIr) {
      return {Code::Unsupported,
              format("IR version %lld: %lld to %lld are known",
                     static_cast<long long>(model_.ir_version), static_cast<long long>(kOldestIr),
                     static_cast<long long>(kNewestIr))};
    }
    for (const auto& [domain, version] : model_.opsets) {
      const auto [found, added] = opsets_.try_emplace(canonical_domain(domain), version);
      if (!added && found->second != version) {
        return invalid("opset of domain '" + printable(domain) + "' is imported twice");
      }
      out_.opsets.emplace_back(printable(canonical_domain(domain)), version);
    }
    out_.ir_version = model_.ir_version;
    out_.producer = printable(model_.producer);
    if (!model_.graph.sparse_initializer.empty()) {
      return {Code::Unsupported, "sparse initializer " +
                                     printable(model_.graph.sparse_initializer) +
                                     " is not implemented"};
    }
    return {};
  }

  void describe_file() {
    std::map<std::string, int> counts;
    for (const onnx::Node& node : model_.graph.nodes) ++counts[printable(operator_name(node))];
    out_.operators.assign(counts.begin(), counts.end());
    std::sort(out_.operators.begin(), out_.operators.end(), [](const auto& a, const auto& b) {
      return a.second != b.second ? a.second > b.second : a.first < b.first;
    });
    out_.node_count = static_cast<int>(model_.graph.nodes.size());
  }

  void count_parameters(const Constant& constant) {
    out_.parameter_count += element_count(constant.type.shape).value();
    out_.parameter_bytes += constant.bytes.size();
  }

  Result<DeclaredValue> declare(const onnx::ValueInfo& info, const char* what) {
    if (info.name.empty()) return invalid(format("an %s has no name", what));
    if (!info.kind.empty() && info.kind != "tensor") {
      return Status(Code::Unsupported,
                    format("%s %s is a %s: not implemented", what, printable(info.name).c_str(),
                           std::string(info.kind).c_str()));
    }
    DeclaredValue value;
    value.name = info.name;
    value.dtype = info.dtype;
    value.known_rank = info.has_shape;
    value.shape = info.shape;
    value.dim_names = info.dim_names;
    Shape known = value.shape;
    for (std::int64_t& size : known) size = size < 0 ? 1 : size;
    for (std::int64_t& size : value.shape) size = std::max<std::int64_t>(size, -1);
    if (value.dtype != DataType::Undefined) {
      if (Result<std::uint64_t> bytes = byte_count(value.dtype, known); !bytes) {
        return bytes.status().with_context(format("%s %s", what, printable(info.name).c_str()));
      }
    }
    return value;
  }

  Status declare_values() {
    for (onnx::Tensor& tensor : model_.graph.initializers) {
      if (tensor.name.empty()) return invalid("an initializer has no name");
      count_parameters(*tensor.constant);
      const ValueId id = graph_.add_constant(std::move(tensor.constant), std::string(tensor.name));
      if (!values_.emplace(tensor.name, id).second) {
        return invalid("initializer " + printable(tensor.name) + " is there twice");
      }
    }
    std::unordered_map<std::string_view, bool> seen;
    for (const onnx::ValueInfo& info : model_.graph.inputs) {
      if (!seen.emplace(info.name, true).second) {
        return invalid("input " + printable(info.name) + " is there twice");
      }
      if (values_.count(info.name) > 0) continue;  // an initializer
      Result<DeclaredValue> value = declare(info, "input");
      if (!value) return value.status();
      if (value->dtype == DataType::Undefined) {
        return invalid("input " + printable(info.name) + " has no element type");
      }
      const ValueId id =
          graph_.add_value(value->name, value->dtype,
                           value->known_rank ? std::optional<Shape>(value->shape) : std::nullopt);
      graph_.value(id).dim_names = value->dim_names;
      graph_.inputs.push_back(id);
      values_.emplace(info.name, id);
      out_.inputs.push_back(std::move(*value));
    }
    defined_.assign(graph_.value_count(), true);
    return {};
  }

  ValueId value_of(std::string_view name) {
    if (name.empty()) return kNoValue;
    const auto [found, added] = values_.try_emplace(name, kNoValue);
    if (added) found->second = graph_.add_value(std::string(name));
    defined_.resize(graph_.value_count());
    return found->second;
  }

  std::string label(const onnx::Node& node) const {
    return node.name.empty() ? std::string(node.op_type) + "_" + std::to_string(position_)
                             : std::string(node.name);
  }

  std::optional<std::int64_t> opset_of(const onnx::Node& node) const {
    if (node.opset != 0) return node.opset;
    const auto found = opsets_.find(canonical_domain(node.domain));
    return found != opsets_.end() ? std::optional(found->second) : std::nullopt;
  }

  void refuse(const onnx::Node& node, std::string reason) {
    unsupported_.push_back(
        {printable(label(node)), printable(operator_name(node)), "", std::move(reason)});
  }

  // Marks the outputs as given; an error where one is given twice.
  Status define_outputs(const onnx::Node& node, std::vector<ValueId>& ids) {
    for (const std::string_view name : node.outputs) {
      const ValueId id = value_of(name);
      if (id != kNoValue) {
        if (defined_[id]) {
          return invalid("node " + printable(label(node)) + " gives " + printable(name) +
                         ", which is given already");
        }
        defined_[id] = true;
      }
      ids.push_back(id);
    }
    return {};
  }

  Status add_node(const onnx::Node& node) {
    ++position_;
    // Those of functions are bound by now. One left has no value, and its default is no guess.
    for (const onnx::Attribute& attribute : node.attributes) {
      if (attribute.function_attribute.empty()) continue;
      return invalid("node " + printable(label(node)) + ", attribute " + printable(attribute.name) +
                     " refers to " + printable(attribute.function_attribute) +
                     ", an attribute of no function");
    }
    if (node.op_type == "Constant" && canonical_domain(node.domain).empty())
      return add_constant(node);
    Node made;
    made.op = operator_name(node);
    made.origin.sources = {static_cast<NodeId>(graph_.sources->size())};
    graph_.sources->push_back({label(node), made.op});
    for (const std::string_view name : node.inputs) made.inputs.push_back(value_of(name));
    // Inputs left out at the end are as if they had not been written.
    while (!made.inputs.empty() && made.inputs.back() == kNoValue) made.inputs.pop_back();
    if (Status status = define_outputs(node, made.outputs); !status.ok()) return status;
    for (const onnx::Attribute& attribute : node.attributes) {
      if (Status status = add_attribute(node, attribute, made.attributes); !status.ok()) {
        return status;
      }
    }

    const Operator* op = find_operator(made.op);
    const std::optional<std::int64_t> opset = opset_of(node);
    if (op == nullptr) {
      refuse(node, "operator not known");
      return {};
    }
    if (!opset) {
      return invalid("node " + printable(label(node)) + " is of domain '" + printable(node.domain) +
                     "', whose opset is not imported");
    }
    if (canonical_domain(node.domain).empty() && *opset > kNewestOpset) {
      refuse(node, format("opset %lld is newer than %lld", static_cast<long long>(*opset),
                          static_cast<long long>(kNewestOpset)));
      return {};
    }
    if (*opset < op->since) {
      refuse(node, format("opset %lld is older than %lld", static_cast<long long>(*opset),
                          static_cast<long long>(op->since)));
      return {};
    }
    if (op->upgrade != nullptr) {
      UpgradeContext context{graph_, made, *opset};
      Status status = op->upgrade(context);
      defined_.resize(graph_.value_count(), true);
      if (status.code() == Code::Unsupported) {
        refuse(node, std::string(status.message()));
        return {};
      }
      if (!status.ok()) return status.with_context("node " + printable(label(node)));
      op = find_operator(made.op);  // Upsample becomes Resize
    }
    if (Status status = check_schema(*op, made); !status.ok()) {
      return status.with_context("node " + printable(label(node)));
    }
    graph_.add_node(std::move(made));
    return {};
  }

  Status add_attribute(const onnx::Node& node, const onnx::Attribute& attribute,
                       Attributes& attributes) {
    const std::string where =
        "node " + printable(label(node)) + ", attribute " + printable(attribute.name);
    if (attributes.find(attribute.name) != nullptr) return invalid(where + " is there twice");
    struct Convert {
      std::optional<AttributeValue> operator()(std::monostate) const { return std::nullopt; }
      std::optional<AttributeValue> operator()(const onnx::Tensor& t) const { return t.constant; }
      std::optional<AttributeValue> operator()(const std::shared_ptr<onnx::Graph>&) const {
        return std::nullopt;
      }
      std::optional<AttributeValue> operator()(float v) const { return v; }
      std::optional<AttributeValue> operator()(std::int64_t v) const { return v; }
      std::optional<AttributeValue> operator()(const std::string& v) const { return v; }
      std::optional<AttributeValue> operator()(const std::vector<float>& v) const { return v; }
      std::optional<AttributeValue> operator()(const std::vector<std::int64_t>& v) const {
        return v;
      }
      std::optional<AttributeValue> operator()(const std::vector<std::string>& v) const {
        return v;
      }
    };
    // Subgraphs belong to operators that are refused above; other kinds (sparse tensors, types)
    // too.
    std::optional<AttributeValue> value = std::visit(Convert(), attribute.value);
    if (value) attributes.set(std::string(attribute.name), std::move(*value));
    return {};
  }

  // Constant becomes a constant, whichever attribute holds it.
  Status add_constant(const onnx::Node& node) {
    std::vector<ValueId> outputs;
    if (Status status = define_outputs(node, outputs); !status.ok()) return status;
    const std::string where = "node " + printable(label(node));
    if (outputs.size() != 1 || outputs[0] == kNoValue || node.attributes.size() != 1) {
      return invalid(where + " (Constant) has one output and one attribute");
    }
    const onnx::Attribute& attribute = node.attributes[0];
    ConstantPtr constant;
    if (const auto* tensor = std::get_if<onnx::Tensor>(&attribute.value)) {
      constant = tensor->constant;
    } else if (const auto* number = std::get_if<float>(&attribute.value)) {
      constant = make_constant({DataType::Float32, {}}, std::as_bytes(std::span(number, 1)));
    } else if (const auto* integer = std::get_if<std::int64_t>(&attribute.value)) {
      constant = make_constant({DataType::Int64, {}}, std::as_bytes(std::span(integer, 1)));
    } else if (const auto* floats = std::get_if<std::vector<float>>(&attribute.value)) {
      constant = make_constant({DataType::Float32, {static_cast<std::int64_t>(floats->size())}},
                               std::as_bytes(std::span(*floats)));
    } else if (const auto* ints = std::get_if<std::vector<std::int64_t>>(&attribute.value)) {
      constant = make_constant_ints(*ints);
    } else if (const auto* text = std::get_if<std::string>(&attribute.value)) {
      constant = make_strings({*text}, {});
    } else if (const auto* texts = std::get_if<std::vector<std::string>>(&attribute.value)) {
      constant = make_strings(*texts, {static_cast<std::int64_t>(texts->size())});
    } else {
      refuse(node, "a constant of kind " + printable(attribute.name) + " is not implemented");
      return {};
    }
    count_parameters(*constant);
    Value& value = graph_.value(outputs[0]);
    value.dtype = constant->type.dtype;
    value.shape = constant->type.shape;
    value.constant = std::move(constant);
    return {};
  }

  Status bind_outputs() {
    if (model_.graph.outputs.empty()) return invalid("the model has no output");
    std::unordered_map<std::string_view, bool> seen;
    for (const onnx::ValueInfo& info : model_.graph.outputs) {
      if (!seen.emplace(info.name, true).second) {
        return invalid("output " + printable(info.name) + " is there twice");
      }
      Result<DeclaredValue> value = declare(info, "output");
      if (!value) return value.status();
      const auto found = values_.find(info.name);
      if (found == values_.end() || !defined_[found->second]) {
        return invalid("output " + printable(info.name) + " is given by nothing");
      }
      graph_.outputs.push_back(found->second);
      out_.outputs.push_back(std::move(*value));
    }
    return {};
  }

  Status check_origins() {
    for (NodeId id = 0; id < graph_.node_count(); ++id) {
      for (const ValueId input : graph_.node(id).inputs) {
        if (input == kNoValue || defined_[input]) continue;
        return invalid("node " + describe(graph_, id, "").name + " reads " +
                       printable(graph_.value(input).name) + ", which is given by nothing");
      }
    }
    return {};
  }

  onnx::Model model_;
  ImportedModel& out_;
  Graph& graph_;
  std::deque<std::string> names_;
  std::map<std::string_view, std::int64_t> opsets_;
  std::unordered_map<std::string_view, ValueId> values_;
  std::vector<bool> defined_;  // by value: has an origin
  std::vector<NodeReport> unsupported_;
  int position_ = -1;
};

}  // namespace

Result<ImportedModel> import_model(std::span<const std::byte> bytes,
                                   std::shared_ptr<const void> keep,
                                   const onnx::ExternalReader& external,
                                   const ImportLimits& limits) {
  if (bytes.empty()) return Status(Code::InvalidArgument, "the model is empty");
  Result<onnx::Model> model = onnx::read_model(bytes, std::move(keep), limits, external);
  if (!model) return model.status();
  ImportedModel imported;
  imported.graph.name = model->graph.name;
  Importer importer(std::move(*model), imported);
  if (Status status = importer.run(limits); !status.ok()) return status;
  return imported;
}

}  // namespace miniinfer
