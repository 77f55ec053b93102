#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <unordered_map>

#include "core/ops/operator.hpp"
#include "core/passes/pass.hpp"

namespace miniinfer {
namespace {

// How much of a constant is hashed: weights are compared, byte by byte, only where all else is
// equal.
constexpr std::size_t kHashedBytes = 4096;

// Operators of which two nodes give two results, and those no one here knows.
bool may_differ(const Node& node) {
  static constexpr std::array<std::string_view, 7> kRandom = {
      "Bernoulli",        "Dropout",       "Multinomial",      "RandomNormal",
      "RandomNormalLike", "RandomUniform", "RandomUniformLike"};
  return find_operator(node.op) == nullptr ||
         std::find(kRandom.begin(), kRandom.end(), node.op) != kRandom.end();
}

bool equal_bytes(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() &&
         (a.data() == b.data() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

bool equal_constants(const ConstantPtr& a, const ConstantPtr& b) {
  if (a == b) return true;
  return a && b && a->type == b->type && a->strings == b->strings &&
         equal_bytes(a->bytes, b->bytes);
}

// Numbers are equal that have the same bits: 0 is not -0, and a NaN is itself.
bool equal_values(const AttributeValue& a, const AttributeValue& b) {
  if (a.index() != b.index()) return false;
  if (const auto* real = std::get_if<float>(&a)) {
    return std::bit_cast<std::uint32_t>(*real) == std::bit_cast<std::uint32_t>(std::get<float>(b));
  }
  if (const auto* reals = std::get_if<std::vector<float>>(&a)) {
    return equal_bytes(std::as_bytes(std::span(*reals)),
                       std::as_bytes(std::span(std::get<std::vector<float>>(b))));
  }
  if (const auto* constant = std::get_if<ConstantPtr>(&a)) {
    return equal_constants(*constant, std::get<ConstantPtr>(b));
  }
  return a == b;
}

bool equal_attributes(const Attributes& a, const Attributes& b) {
  return a.size() == b.size() && std::all_of(a.begin(), a.end(), [&](const auto& item) {
           const AttributeValue* other = b.find(item.first);
           return other != nullptr && equal_values(item.second, *other);
         });
}

bool equal_inputs(const Graph& graph, const Node& a, const Node& b) {
  return std::ranges::equal(a.inputs, b.inputs, [&](ValueId left, ValueId right) {
    if (left == right) return true;
    if (left == kNoValue || right == kNoValue || !graph.value(left).constant) return false;
    return equal_constants(graph.value(left).constant, graph.value(right).constant);
  });
}

bool equal_nodes(const Graph& graph, const Node& a, const Node& b) {
  const auto wanted_alike = [](ValueId left, ValueId right) {
    return (left == kNoValue) == (right == kNoValue);
  };
  return a.op == b.op && equal_attributes(a.attributes, b.attributes) &&
         equal_inputs(graph, a, b) && std::ranges::equal(a.outputs, b.outputs, wanted_alike);
}

std::size_t mix(std::size_t seed, std::size_t value) {
  return seed ^ (value + 0x9e3779b97f4a7c15ULL + (seed << 6U) + (seed >> 2U));
}

std::size_t hash_bytes(std::span<const std::byte> bytes) {
  const std::size_t size = std::min(bytes.size(), kHashedBytes);
  return std::hash<std::string_view>()({reinterpret_cast<const char*>(bytes.data()), size});
}

std::size_t hash_value(const AttributeValue& value) {
  if (const auto* number = std::get_if<std::int64_t>(&value)) {
    return std::hash<std::int64_t>()(*number);
  }
  if (const auto* real = std::get_if<float>(&value)) return std::bit_cast<std::uint32_t>(*real);
  if (const auto* text = std::get_if<std::string>(&value)) return std::hash<std::string>()(*text);
  if (const auto* numbers = std::get_if<std::vector<std::int64_t>>(&value)) {
    return hash_bytes(std::as_bytes(std::span(*numbers)));
  }
  return value.index();
}

std::size_t hash_node(const Graph& graph, const Node& node) {
  std::size_t hash = std::hash<std::string>()(node.op);
  std::size_t attributes = 0;  // a sum, because their order says nothing
  for (const auto& [name, value] : node.attributes) {
    attributes += mix(std::hash<std::string>()(name), hash_value(value));
  }
  hash = mix(hash, attributes);
  for (const ValueId id : node.inputs) {
    const bool constant = id != kNoValue && graph.value(id).constant;
    hash = mix(hash, constant ? hash_bytes(graph.value(id).constant->bytes) : id);
  }
  return hash;
}

}  // namespace

Result<int> share_equal(Graph& graph, PassContext&) {
  int shared = 0;
  std::vector<ValueId> now(graph.value_count());  // what stands for each value
  for (ValueId id = 0; id < now.size(); ++id) now[id] = id;
  const auto rename = [&](std::vector<ValueId>& ids) {
    for (ValueId& id : ids) {
      if (id != kNoValue) id = now[id];
    }
  };
  std::unordered_multimap<std::size_t, NodeId> seen;
  for (NodeId id = 0; id < graph.node_count(); ++id) {
    Node& node = graph.node(id);
    if (node.removed) continue;
    rename(node.inputs);
    if (may_differ(node)) continue;
    const std::size_t hash = hash_node(graph, node);
    const auto [begin, end] = seen.equal_range(hash);
    const auto found = std::find_if(begin, end, [&](const auto& entry) {
      return equal_nodes(graph, graph.node(entry.second), node);
    });
    if (found == end) {
      seen.emplace(hash, id);
      continue;
    }
    Node& first = graph.node(found->second);
    for (std::size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i] != kNoValue) now[node.outputs[i]] = first.outputs[i];
    }
    first.origin.sources.insert(first.origin.sources.end(), node.origin.sources.begin(),
                                node.origin.sources.end());
    graph.remove_node(id);
    ++shared;
  }
  rename(graph.outputs);
  return shared;
}

}  // namespace miniinfer
