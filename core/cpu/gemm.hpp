#pragma once

// Matrix products of float32 in registers: what contract, conv and conv_transpose are made of. The
// loops are compiled once for each instruction set from gemm.inc; gemm() picks a table.
//
// Operands are cut into panels. A panel of `a` holds `mr` rows, k after k (element i of step k at
// k * mr + i); a panel of `b` holds `nr` columns (k * nr + j). What is missing in the last panel is
// zero. A whole packed operand is its panels one after the other, each over all of k.
//
// This header is read by the instruction set files: nothing here may have code of its own.

#include <stdint.h>

namespace miniinfer::cpu {

enum : int32_t { kMaxPanelRows = 12, kMaxPanelColumns = 32, kMaxTaps = 64 };
enum : int32_t { kMaxRuns = 8, kMaxWindow = 32 };  // of a ConvPanel

// c[i, j] = sum over k of a[i, k] * b[k, j] for one panel of each.
struct GemmTile {
  const float* a;
  int64_t a_row;  // a[i, k] is at i * a_row + k * a_step
  int64_t a_step;
  const float* b;  // b[k, j] is at k * b_step + j; whole vectors are read
  int64_t b_step;
  float* c;
  int64_t c_row;
  int64_t k;
  const float* bias;   // one for each row, or null
  int32_t rows;        // 1 to mr
  int32_t columns;     // 1 to nr
  int32_t accumulate;  // to what c holds
  int32_t clamp;       // the result, to [low, high]; NaN stays
  float low;
  float high;
};

// An output row of a depthwise convolution: out[j] = bias + sum over t of weight[t] * tap[t][j].
// Whole vectors are read.
struct DepthwiseRow {
  float* out;
  int64_t n;
  const float* const* tap;
  const float* weight;
  int64_t taps;
  float bias;
  int32_t clamp;
  float low;
  float high;
};

// A panel of the columns of a convolution whose outputs along the last axis read neighbours. Lanes
// form runs: those of a run read one piece of memory, lane j at base + j from the input's channel 0
// for tap 0. A tap moves all of them by as much, and reads the lanes where each axis is inside.
struct ConvPanel {
  int64_t channels;
  int64_t channel_stride;
  int64_t window[3];    // each at most kMaxWindow
  int64_t tap_step[3];  // in floats
  int32_t runs;         // at least 1
  int64_t base[kMaxRuns];
  uint32_t lanes[kMaxRuns];  // a bit for each; no lane is in two runs
  uint32_t inside[3][kMaxWindow];
};

struct GemmTable {
  const char* isa;
  int32_t mr;
  int32_t nr;
  void (*tile)(const GemmTile& tile);
  // One panel of `width` (mr or nr) lanes, of which `lanes` exist: dst[k * width + i] =
  // src[i * lane_stride + k * k_stride].
  void (*pack)(float* dst, const float* src, int64_t lane_stride, int64_t k_stride, int64_t k,
               int32_t lanes, int32_t width);
  // Where the lanes of a panel of `nr` columns read the input: offset[j] from coordinates, or -1
  // outside it. Coordinates are z, y, x of all lanes in turn; an extent is 1 where there is no such
  // axis.
  void (*offsets)(int32_t* offset, const int32_t* const* coordinate, const int32_t* shift,
                  const int32_t* extent);
  // dst[c * nr + j] = offset[j] < 0 ? 0 : src[c * channel_stride + offset[j]].
  void (*pack_offsets)(float* dst, const float* src, int64_t channel_stride, int64_t channels,
                       const int32_t* offset);
  // Steps [k0, k0 + depth) of a panel, where step k is channel k % channels of tap k / channels.
  // Lanes that are in no run, or outside, are zero.
  void (*pack_runs)(float* dst, const float* src, const ConvPanel& panel, int64_t k0,
                    int64_t depth);
  void (*depthwise)(const DepthwiseRow& row);
};

const GemmTable& gemm_baseline() noexcept;
const GemmTable& gemm_avx2() noexcept;
const GemmTable& gemm_avx512() noexcept;

// The widest that cpu_features() allows. [any-thread]
const GemmTable& gemm() noexcept;

}  // namespace miniinfer::cpu
