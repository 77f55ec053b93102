#include <algorithm>

#include "core/base/format.hpp"
#include "core/ops/operator.hpp"
#include "core/ops/rules.hpp"

namespace miniinfer {
namespace {

class Lowering {
 public:
  explicit Lowering(const Graph& source) : source_(source), map_(source.value_count(), kNoValue) {}

  Result<Graph> run() {
    target_.name = source_.name;
    target_.sources = source_.sources;
    for (const ValueId input : source_.inputs) {
      const Value& value = source_.value(input);
      map_[input] = target_.add_value(value.name, value.dtype, value.shape);
      target_.value(map_[input]).dim_names = value.dim_names;
      target_.inputs.push_back(map_[input]);
    }
    for (NodeId id = 0; id < source_.node_count(); ++id) {
      if (source_.node(id).removed) continue;
      Status status = lower_node(id);
      if (status.code() == Code::Unsupported) {
        refused_.push_back(describe(source_, id, std::string(status.message())));
      } else if (!status.ok()) {
        return name_node(source_, id, status);
      }
    }
    if (!refused_.empty()) return refusal();
    for (const ValueId output : source_.outputs) {
      const Value& value = source_.value(output);
      if (value.constant && map_[output] == kNoValue) {
        map_[output] = target_.add_constant(value.constant, value.name);
      }
      if (map_[output] == kNoValue) {
        return Status(Code::Internal, "output " + printable(value.name) + " was not lowered");
      }
      target_.outputs.push_back(map_[output]);
    }
    return std::move(target_);
  }

 private:
  // Outputs that are constants, or have no elements, need no kernel.
  bool settle(const Node& node) {
    const auto needless = [&](ValueId id) {
      if (id == kNoValue) return true;
      const Value& value = source_.value(id);
      return value.constant ||
             (value.shape && std::count(value.shape->begin(), value.shape->end(), 0) > 0);
    };
    if (!std::all_of(node.outputs.begin(), node.outputs.end(), needless)) return false;
    for (const ValueId id : node.outputs) {
      if (id == kNoValue || source_.value(id).constant) continue;
      const Value& value = source_.value(id);
      map_[id] = target_.add_constant(make_constant({value.dtype, *value.shape}, {}), value.name);
    }
    return true;
  }

  Status lower_node(NodeId id) {
    const Node& node = source_.node(id);
    if (!node.outputs.empty() && settle(node)) return {};
    const Operator* op = find_operator(node.op);
    Status status;
    if (op == nullptr) {
      status = {Code::Unsupported, "no such operator here"};
    } else if (op->lower == nullptr) {
      status = {Code::Unsupported, "not implemented"};
    } else if (status = check_types(*op, node); status.ok()) {
      LowerContext context(source_, id, target_, map_);
      status = op->lower(context);
      if (status.ok()) status = context.status();
    }
    for (const ValueId output : node.outputs) {
      if (output == kNoValue || map_[output] != kNoValue) continue;
      const Value& value = source_.value(output);
      if (status.ok()) {
        status = {Code::Internal, "the lowering left out output " + printable(value.name)};
      }
      // Something for later nodes to read, so that those that cannot be lowered are listed too.
      map_[output] = target_.add_value(value.name, value.dtype, value.shape);
    }
    return status;
  }

  Status check_types(const Operator& op, const Node& node) const {
    for (const ValueId id : node.inputs) {
      if (id == kNoValue) continue;
      const Value& value = source_.value(id);
      if (!is_known(value)) return unknown("input", id);
      // Lowerings compute with sizes and strides as if nothing overflowed.
      if (Result<std::uint64_t> bytes = byte_count(value.dtype, *value.shape); !bytes) {
        return bytes.status();
      }
    }
    for (const ValueId id : node.outputs) {
      if (id == kNoValue || is_known(source_.value(id))) continue;
      if (!op.data_dependent || !source_.value(id).shape) return unknown("output", id);
    }
    return {};
  }

  static bool is_known(const Value& value) {
    return value.dtype != DataType::Undefined && value.shape &&
           std::count(value.shape->begin(), value.shape->end(), -1) == 0;
  }

  Status unknown(const char* what, ValueId id) const {
    return {Code::Unsupported, format("the size of %s %s is not known", what,
                                      printable(source_.value(id).name).c_str())};
  }

  Status refusal() {
    const NodeReport& first = refused_.front();
    std::string message = format("%zu node%s cannot be run, among them %s '%s' of (%s): %s",
                                 refused_.size(), refused_.size() == 1 ? "" : "s", first.op.c_str(),
                                 first.name.c_str(), first.types.c_str(), first.reason.c_str());
    return {Code::Unsupported, std::move(message), {}, std::move(refused_)};
  }

  const Graph& source_;
  Graph target_;
  std::vector<ValueId> map_;
  std::vector<NodeReport> refused_;
};

}  // namespace

Result<Graph> lower(const Graph& graph) { return Lowering(graph).run(); }

}  // namespace miniinfer
