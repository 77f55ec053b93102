#include "core/plan/support.hpp"

#include <algorithm>
#include <cstring>

#include "core/base/format.hpp"
#include "miniinfer/abi/op/pointwise.h"

namespace miniinfer {
namespace {

const miniinfer_op_info* find_op(const miniinfer_op_api& api, const char* id) {
  for (std::uint32_t i = 0; i < api.op_count; ++i) {
    if (std::strcmp(api.ops[i]->id, id) == 0) return api.ops[i];
  }
  return nullptr;
}

// True where the attributes say something that a plugin of `known` bytes would not see.
bool says_more(const void* attrs, std::uint64_t known) {
  std::uint32_t size = 0;
  std::memcpy(&size, attrs, sizeof size);
  const auto* bytes = static_cast<const unsigned char*>(attrs);
  return known < size &&
         std::any_of(bytes + known, bytes + size, [](unsigned char byte) { return byte != 0; });
}

std::string refuse_program(const miniinfer_op_api& api, const miniinfer_region& region,
                           const miniinfer_node& node) {
  const auto& program = *static_cast<const miniinfer_pointwise_attrs*>(node.attrs);
  if (program.code_count > api.max_instructions) {
    return format("a program of %u instructions: at most %u", program.code_count,
                  api.max_instructions);
  }
  if (node.in_count + node.out_count > api.max_operands) {
    return format("%u operands: at most %u", node.in_count + node.out_count, api.max_operands);
  }
  for (std::uint32_t i = 0; i < program.code_count; ++i) {
    const miniinfer_instruction& instruction = program.code[i];
    if (instruction.op >= 128 ||
        (api.pointwise_ops[instruction.op / 64] >> (instruction.op % 64) & 1) == 0) {
      return format("pointwise operation %u is not implemented", instruction.op);
    }
    if ((api.pointwise_dtypes >> instruction.dtype & 1) == 0) {
      return std::string(to_string(static_cast<DataType>(instruction.dtype))) +
             " arithmetic is not implemented";
    }
  }
  for (std::uint32_t i = 0; i < node.in_count; ++i) {
    const miniinfer_dtype dtype = region.values[node.in[i]]->dtype;
    if ((api.pointwise_dtypes >> dtype & 1) == 0) {
      return std::string(to_string(static_cast<DataType>(dtype))) + " is not implemented";
    }
  }
  return {};
}

}  // namespace

Support query_support(const OpenDevice& device, const Region& region) {
  Support support;
  const miniinfer_op_api& api = *device.api->op;
  const miniinfer_region& abi = region.abi();
  if (abi.node_count > std::max(api.max_nodes, 1u)) {
    support.reason = format("a region of %u nodes: at most %u", abi.node_count, api.max_nodes);
    return support;
  }
  for (std::uint32_t i = 0; i < abi.node_count; ++i) {
    const miniinfer_node& node = *abi.nodes[i];
    const miniinfer_op_info* info = find_op(api, node.op);
    if (info == nullptr) {
      support.reason = "not implemented";
      return support;
    }
    if (says_more(node.attrs, info->attr_size)) {
      support.reason = format("%s: an attribute newer than the plugin", node.op);
      return support;
    }
    if (std::strcmp(node.op, MINIINFER_POINTWISE) == 0) {
      support.reason = refuse_program(api, abi, node);
      if (!support.reason.empty()) return support;
    }
  }
  support.choice.head = {sizeof support.choice, MINIINFER_ABI_MINOR};
  miniinfer_choice* choices[] = {&support.choice};
  std::uint32_t count = 1;
  const miniinfer_code code = api.support(device.handle, &abi, choices, &count);
  support.choice.reason[sizeof support.choice.reason - 1] = '\0';
  support.yes = code == MINIINFER_OK && count >= 1;
  if (!support.yes) {
    support.reason = support.choice.reason[0] != '\0' ? support.choice.reason : "not implemented";
  }
  return support;
}

}  // namespace miniinfer
