#pragma once

// Pooling of float32, a row of outputs at a time: first the rows of a window are folded into one,
// then the columns. The loops are compiled once for each instruction set from pool.inc; pool()
// picks a table.
//
// This header is read by the instruction set files: nothing here may have code of its own.

#include <stdint.h>

namespace miniinfer::cpu {

enum PoolFold : int { kPoolMax, kPoolMin, kPoolSum, kPoolFolds };

// out[i] = fold of in[i * stride + k * dilation] over k, begun with `identity`. Whole vectors are
// read: `in` must go on as if n were a multiple of the table's lanes, `counts` too.
struct PoolColumns {
  float* out;
  const float* in;
  int64_t n;
  int64_t window;
  int64_t stride;
  int64_t dilation;
  float identity;
  float rows;           // the fold is divided by rows * counts[i],
  const float* counts;  // of whole vectors, unless this is null
};

struct PoolTable {
  const char* isa;
  int32_t lanes;
  // out[i] = fold of rows[r][i] over `count` rows, at least 1.
  void (*rows[kPoolFolds])(float* out, const float* const* rows, int64_t count, int64_t n);
  void (*columns[kPoolFolds])(const PoolColumns& columns);
};

const PoolTable& pool_baseline() noexcept;
const PoolTable& pool_avx2() noexcept;
const PoolTable& pool_avx512() noexcept;

// The widest that cpu_features() allows. [any-thread]
const PoolTable& pool() noexcept;

}  // namespace miniinfer::cpu
