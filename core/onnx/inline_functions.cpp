#include "core/onnx/inline_functions.hpp"

#include <algorithm>
#include <unordered_map>

#include "core/base/checked_math.hpp"
#include "core/base/format.hpp"
#include "miniinfer/status.hpp"

namespace miniinfer::onnx {
namespace {

using NameMap = std::unordered_map<std::string_view, std::string_view>;

// What an instance of a function costs. Instances multiply, so each is paid for before it is made.
struct Cost {
  std::uint64_t nodes = 0;
  std::uint64_t elements = 0;  // of attributes
  std::uint64_t names = 0;
  std::uint64_t name_bytes = 0;
  std::uint64_t references = 0;  // to attributes of the call

  void add_name(std::string_view name) {
    ++names;
    name_bytes += name.size();
  }
  void add(const Graph& graph) {
    for (const Tensor& initializer : graph.initializers) add_name(initializer.name);
    for (const ValueInfo& info : graph.inputs) add_name(info.name);
    for (const ValueInfo& info : graph.outputs) add_name(info.name);
    for (const Node& node : graph.nodes) add(node);
  }
  void add(const Node& node) {
    ++nodes;
    add_name(node.name.empty() ? node.op_type : node.name);
    for (const std::string_view name : node.inputs) add_name(name);
    for (const std::string_view name : node.outputs) add_name(name);
    for (const Attribute& attribute : node.attributes) add(attribute);
  }
  void add(const Attribute& attribute) {
    if (!attribute.function_attribute.empty()) ++references;
    if (const auto* graph = std::get_if<std::shared_ptr<Graph>>(&attribute.value)) {
      add(**graph);
    } else if (const auto* text = std::get_if<std::string>(&attribute.value)) {
      elements += text->size();
    } else if (const auto* ints = std::get_if<std::vector<std::int64_t>>(&attribute.value)) {
      elements += ints->size();
    } else if (const auto* floats = std::get_if<std::vector<float>>(&attribute.value)) {
      elements += floats->size();
    } else if (const auto* texts = std::get_if<std::vector<std::string>>(&attribute.value)) {
      for (const std::string& one : *texts) elements += 1 + one.size();
    }
  }
};

class Inliner {
 public:
  Inliner(const ImportLimits& limits, std::deque<std::string>& names)
      : limits_(limits), names_(names) {}

  Status learn(const std::vector<Function>& functions) {
    for (const Function& function : functions) {
      Cost cost;
      for (const Node& node : function.nodes) cost.add(node);
      for (const Attribute& attribute : function.defaults) cost.add(attribute);
      for (const std::string_view name : function.outputs) cost.add_name(name);
      if (!functions_
               .emplace(key(function.domain, function.name, function.overload),
                        Known{&function, cost})
               .second) {
        return {Code::InvalidArgument, "function " + printable(function.name) + " is there twice"};
      }
    }
    return {};
  }

  // Depth counts calls and subgraphs alike, since both nest on the stack.
  Status expand(Graph& graph, int depth) {
    std::vector<Node> nodes = std::move(graph.nodes);
    graph.nodes.clear();
    return expand_into(std::move(nodes), graph.nodes, depth);
  }

 private:
  static std::string_view plain(std::string_view domain) {
    return domain == "ai.onnx" ? std::string_view() : domain;
  }

  static std::string key(std::string_view domain, std::string_view name,
                         std::string_view overload) {
    return std::string(plain(domain)) + '\n' + std::string(name) + '\n' + std::string(overload);
  }

  std::string_view own(std::string text) { return names_.emplace_back(std::move(text)); }

  Status expand_into(std::vector<Node> nodes, std::vector<Node>& out, int depth) {
    for (Node& node : nodes) {
      for (Attribute& attribute : node.attributes) {
        auto* graph = std::get_if<std::shared_ptr<Graph>>(&attribute.value);
        if (graph == nullptr) continue;
        // Shared with the function's other calls: change a copy.
        *graph = std::make_shared<Graph>(**graph);
        if (Status status = expand(**graph, depth + 1); !status.ok()) return status;
      }
      const auto found = functions_.find(key(node.domain, node.op_type, node.overload));
      if (found == functions_.end()) {
        out.push_back(std::move(node));
        continue;
      }
      if (depth >= limits_.max_function_depth) {
        return {Code::InvalidArgument,
                format("function %s calls itself, or calls go deeper than %d",
                       printable(node.op_type).c_str(), limits_.max_function_depth)};
      }
      std::vector<Node> body;
      if (Status status = instantiate(found->second, node, body); !status.ok()) return status;
      if (Status status = expand_into(std::move(body), out, depth + 1); !status.ok()) return status;
    }
    return {};
  }

  struct Known {
    const Function* function;
    Cost cost;
  };

  Status pay(const Cost& cost, const Node& call, std::size_t prefix) {
    Cost passed;  // attributes of the call may stand for several of the body
    for (const Attribute& attribute : call.attributes) passed.add(attribute);
    spent_.nodes += cost.nodes;
    spent_.name_bytes += cost.name_bytes + cost.names * prefix;
    std::uint64_t passed_elements = 0;
    std::uint64_t passed_nodes = 0;
    if (!checked_mul(passed.elements, cost.references, &passed_elements) ||
        !checked_mul(passed.nodes, cost.references, &passed_nodes) ||
        !checked_add(spent_.nodes, passed_nodes, &spent_.nodes) ||
        !checked_add(spent_.elements, cost.elements, &spent_.elements) ||
        !checked_add(spent_.elements, passed_elements, &spent_.elements) ||
        spent_.nodes > limits_.max_nodes || spent_.name_bytes > limits_.max_inlined_name_bytes ||
        spent_.elements > limits_.max_attribute_elements) {
      return {Code::LimitExceeded,
              format("inlining functions gives more than %llu nodes, %llu bytes of names or %llu "
                     "elements of attributes",
                     static_cast<unsigned long long>(limits_.max_nodes),
                     static_cast<unsigned long long>(limits_.max_inlined_name_bytes),
                     static_cast<unsigned long long>(limits_.max_attribute_elements))};
    }
    return {};
  }

  Status instantiate(const Known& known, const Node& call, std::vector<Node>& body) {
    const Function& function = *known.function;
    if (call.inputs.size() > function.inputs.size() ||
        call.outputs.size() > function.outputs.size()) {
      return {Code::InvalidArgument,
              format("node %s gives function %s more than its %zu inputs and %zu outputs",
                     printable(call.name).c_str(), printable(function.name).c_str(),
                     function.inputs.size(), function.outputs.size())};
    }
    const std::string prefix =
        (call.name.empty() ? std::string(function.name) : std::string(call.name)) + "#" +
        std::to_string(++calls_) + "/";
    if (Status status = pay(known.cost, call, prefix.size()); !status.ok()) return status;
    NameMap names;
    for (std::size_t i = 0; i < function.inputs.size(); ++i) {
      names[function.inputs[i]] = i < call.inputs.size() ? call.inputs[i] : std::string_view();
    }
    for (std::size_t i = 0; i < function.outputs.size(); ++i) {
      const bool wanted = i < call.outputs.size() && !call.outputs[i].empty();
      names[function.outputs[i]] =
          wanted ? call.outputs[i] : own(prefix + std::string(function.outputs[i]));
    }
    for (const Node& node : function.nodes)
      body.push_back(rename(node, call, function, prefix, names));
    return {};
  }

  std::string_view renamed(std::string_view name, const std::string& prefix, NameMap& names) {
    if (name.empty()) return name;
    const auto [found, added] = names.try_emplace(name);
    if (added) found->second = own(prefix + std::string(name));
    return found->second;
  }

  Node rename(Node node, const Node& call, const Function& function, const std::string& prefix,
              NameMap& names) {
    for (const auto& [domain, version] : function.opsets) {
      if (plain(domain) == plain(node.domain)) node.opset = version;
    }
    for (std::string_view& name : node.inputs) name = renamed(name, prefix, names);
    for (std::string_view& name : node.outputs) name = renamed(name, prefix, names);
    node.name = own(prefix + std::string(node.name.empty() ? node.op_type : node.name));
    bind_attributes(node, call, function);
    for (Attribute& attribute : node.attributes) {
      auto* graph = std::get_if<std::shared_ptr<Graph>>(&attribute.value);
      if (graph == nullptr) continue;
      auto copy = std::make_shared<Graph>(**graph);
      for (Tensor& initializer : copy->initializers) {
        initializer.name = renamed(initializer.name, prefix, names);
      }
      for (ValueInfo& info : copy->inputs) info.name = renamed(info.name, prefix, names);
      for (ValueInfo& info : copy->outputs) info.name = renamed(info.name, prefix, names);
      for (Node& inner : copy->nodes) inner = rename(inner, call, function, prefix, names);
      *graph = std::move(copy);
    }
    return node;
  }

  // Attributes that name one of the function's take the call's, then the default, or go.
  static void bind_attributes(Node& node, const Node& call, const Function& function) {
    const auto find = [](const std::vector<Attribute>& list, std::string_view name) {
      const auto found = std::find_if(list.begin(), list.end(),
                                      [&](const Attribute& a) { return a.name == name; });
      return found == list.end() ? nullptr : &*found;
    };
    std::vector<Attribute> bound;
    for (Attribute& attribute : node.attributes) {
      if (attribute.function_attribute.empty()) {
        bound.push_back(std::move(attribute));
        continue;
      }
      const Attribute* given = find(call.attributes, attribute.function_attribute);
      if (given == nullptr) given = find(function.defaults, attribute.function_attribute);
      if (given == nullptr) continue;
      Attribute copy = *given;
      copy.name = attribute.name;
      bound.push_back(std::move(copy));
    }
    node.attributes = std::move(bound);
  }

  const ImportLimits& limits_;
  std::deque<std::string>& names_;
  std::unordered_map<std::string, Known> functions_;
  Cost spent_;
  std::uint64_t calls_ = 0;
};

}  // namespace

Status inline_functions(Model& model, const ImportLimits& limits, std::deque<std::string>& names) {
  if (model.functions.empty()) return {};
  Inliner inliner(limits, names);
  if (Status status = inliner.learn(model.functions); !status.ok()) return status;
  return inliner.expand(model.graph, 0);
}

}  // namespace miniinfer::onnx
