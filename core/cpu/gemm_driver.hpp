#pragma once

#include <cstdint>

#include "core/cpu/gemm.hpp"

namespace miniinfer::cpu {

// One matrix product, cut for the caches and run over a range of its panels.
struct GemmPlan {
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;

  // Steps of k taken together: a panel of each operand then stays in the nearest cache.
  static constexpr std::int64_t kDepth = 384;

  std::int64_t row_panels(const GemmTable& t) const { return (m + t.mr - 1) / t.mr; }
  std::int64_t column_panels(const GemmTable& t) const { return (n + t.nr - 1) / t.nr; }
  std::uint64_t packed_a_floats(const GemmTable& t) const {
    return static_cast<std::uint64_t>(row_panels(t) * t.mr * k);
  }
  std::uint64_t packed_b_floats(const GemmTable& t) const {
    return static_cast<std::uint64_t>(column_panels(t) * t.nr * k);
  }
};

// Operands of a product: each packed (gemm.hpp), or `a` in rows and `b` in rows of whole vectors.
struct GemmOperands {
  const float* a;
  bool a_packed;
  std::int64_t a_row;  // strides where it is not packed
  std::int64_t a_step;
  const float* b;
  bool b_packed;
  std::int64_t b_step;
  float* c;
  std::int64_t c_row;
  const float* bias;  // of each row, or null
  bool clamp;
  float low;
  float high;
  bool accumulate = false;  // to what c holds
};

// Computes the tiles of row panels [m0, m1) and column panels [n0, n1).
inline void multiply(const GemmTable& table, const GemmPlan& plan, const GemmOperands& x,
                     std::int64_t m0, std::int64_t m1, std::int64_t n0, std::int64_t n1) noexcept {
  GemmTile tile;
  tile.c_row = x.c_row;
  tile.low = x.low;
  tile.high = x.high;
  tile.a_row = x.a_packed ? 1 : x.a_row;
  tile.a_step = x.a_packed ? table.mr : x.a_step;
  tile.b_step = x.b_packed ? table.nr : x.b_step;
  std::int64_t k0 = 0;
  do {
    const std::int64_t left = plan.k - k0;
    tile.k = left < GemmPlan::kDepth ? left : GemmPlan::kDepth;
    tile.accumulate = x.accumulate || k0 > 0;
    tile.clamp = x.clamp && k0 + tile.k >= plan.k;
    for (std::int64_t p = m0; p < m1; ++p) {
      const std::int64_t row = p * table.mr;
      tile.rows = static_cast<std::int32_t>(plan.m - row < table.mr ? plan.m - row : table.mr);
      tile.a =
          x.a_packed ? x.a + (p * plan.k + k0) * table.mr : x.a + row * x.a_row + k0 * x.a_step;
      tile.bias = x.bias != nullptr && k0 == 0 ? x.bias + row : nullptr;
      for (std::int64_t q = n0; q < n1; ++q) {
        const std::int64_t column = q * table.nr;
        tile.columns =
            static_cast<std::int32_t>(plan.n - column < table.nr ? plan.n - column : table.nr);
        tile.b = x.b_packed ? x.b + (q * plan.k + k0) * table.nr : x.b + k0 * x.b_step + column;
        tile.c = x.c + row * x.c_row + column;
        table.tile(tile);
      }
    }
    k0 += tile.k;
  } while (k0 < plan.k);
}

// Packs panels [begin, end) of a row-major (or transposed) operand.
inline void pack_rows(const GemmTable& t, const GemmPlan& plan, float* dst, const float* a,
                      std::int64_t row, std::int64_t step, std::int64_t begin,
                      std::int64_t end) noexcept {
  for (std::int64_t p = begin; p < end; ++p) {
    const std::int64_t left = plan.m - p * t.mr;
    t.pack(dst + p * t.mr * plan.k, a + p * t.mr * row, row, step, plan.k,
           static_cast<std::int32_t>(left < t.mr ? left : t.mr), t.mr);
  }
}

inline void pack_columns(const GemmTable& t, const GemmPlan& plan, float* dst, const float* b,
                         std::int64_t column, std::int64_t step, std::int64_t begin,
                         std::int64_t end) noexcept {
  for (std::int64_t q = begin; q < end; ++q) {
    const std::int64_t left = plan.n - q * t.nr;
    t.pack(dst + q * t.nr * plan.k, b + q * t.nr * column, column, step, plan.k,
           static_cast<std::int32_t>(left < t.nr ? left : t.nr), t.nr);
  }
}

}  // namespace miniinfer::cpu
