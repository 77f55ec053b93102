#pragma once

// A product as a strided-batch matrix library wants it. Host code without the library.

#include <cstdint>
#include <optional>

#include "miniinfer/abi/op/contract.h"
#include "miniinfer/sdk/region.hpp"
#include "plugins/cuda/kernels/operand.hpp"

namespace miniinfer::cuda {

// A matrix whose rows, or whose columns (`transposed`), are contiguous and `ld` elements apart.
struct StoredMatrix {
  bool transposed = false;
  std::int64_t ld = 1;
};

// Nothing where neither rows nor columns are contiguous. Strides of axes of size 1 are not read.
inline std::optional<StoredMatrix> stored_matrix(std::int64_t rows, std::int64_t columns,
                                                 std::int64_t row_stride,
                                                 std::int64_t column_stride) {
  if ((column_stride == 1 || columns <= 1) && (rows <= 1 || row_stride >= columns)) {
    return StoredMatrix{false, rows <= 1 ? (columns > 1 ? columns : 1) : row_stride};
  }
  if ((row_stride == 1 || rows <= 1) && (columns <= 1 || column_stride >= rows)) {
    return StoredMatrix{true, columns <= 1 ? (rows > 1 ? rows : 1) : column_stride};
  }
  return std::nullopt;
}

// out[m, n] = a[m, k] b[k, n] for each place along the batch axes; strides in elements, those of
// the matrices after the transpose flags.
struct ContractStrides {
  std::int64_t m, n, k;
  std::int64_t a_row, a_column, b_row, b_column, out_row, out_column;
  Axes<3> batch;  // of a, b and out
};

inline ContractStrides contract_strides(const sdk::Region& region) {
  const auto attrs = region.attrs<miniinfer_contract_attrs>();
  const miniinfer_value& a = region.in(0);
  const miniinfer_value& b = region.in(1);
  const miniinfer_value& out = region.out(0);
  const int row = out.rank - 2, column = out.rank - 1;
  const int a_row = attrs.transpose_a != 0 ? column : row, a_column = row + column - a_row;
  const int b_row = attrs.transpose_b != 0 ? column : row, b_column = row + column - b_row;
  ContractStrides s{out.dims[row],       out.dims[column],
                    a.dims[a_column],    a.strides[a_row],
                    a.strides[a_column], b.strides[b_row],
                    b.strides[b_column], out.strides[row],
                    out.strides[column], {}};
  for (int axis = 0; axis < row; ++axis) {
    const std::int64_t steps[] = {a.dims[axis] == 1 ? 0 : a.strides[axis],
                                  b.dims[axis] == 1 ? 0 : b.strides[axis], out.strides[axis]};
    s.batch.push(out.dims[axis], steps);
  }
  s.batch.merge();
  return s;
}

// The calls a product needs: one for each place along `outer`, of `batch` products each.
struct ContractCalls {
  std::int64_t m, n, k;
  StoredMatrix a, b;
  std::int64_t out_ld;
  std::int64_t batch = 1;
  std::int64_t a_step = 0, b_step = 0, out_step = 0;  // from one product of a call to the next
  Axes<3> outer;
};

// Nothing where an operand's layout is not a library's. `out`'s rows must be contiguous.
inline std::optional<ContractCalls> contract_calls(const ContractStrides& s) {
  const auto a = stored_matrix(s.m, s.k, s.a_row, s.a_column);
  const auto b = stored_matrix(s.k, s.n, s.b_row, s.b_column);
  const auto out = stored_matrix(s.m, s.n, s.out_row, s.out_column);
  if (!a || !b || !out || out->transposed) return std::nullopt;
  ContractCalls calls{s.m, s.n, s.k, *a, *b, out->ld, 1, 0, 0, 0, s.batch};
  Axes<3>& axes = calls.outer;
  // One b for all: where the next product's rows follow, it is a taller product.
  while (axes.rank > 0 && axes.strides[1][axes.rank - 1] == 0 && !calls.a.transposed) {
    const int last = axes.rank - 1;
    const std::int64_t a_step = axes.strides[0][last], out_step = axes.strides[2][last];
    if (calls.m == 1) {
      if (a_step < s.k || out_step < s.n) break;
      calls.a.ld = a_step > 0 ? a_step : 1;
      calls.out_ld = out_step;
    } else if (a_step != calls.m * calls.a.ld || out_step != calls.m * calls.out_ld) {
      break;
    }
    calls.m *= axes.dims[last];
    axes.rank = last;
  }
  if (axes.rank == 0) return calls;
  // The longest axis becomes the batch of each call.
  int longest = 0;
  for (int axis = 1; axis < axes.rank; ++axis) {
    if (axes.dims[axis] >= axes.dims[longest]) longest = axis;
  }
  calls.batch = axes.dims[longest];
  calls.a_step = axes.strides[0][longest];
  calls.b_step = axes.strides[1][longest];
  calls.out_step = axes.strides[2][longest];
  --axes.rank;
  for (int axis = longest; axis < axes.rank; ++axis) {
    axes.dims[axis] = axes.dims[axis + 1];
    for (auto& strides : axes.strides) strides[axis] = strides[axis + 1];
  }
  return calls;
}

}  // namespace miniinfer::cuda
