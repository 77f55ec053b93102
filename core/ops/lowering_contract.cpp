#include "core/ops/lowering_contract.hpp"

#include <algorithm>
#include <numeric>

#include "core/ops/lowering.hpp"
#include "miniinfer/abi/op/contract.h"

namespace miniinfer {

ValueId emit_contract(LowerContext& context, ValueId a, ValueId b, bool transpose_a,
                      bool transpose_b) {
  Shape left = context.shape_of(a);
  Shape right = context.shape_of(b);
  const std::size_t rank = std::max(left.size(), right.size());
  left.insert(left.begin(), rank - left.size(), 1);
  right.insert(right.begin(), rank - right.size(), 1);
  const std::int64_t m = left[rank - (transpose_a ? 1 : 2)];
  const std::int64_t n = right[rank - (transpose_b ? 2 : 1)];
  Shape out;
  for (std::size_t i = 0; i + 2 < rank; ++i) out.push_back(left[i] == 1 ? right[i] : left[i]);
  const Shape batch = out;
  out.push_back(m);
  out.push_back(n);

  Shape flat_left = left;
  Shape flat_right = right;
  Shape flat_out = out;
  const bool same_batch = std::equal(left.begin(), left.end() - 2, right.begin());
  const bool right_shared =
      std::all_of(right.begin(), right.end() - 2, [](std::int64_t size) { return size == 1; });
  if (right_shared && !transpose_a && rank > 2) {
    // One matrix on the right: the batch is more rows.
    const std::int64_t rows = product(left, 0, rank - 1);
    flat_left = {rows, left.back()};
    flat_right = {right[rank - 2], right[rank - 1]};
    flat_out = {rows, n};
  } else if (same_batch && rank > MINIINFER_MAX_RANK) {
    const std::int64_t count = product(batch, 0, batch.size());
    flat_left = {count, left[rank - 2], left[rank - 1]};
    flat_right = {count, right[rank - 2], right[rank - 1]};
    flat_out = {count, m, n};
  } else if (rank > MINIINFER_MAX_RANK) {
    context.fail(unsupported("a product of rank %zu: at most %d", rank, MINIINFER_MAX_RANK));
  }
  miniinfer_contract_attrs attrs{};
  attrs.transpose_a = transpose_a ? 1 : 0;
  attrs.transpose_b = transpose_b ? 1 : 0;
  const ValueId made = context.emit(MINIINFER_CONTRACT, make_attrs(attrs),
                                    {context.view(a, flat_left), context.view(b, flat_right)},
                                    context.dtype_of(a), flat_out);
  return context.view(made, out);
}

}  // namespace miniinfer
