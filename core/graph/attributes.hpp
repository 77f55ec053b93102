#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/graph/constant.hpp"

namespace miniinfer {

// What an attribute of a node can be. No operator here has a graph for one.
using AttributeValue = std::variant<std::int64_t, float, std::string, std::vector<std::int64_t>,
                                    std::vector<float>, std::vector<std::string>, ConstantPtr>;

// A node's attributes by name: few, so a flat list.
class Attributes {
 public:
  void set(std::string name, AttributeValue value);
  void erase(std::string_view name);
  const AttributeValue* find(std::string_view name) const;

  // The value where it is there and of that type, otherwise the fallback.
  std::int64_t get_int(std::string_view name, std::int64_t fallback) const;
  float get_float(std::string_view name, float fallback) const;
  std::string_view get_string(std::string_view name, std::string_view fallback) const;
  std::optional<std::span<const std::int64_t>> get_ints(std::string_view name) const;
  std::optional<std::span<const float>> get_floats(std::string_view name) const;

  auto begin() const { return items_.begin(); }
  auto end() const { return items_.end(); }
  std::size_t size() const { return items_.size(); }

 private:
  std::vector<std::pair<std::string, AttributeValue>> items_;
};

}  // namespace miniinfer
