#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "core/onnx/importer.hpp"
#include "tests/onnx/model_writer.hpp"

namespace miniinfer::test::onnx {

inline Result<ImportedModel> import(const std::string& model, const ImportLimits& limits = {},
                                    const miniinfer::onnx::ExternalReader& external = {}) {
  const auto kept = std::make_shared<const std::string>(model);  // views point into it
  return import_model(as_bytes(*kept), kept, external, limits);
}
inline Code code_of(const std::string& model) { return import(model).status().code(); }
inline std::string message_of(const std::string& model) {
  return std::string(import(model).status().message());
}
inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}
inline std::string ops_of(const Graph& graph) {
  std::string text;
  for (const Node& node : graph.nodes()) text += (text.empty() ? "" : " ") + node.op;
  return text;
}

}  // namespace miniinfer::test::onnx
