#include "core/passes/narrow.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <string_view>
#include <vector>

#include "core/base/float16.hpp"
#include "core/ops/kernel_attrs.hpp"
#include "core/passes/pass.hpp"
#include "core/passes/program_editor.hpp"
#include "miniinfer/abi/op/attention.h"
#include "miniinfer/abi/op/contract.h"
#include "miniinfer/abi/op/conv.h"
#include "miniinfer/abi/op/gather.h"
#include "miniinfer/abi/op/norm.h"
#include "miniinfer/abi/op/reduce.h"
#include "miniinfer/abi/op/resize.h"
#include "miniinfer/abi/op/select.h"

namespace miniinfer {
namespace {

std::uint16_t narrow_bits(float value, DataType narrow) {
  return narrow == DataType::Float16 ? half_from_float(value) : bfloat_from_float(value);
}

bool is_infinite(std::uint16_t bits, DataType narrow) {
  const std::uint16_t magnitude = bits & 0x7fffu;
  return magnitude == (narrow == DataType::Float16 ? 0x7c00u : 0x7f80u);
}

// Operators that keep their meaning when all their float32 operands become narrow: they accumulate
// in float32 by their definition, or only move and choose elements. Sums and products of many
// elements may leave the range of float16 where their operands do not, and stay wide.
bool keeps_meaning(const Node& node) {
  static constexpr std::array<std::string_view, 11> kOperators = {
      MINIINFER_ATTENTION, MINIINFER_CONV,   MINIINFER_CONV_TRANSPOSE, MINIINFER_CONTRACT,
      MINIINFER_SOFTMAX,   MINIINFER_COPY,   MINIINFER_GATHER,         MINIINFER_RESIZE,
      MINIINFER_TOP_K,     MINIINFER_REDUCE, MINIINFER_LAYER_NORM};
  if (std::find(kOperators.begin(), kOperators.end(), node.op) == kOperators.end()) return false;
  if (node.op == MINIINFER_REDUCE) {
    const auto& attrs = *static_cast<const miniinfer_reduce_attrs*>(node.kernel->abi());
    return attrs.kind != MINIINFER_REDUCE_SUM && attrs.kind != MINIINFER_REDUCE_PROD;
  }
  // Mean and deviation are float32 by definition.
  if (node.op == MINIINFER_LAYER_NORM) {
    return std::count_if(node.outputs.begin(), node.outputs.end(),
                         [](ValueId id) { return id != kNoValue; }) == 1;
  }
  return true;
}

class Narrowing {
 public:
  Narrowing(Graph& graph, PassContext& context)
      : graph_(graph),
        context_(context),
        nodes_(static_cast<NodeId>(graph.node_count())),
        narrow_(graph.value_count()) {}

  Result<int> run() {
    const std::vector<std::vector<NodeId>> uses = graph_.uses();
    for (NodeId id = 0; id < nodes_; ++id) {
      const Node& node = graph_.node(id);
      if (node.removed) continue;
      if (node.op == MINIINFER_POINTWISE) {
        change_program(id, uses);
      } else if (node.op == "view") {
        change_view(id);
      } else if (touches_floats(node) && keeps_meaning(node)) {
        change_operator(id);
      } else {
        widen_inputs(id);
      }
    }
    if (changed_ == 0) return 0;
    if (Status status = graph_.sort(); !status.ok()) return status;
    return changed_;
  }

 private:
  bool is_float32(ValueId id) const {
    return id != kNoValue && graph_.value(id).dtype == DataType::Float32;
  }

  bool touches_floats(const Node& node) const {
    return std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId id) {
      return id != kNoValue && (is_float32(id) || narrow_[id]);
    });
  }

  ValueId add_value(const Value& like, DataType dtype) {
    const ValueId id = graph_.add_value(like.name, dtype, like.shape);
    narrow_.push_back(dtype == context_.compute);
    return id;
  }

  void add_cast(ValueId from, ValueId to, const Origin& origin) {
    PointwiseBuilder program(1);
    const DataType dtype = graph_.value(to).dtype;
    Node cast;
    cast.op = MINIINFER_POINTWISE;
    cast.kernel = program.finish({program.emit(MINIINFER_PW_CAST, dtype, program.input(0))});
    cast.inputs = {from};
    cast.outputs = {to};
    cast.origin = origin;
    graph_.add_node(std::move(cast));
    ++changed_;
  }

  // The same elements, narrow. A constant that does not fit is cast on the device, to infinity.
  ValueId narrow(ValueId id, const Origin& origin) {
    if (!is_float32(id)) return id;
    const auto [found, added] = narrowed_.try_emplace(id, kNoValue);
    if (!added) return found->second;
    ValueId made = kNoValue;
    if (const ConstantPtr& constant = graph_.value(id).constant) {
      if (ConstantPtr converted = context_.narrow_constants->get(constant, context_.compute)) {
        made = graph_.add_constant(std::move(converted));
        narrow_.push_back(true);
        ++changed_;
      }
    }
    if (made == kNoValue) {
      made = add_value(graph_.value(id), context_.compute);
      add_cast(id, made, origin);
    }
    return narrowed_[id] = made;
  }

  ValueId widen(ValueId id, const Origin& origin) {
    if (id == kNoValue || !narrow_[id]) return id;
    const auto [found, added] = widened_.try_emplace(id, kNoValue);
    if (!added) return found->second;
    const ValueId made = add_value(graph_.value(id), DataType::Float32);
    add_cast(id, made, origin);
    return widened_[id] = made;
  }

  void widen_inputs(NodeId id) {
    for (std::size_t i = 0; i < graph_.node(id).inputs.size(); ++i) {
      const ValueId wide = widen(graph_.node(id).inputs[i], graph_.node(id).origin);
      graph_.node(id).inputs[i] = wide;
    }
  }

  // Makes the node's i-th output narrow. A graph output keeps its type and is cast at the end.
  void narrow_output(NodeId id, std::size_t i) {
    const ValueId output = graph_.node(id).outputs[i];
    if (!is_float32(output)) return;
    ++changed_;
    if (!graph_.is_output(output)) {
      graph_.value(output).dtype = context_.compute;
      narrow_[output] = true;
      return;
    }
    const ValueId inner = add_value(graph_.value(output), context_.compute);
    graph_.value(inner).producer = id;
    graph_.node(id).outputs[i] = inner;
    narrowed_[output] = inner;
    graph_.value(output).producer = kNoNode;
    add_cast(inner, output, graph_.node(id).origin);
  }

  void change_operator(NodeId id) {
    for (std::size_t i = 0; i < graph_.node(id).inputs.size(); ++i) {
      const ValueId input = narrow(graph_.node(id).inputs[i], graph_.node(id).origin);
      graph_.node(id).inputs[i] = input;
    }
    for (std::size_t i = 0; i < graph_.node(id).outputs.size(); ++i) narrow_output(id, i);
    Node& node = graph_.node(id);
    if (node.op != MINIINFER_COPY) return;
    const auto& copy = static_cast<const CopyRegions&>(*node.kernel);
    if (!copy.fills()) return;
    const auto& attrs = *static_cast<const miniinfer_copy_attrs*>(copy.abi());
    const auto fill = std::bit_cast<float>(static_cast<std::uint32_t>(attrs.fill_bits));
    node.kernel =
        std::make_shared<CopyRegions>(copy.regions(), narrow_bits(fill, context_.compute));
  }

  // A view is as narrow as what it looks at.
  void change_view(NodeId id) {
    Node& node = graph_.node(id);
    if (!narrow_[node.inputs[0]]) return;
    if (is_float32(node.outputs[0])) {
      narrow_output(id, 0);
    } else {
      widen_inputs(id);
    }
  }

  // A program computes in float32 as before; its operands are cast as they are read and written.
  void change_program(NodeId id, const std::vector<std::vector<NodeId>>& uses) {
    const auto& program = static_cast<const PointwiseProgram&>(*graph_.node(id).kernel);
    const std::size_t casts = graph_.node(id).inputs.size() + graph_.node(id).outputs.size();
    if (program.code().size() + casts > context_.max_instructions) return widen_inputs(id);
    for (std::size_t i = 0; i < graph_.node(id).inputs.size(); ++i) {
      const ValueId input = graph_.node(id).inputs[i];
      if (!is_float32(input) || !graph_.value(input).constant) continue;
      const ConstantPtr& constant = graph_.value(input).constant;
      if (context_.narrow_constants->get(constant, context_.compute)) {
        const ValueId made = narrow(input, graph_.node(id).origin);
        graph_.node(id).inputs[i] = made;
      }
    }
    std::vector<bool> narrow_outputs;
    for (std::size_t o = 0; o < graph_.node(id).outputs.size(); ++o) {
      const ValueId output = graph_.node(id).outputs[o];
      const bool wanted =
          is_float32(output) && !graph_.is_output(output) &&
          std::any_of(uses[output].begin(), uses[output].end(), [&](NodeId reader) {
            const Node& next = graph_.node(reader);
            return next.op == MINIINFER_POINTWISE || next.op == "view" || keeps_meaning(next);
          });
      narrow_outputs.push_back(wanted);
    }
    const Node& node = graph_.node(id);
    PointwiseBuilder builder(static_cast<std::uint32_t>(node.inputs.size()));
    std::vector<PointwiseBuilder::Reg> inputs;
    bool any = false;
    for (std::uint32_t i = 0; i < node.inputs.size(); ++i) {
      const bool cast = narrow_[node.inputs[i]];
      any = any || cast;
      inputs.push_back(cast ? builder.emit(MINIINFER_PW_CAST, DataType::Float32, builder.input(i))
                            : builder.input(i));
    }
    std::vector<PointwiseBuilder::Reg> outputs = append_program(builder, program, inputs);
    for (std::size_t o = 0; o < outputs.size(); ++o) {
      if (!narrow_outputs[o]) continue;
      any = true;
      outputs[o] = builder.emit(MINIINFER_PW_CAST, context_.compute, outputs[o]);
    }
    if (!any) return;
    ++changed_;
    graph_.node(id).kernel = builder.finish(outputs);
    for (std::size_t o = 0; o < outputs.size(); ++o) {
      if (narrow_outputs[o]) narrow_output(id, o);
    }
  }

  Graph& graph_;
  PassContext& context_;
  const NodeId nodes_;  // those there before the pass
  std::vector<bool> narrow_;
  std::map<ValueId, ValueId> narrowed_, widened_;
  int changed_ = 0;
};

}  // namespace

ConstantPtr NarrowConstants::get(const ConstantPtr& wide, DataType narrow) {
  const std::lock_guard lock(mutex_);
  std::weak_ptr<const Constant>& slot =
      made_[{wide->bytes.data(), to_string(wide->type) + std::string(to_string(narrow))}];
  if (ConstantPtr found = slot.lock()) return found;
  // Holds the wide one too, so that its address names no other while the narrow one lives.
  struct Kept {
    ConstantPtr wide;
    std::vector<std::uint16_t> bits;
  };
  auto kept = std::make_shared<Kept>();
  kept->wide = wide;
  kept->bits.resize(wide->bytes.size() / sizeof(float));
  for (std::size_t i = 0; i < kept->bits.size(); ++i) {
    float value;
    std::memcpy(&value, wide->bytes.data() + i * sizeof value, sizeof value);
    kept->bits[i] = narrow_bits(value, narrow);
    if (is_infinite(kept->bits[i], narrow) && std::isfinite(value)) return nullptr;
  }
  auto made = std::make_shared<Constant>();
  made->type = {narrow, wide->type.shape};
  made->bytes = std::as_bytes(std::span(kept->bits));
  made->keep = std::move(kept);
  slot = made;
  return made;
}

Result<int> narrow_floats(Graph& graph, PassContext& context) {
  if (context.compute == DataType::Float32) return 0;
  return Narrowing(graph, context).run();
}

}  // namespace miniinfer
