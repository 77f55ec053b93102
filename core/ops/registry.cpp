#include <algorithm>
#include <array>

#include "core/ops/families.hpp"

namespace miniinfer {
namespace {

std::vector<const Operator*> sorted_operators() {
  const std::array tables = {
      kActivationOperators, kAttentionOperators, kBatchNormOperators, kCastOperators,
      kConstantOperators,   kExpandOperators,    kOneHotOperators,    kPadOperators,
      kPointwiseOperators,  kRandomOperators,    kReverseOperators,   kShapeOperators,
      kSliceOperators,      kTransposeOperators, kTriangleOperators,  kConvOperators,
      kPoolOperators,       kReduceOperators,    kMatmulOperators,    kEinsumOperators,
      kNormOperators,       kResizeOperators,    kGatherOperators,    kSelectOperators};
  std::vector<const Operator*> all;
  for (const OperatorTable& table : tables) {
    for (const Operator& op : table) all.push_back(&op);
  }
  std::sort(all.begin(), all.end(),
            [](const Operator* a, const Operator* b) { return a->name < b->name; });
  return all;
}

}  // namespace

std::span<const Operator* const> all_operators() {
  static const std::vector<const Operator*> all = sorted_operators();
  return all;
}

const Operator* find_operator(std::string_view name) {
  const std::span<const Operator* const> all = all_operators();
  const auto found =
      std::lower_bound(all.begin(), all.end(), name,
                       [](const Operator* op, std::string_view key) { return op->name < key; });
  return found != all.end() && (*found)->name == name ? *found : nullptr;
}

}  // namespace miniinfer
