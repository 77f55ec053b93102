#include "core/onnx/inline_functions.hpp"

#include <algorithm>
#include <unordered_map>

#include "core/base/format.hpp"
#include "miniinfer/status.hpp"

namespace miniinfer::onnx {
namespace {

using NameMap = std::unordered_map<std::string_view, std::string_view>;

class Inliner {
 public:
  Inliner(const Model& model, const ImportLimits& limits, std::deque<std::string>& names)
      : limits_(limits), names_(names) {
    for (const Function& function : model.functions) {
      functions_.emplace(key(function.domain, function.name, function.overload), &function);
    }
  }

  bool needed() const { return !functions_.empty(); }

  Status expand(Graph& graph, int depth) {
    std::vector<Node> nodes = std::move(graph.nodes);
    graph.nodes.clear();
    return expand_into(std::move(nodes), graph.nodes, depth);
  }

 private:
  static std::string key(std::string_view domain, std::string_view name,
                         std::string_view overload) {
    return std::string(domain == "ai.onnx" ? "" : domain) + '\n' + std::string(name) + '\n' +
           std::string(overload);
  }

  std::string_view own(std::string text) { return names_.emplace_back(std::move(text)); }

  Status expand_into(std::vector<Node> nodes, std::vector<Node>& out, int depth) {
    for (Node& node : nodes) {
      for (Attribute& attribute : node.attributes) {
        auto* graph = std::get_if<std::shared_ptr<Graph>>(&attribute.value);
        if (graph == nullptr) continue;
        // Shared with the function's other calls: change a copy.
        *graph = std::make_shared<Graph>(**graph);
        if (Status status = expand(**graph, depth); !status.ok()) return status;
      }
      const auto found = functions_.find(key(node.domain, node.op_type, node.overload));
      if (found == functions_.end()) {
        if (++total_ > limits_.max_nodes) {
          return {Code::LimitExceeded, format("more than %llu nodes after inlining functions",
                                              static_cast<unsigned long long>(limits_.max_nodes))};
        }
        out.push_back(std::move(node));
        continue;
      }
      if (depth >= limits_.max_function_depth) {
        return {Code::InvalidArgument,
                format("function %s calls itself, or calls go deeper than %d",
                       printable(node.op_type).c_str(), limits_.max_function_depth)};
      }
      std::vector<Node> body;
      if (Status status = instantiate(*found->second, node, body); !status.ok()) return status;
      if (Status status = expand_into(std::move(body), out, depth + 1); !status.ok()) return status;
    }
    return {};
  }

  Status instantiate(const Function& function, const Node& call, std::vector<Node>& body) {
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
  std::unordered_map<std::string, const Function*> functions_;
  std::uint64_t total_ = 0;
  std::uint64_t calls_ = 0;
};

}  // namespace

Status inline_functions(Model& model, const ImportLimits& limits, std::deque<std::string>& names) {
  Inliner inliner(model, limits, names);
  if (!inliner.needed()) return {};
  return inliner.expand(model.graph, 0);
}

}  // namespace miniinfer::onnx
