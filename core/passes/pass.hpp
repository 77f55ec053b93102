#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/graph/graph.hpp"
#include "core/passes/narrow.hpp"
#include "miniinfer/status.hpp"

namespace miniinfer {

// Computes the outputs of a node whose inputs are all constants. The layers below do this by
// running it on the host.
using Evaluator = std::function<Result<std::vector<ConstantPtr>>(const Graph& graph, NodeId node)>;

struct PassContext {
  Evaluator evaluate;
  // What folding may produce, so that a small hostile file cannot become a large model.
  std::uint64_t fold_value_bytes = std::uint64_t{1} << 30;
  std::uint64_t fold_total_bytes = std::uint64_t{2} << 30;
  // What every backend in use accepts in one pointwise node.
  std::uint32_t max_instructions = 64;
  std::uint32_t max_operands = 16;
  // What float32 is computed in: itself, Float16 or BFloat16; the constants converted for that.
  DataType compute = DataType::Float32;
  std::shared_ptr<NarrowConstants> narrow_constants;
};

enum class PassStage { Model, Kernel };

struct Pass {
  std::string_view name;     // for --no-pass and reports
  std::string_view summary;  // what it does, a phrase
  PassStage stage;
  // Gives how many things it changed. The graph is in order before and after.
  Result<int> (*run)(Graph& graph, PassContext& context);
};

// In the order they run.
std::span<const Pass> all_passes();

// Runs the passes of a stage but for those named in `disabled`, verifying the graph after each.
Status run_passes(PassStage stage, Graph& graph, PassContext& context,
                  std::span<const std::string> disabled);

// The passes, one a file.
Result<int> eliminate(Graph& graph, PassContext& context);
Result<int> fold(Graph& graph, PassContext& context);
Result<int> share_equal(Graph& graph, PassContext& context);
Result<int> fuse_conv_batch_norm(Graph& graph, PassContext& context);
Result<int> lift_layer_norm(Graph& graph, PassContext& context);
Result<int> simplify_copies(Graph& graph, PassContext& context);
Result<int> inline_constants(Graph& graph, PassContext& context);
Result<int> fuse_pointwise(Graph& graph, PassContext& context);
Result<int> lift_attention(Graph& graph, PassContext& context);
Result<int> narrow_floats(Graph& graph, PassContext& context);

}  // namespace miniinfer
