#include "core/graph/attributes.hpp"

#include <algorithm>

namespace miniinfer {

void Attributes::set(std::string name, AttributeValue value) {
  for (auto& [key, old] : items_) {
    if (key == name) {
      old = std::move(value);
      return;
    }
  }
  items_.emplace_back(std::move(name), std::move(value));
}

void Attributes::erase(std::string_view name) {
  std::erase_if(items_, [&](const auto& item) { return item.first == name; });
}

const AttributeValue* Attributes::find(std::string_view name) const {
  for (const auto& [key, value] : items_) {
    if (key == name) return &value;
  }
  return nullptr;
}

std::int64_t Attributes::get_int(std::string_view name, std::int64_t fallback) const {
  const auto* value = std::get_if<std::int64_t>(find(name));
  return value != nullptr ? *value : fallback;
}

float Attributes::get_float(std::string_view name, float fallback) const {
  const auto* value = std::get_if<float>(find(name));
  return value != nullptr ? *value : fallback;
}

std::string_view Attributes::get_string(std::string_view name, std::string_view fallback) const {
  const auto* value = std::get_if<std::string>(find(name));
  return value != nullptr ? std::string_view(*value) : fallback;
}

std::optional<std::span<const std::int64_t>> Attributes::get_ints(std::string_view name) const {
  const auto* value = std::get_if<std::vector<std::int64_t>>(find(name));
  if (value == nullptr) return std::nullopt;
  return std::span<const std::int64_t>(*value);
}

std::optional<std::span<const float>> Attributes::get_floats(std::string_view name) const {
  const auto* value = std::get_if<std::vector<float>>(find(name));
  if (value == nullptr) return std::nullopt;
  return std::span<const float>(*value);
}

}  // namespace miniinfer
