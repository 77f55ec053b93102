#include "plugins/cuda/visible_devices.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <string_view>

namespace miniinfer::cuda {
namespace {

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> elements;
  while (true) {
    const std::size_t comma = text.find(',');
    std::string_view element = text.substr(0, comma);
    while (!element.empty() && element.front() == ' ') element.remove_prefix(1);
    while (!element.empty() && element.back() == ' ') element.remove_suffix(1);
    elements.push_back(element);
    if (comma == std::string_view::npos) return elements;
    text.remove_prefix(comma + 1);
  }
}

std::optional<std::size_t> number(std::string_view text) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

bool all_alike(const std::vector<Gpu>& gpus) {
  return std::all_of(gpus.begin(), gpus.end(), [&](const Gpu& gpu) {
    return !gpu.name.empty() && gpu.name == gpus.front().name;
  });
}

// The GPUs that an identifier's beginning names.
std::vector<std::size_t> named(const std::vector<Gpu>& gpus, std::string_view beginning) {
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < gpus.size(); ++i) {
    if (std::string_view(gpus[i].uuid).starts_with(beginning)) found.push_back(i);
  }
  return found;
}

}  // namespace

VisibleDevices visible_devices(const std::vector<Gpu>& gpus, const char* mask, const char* order) {
  VisibleDevices visible;
  if (mask == nullptr) {
    visible.gpus = gpus;
    return visible;
  }
  const bool uuids_known =
      std::none_of(gpus.begin(), gpus.end(), [](const Gpu& gpu) { return gpu.uuid.empty(); });
  std::set<std::size_t> chosen;
  bool by_number = false;
  for (const std::string_view element : split(mask)) {
    std::size_t index = 0;
    if (element.starts_with("MIG-")) {
      // Of all slices CUDA shows a process one.
      visible.unnamed = 1;
      visible.doubt = "CUDA_VISIBLE_DEVICES names a MIG slice";
      return visible;
    }
    if (element.starts_with("GPU-")) {
      const std::vector<std::size_t> found = named(gpus, element);
      if (found.empty() && !uuids_known) {
        ++visible.unnamed;
        visible.doubt = "CUDA_VISIBLE_DEVICES names uuids, which the system does not show";
        continue;
      }
      if (found.size() != 1) break;
      index = found.front();
    } else {
      const std::optional<std::size_t> value = number(element);
      if (!value || *value >= gpus.size()) break;
      index = *value;
      by_number = true;
    }
    if (!chosen.insert(index).second) {
      visible.doubt = "CUDA_VISIBLE_DEVICES names a device twice";
      break;
    }
  }
  const bool order_known = (order != nullptr && std::string_view(order) == "PCI_BUS_ID") ||
                           all_alike(gpus) || chosen.size() == gpus.size();
  if (by_number && !order_known) {
    visible.unnamed += chosen.size();
    visible.doubt =
        "CUDA_VISIBLE_DEVICES counts unlike GPUs, by speed unless CUDA_DEVICE_ORDER=PCI_BUS_ID";
    return visible;
  }
  for (const std::size_t index : chosen) visible.gpus.push_back(gpus[index]);
  return visible;
}

}  // namespace miniinfer::cuda
