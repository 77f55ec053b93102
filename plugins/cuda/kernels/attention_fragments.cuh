#pragma once

// Matrices in the registers of a warp, as mma.sync wants them (PTX ISA, "Matrix fragments for
// mma.m16n8k16" and "mma.m16n8k8"). Lane l is in row g = l / 4 of its eight and in place t = l % 4.
// A sum c of 16 rows by 8 columns lies in c[0], c[1]: row g, columns 2t and 2t + 1; c[2], c[3]: row
// g + 8. A step is kStep elements deep: `a` holds 16 rows of a step, `b` a step of 8 columns.
//
// The emulated forms below speak the same layout, so that a wrong one is seen without a GPU.

#include <cstdint>

#include "plugins/cuda/kernels/number.hpp"
#include "plugins/cuda/kernels/numeric.cuh"

namespace miniinfer::cuda {

template <class E>
struct Fragments;

__device__ __forceinline__ int lane_of_warp() { return static_cast<int>(threadIdx.x % 32); }

#if defined(MINIINFER_EMULATED)

// What all lanes bring along.
template <int kWords>
struct Exchanged {
  std::uint64_t words[kWords][32];
  explicit Exchanged(const std::uint64_t (&mine)[kWords]) {
    for (int w = 0; w < kWords; ++w) {
      std::memcpy(words[w], emulated::meet(~0u, mine[w]), sizeof words[w]);
    }
  }
};

template <bool kTransposed>
inline void load_matrices(std::uint32_t (&r)[4], const void* row) {
  const Exchanged<1> rows({reinterpret_cast<std::uint64_t>(row)});
  const int g = lane_of_warp() / 4, t = lane_of_warp() % 4;
  for (int m = 0; m < 4; ++m) {
    std::uint16_t pair[2];
    for (int i = 0; i < 2; ++i) {
      const int at_row = kTransposed ? 2 * t + i : g, at_column = kTransposed ? g : 2 * t + i;
      pair[i] = reinterpret_cast<const std::uint16_t*>(rows.words[0][8 * m + at_row])[at_column];
    }
    std::memcpy(&r[m], pair, sizeof pair);
  }
}

// kPerWord elements of a step lie in a register; `decode` gives number i of one.
template <int kPerWord, class Decode>
inline void multiply_emulated(float (&c)[4], const std::uint32_t (&a)[4],
                              const std::uint32_t (&b)[2], Decode&& decode) {
  const auto join = [](std::uint32_t low, std::uint32_t high) {
    return std::uint64_t{high} << 32 | low;
  };
  const Exchanged<3> all({join(a[0], a[1]), join(a[2], a[3]), join(b[0], b[1])});
  const auto word = [](std::uint64_t pair, int which) {
    return static_cast<std::uint32_t>(pair >> (32 * which));
  };
  const int g = lane_of_warp() / 4, t = lane_of_warp() % 4;
  for (int i = 0; i < 4; ++i) {
    const int row = g + i / 2 * 8, column = 2 * t + i % 2;
    for (int k = 0; k < 8 * kPerWord; ++k) {
      const int half = k / (4 * kPerWord), place = k % (4 * kPerWord);
      const int lane = place / kPerWord, number = place % kPerWord;
      const std::uint32_t x = word(all.words[half][row % 8 * 4 + lane], row / 8);
      const std::uint32_t y = word(all.words[2][column * 4 + lane], half);
      c[i] += decode(x, number) * decode(y, number);
    }
  }
}

#else

// Four 8 by 8 matrices of 16-bit elements; lane l names row l % 8 of matrix l / 8.
template <bool kTransposed>
__device__ __forceinline__ void load_matrices(std::uint32_t (&r)[4], const void* row) {
  const auto shared = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared)
                 : "memory");
  }
}

#endif

__device__ __forceinline__ void multiply(Float16, float (&c)[4], const std::uint32_t (&a)[4],
                                         const std::uint32_t (&b)[2]) {
#if defined(MINIINFER_EMULATED)
  multiply_emulated<2>(c, a, b, [](std::uint32_t word, int i) {
    return decode(Float16{static_cast<unsigned short>(word >> (16 * i))});
  });
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  // sm_75 multiplies half a step at a time.
  for (int half = 0; half < 2; ++half) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
  }
#endif
}

__device__ __forceinline__ void multiply(BFloat16, float (&c)[4], const std::uint32_t (&a)[4],
                                         const std::uint32_t (&b)[2]) {
#if defined(MINIINFER_EMULATED)
  multiply_emulated<2>(c, a, b, [](std::uint32_t word, int i) {
    return decode(BFloat16{static_cast<unsigned short>(word >> (16 * i))});
  });
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif  // below 8.0 support() refuses
}

__device__ __forceinline__ void multiply(float, float (&c)[4], const std::uint32_t (&a)[4],
                                         const std::uint32_t (&b)[2]) {
#if defined(MINIINFER_EMULATED)
  multiply_emulated<1>(c, a, b, [](std::uint32_t word, int) { return float_of(word); });
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif  // below 8.0 support() chooses the other kernel
}

__device__ __forceinline__ std::uint32_t to_tf32(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  std::uint32_t rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
  return rounded;
#else
  const unsigned bits = bits_of(x);
  return x - x == 0.0f ? (bits + 0x1000u) & ~0x1FFFu : bits;
#endif
}

// Two sums as elements, the first in the low bits.
__device__ __forceinline__ std::uint32_t pair_of(Float16, float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  std::uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  return std::uint32_t{encode_float16(low).bits} | std::uint32_t{encode_float16(high).bits} << 16;
#endif
}
__device__ __forceinline__ std::uint32_t pair_of(BFloat16, float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  std::uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  return std::uint32_t{encode_bfloat16(low).bits} | std::uint32_t{encode_bfloat16(high).bits} << 16;
#endif
}

template <class E>
struct HalfFragments {
  static constexpr int kStep = 16;
  static constexpr int kPad = 8;  // elements between rows, so that eight of them meet no bank twice

  // 16 rows of one step.
  static __device__ __forceinline__ void load_rows(std::uint32_t (&a)[4], const E* tile,
                                                   int pitch) {
    const int lane = lane_of_warp();
    load_matrices<false>(a, tile + lane % 16 * pitch + lane / 16 * 8);
  }
  // 8 rows, which are columns of the product, of two steps.
  static __device__ __forceinline__ void load_columns(std::uint32_t (&b)[2][2], const E* tile,
                                                      int pitch) {
    const int lane = lane_of_warp();
    std::uint32_t r[4];
    load_matrices<false>(r, tile + lane % 8 * pitch + lane / 8 * 8);
    split(b, r);
  }
  // A step of rows, which are the depth of the product; twice 8 columns.
  static __device__ __forceinline__ void load_depth(std::uint32_t (&b)[2][2], const E* tile,
                                                    int pitch) {
    const int lane = lane_of_warp();
    std::uint32_t r[4];
    load_matrices<true>(r, tile + lane % 16 * pitch + lane / 16 * 8);
    split(b, r);
  }
  // Sums over a step of columns as a step of rows.
  static __device__ __forceinline__ void pack(std::uint32_t (&a)[4], const float (*sums)[4]) {
    MINIINFER_UNROLL()
    for (int i = 0; i < 4; ++i)
      a[i] = pair_of(E{}, sums[i / 2][i % 2 * 2], sums[i / 2][i % 2 * 2 + 1]);
  }

 private:
  static __device__ __forceinline__ void split(std::uint32_t (&b)[2][2],
                                               const std::uint32_t (&r)[4]) {
    b[0][0] = r[0];
    b[0][1] = r[1];
    b[1][0] = r[2];
    b[1][1] = r[3];
  }
};

template <>
struct Fragments<Float16> : HalfFragments<Float16> {};
template <>
struct Fragments<BFloat16> : HalfFragments<BFloat16> {};

// float32 as tf32. A step's keys may be counted in any order as long as both sides agree: place t
// of a lane is key 2t and place t + 4 key 2t + 1, so sums need no exchange to become rows.
template <>
struct Fragments<float> {
  static constexpr int kStep = 8;
  static constexpr int kPad = 4;

  static __device__ __forceinline__ void load_rows(std::uint32_t (&a)[4], const float* tile,
                                                   int pitch) {
    const int g = lane_of_warp() / 4, t = lane_of_warp() % 4;
    MINIINFER_UNROLL()
    for (int i = 0; i < 4; ++i) a[i] = to_tf32(tile[(g + i % 2 * 8) * pitch + t + i / 2 * 4]);
  }
  static __device__ __forceinline__ void load_columns(std::uint32_t (&b)[2][2], const float* tile,
                                                      int pitch) {
    const int g = lane_of_warp() / 4, t = lane_of_warp() % 4;
    MINIINFER_UNROLL()
    for (int i = 0; i < 4; ++i) b[i / 2][i % 2] = to_tf32(tile[g * pitch + t + i * 4]);
  }
  static __device__ __forceinline__ void load_depth(std::uint32_t (&b)[2][2], const float* tile,
                                                    int pitch) {
    const int g = lane_of_warp() / 4, t = lane_of_warp() % 4;
    MINIINFER_UNROLL()
    for (int i = 0; i < 4; ++i) {
      b[i / 2][i % 2] = to_tf32(tile[(2 * t + i % 2) * pitch + g + i / 2 * 8]);
    }
  }
  static __device__ __forceinline__ void pack(std::uint32_t (&a)[4], const float (*sums)[4]) {
    MINIINFER_UNROLL()
    for (int i = 0; i < 4; ++i) a[i] = to_tf32(sums[0][i % 2 * 2 + i / 2]);
  }
};

}  // namespace miniinfer::cuda
