#pragma once

// Runs CUDA kernels on the host, so that their logic is tested where there is no GPU. Include this,
// then a `.cu` file: its launches run at once, block after block; the threads of a block are fibers
// that change only at barriers and warp operations, in an order that is shuffled. Memory is plain
// host memory, which a sanitizer watches. A barrier that not all threads reach ends the program
// with a message. What this cannot show: races between blocks, memory ordering, speed.

#include <ucontext.h>

#include <math.h>
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <type_traits>
#include <vector>

#include <cuda_runtime.h>

#define MINIINFER_EMULATED

#undef __shared__
#define __shared__ static
#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __global__
#define __global__ inline
#undef __device__
#define __device__
#undef __host__
#define __host__
#undef __forceinline__
#define __forceinline__ inline
#undef __grid_constant__
#define __grid_constant__
#undef __restrict__
#define __restrict__ __restrict

namespace miniinfer::cuda::emulated {

inline constexpr std::size_t kStackBytes = 64 * 1024;
inline constexpr unsigned kWarp = 32;

struct Fiber {
  ucontext_t context;
  std::unique_ptr<std::byte[]> stack;
  dim3 index;
  unsigned number = 0;  // in the block
  bool done = false;
  const unsigned* waits_for = nullptr;  // a generation that must change first
  unsigned seen = 0;
};

// Threads that meet; the last one to come lets all go on.
struct Barrier {
  unsigned generation = 0;
  unsigned arrived = 0;
  std::uint64_t slots[2][kWarp] = {};  // what the lanes bring along, by generation parity
};

struct Machine {
  std::vector<std::unique_ptr<Fiber>> fibers;
  ucontext_t scheduler;
  Fiber* current = nullptr;
  unsigned alive = 0;
  Barrier block;
  long block_sum[2] = {};
  std::map<std::pair<unsigned, unsigned>, Barrier> warps;  // by warp and mask
  std::vector<std::max_align_t> shared;
  std::function<void()> body;
  std::mt19937 random{1};
  dim3 grid_size, block_size, block_index;
};

inline Machine& machine() {
  static Machine instance;
  return instance;
}

[[noreturn]] inline void stop(const char* why) {
  std::fprintf(stderr, "emulated kernel: %s\n", why);
  std::abort();
}

inline void yield_until_changed(const unsigned& generation, unsigned seen) {
  Machine& m = machine();
  Fiber* self = m.current;
  while (generation == seen) {
    self->waits_for = &generation;
    self->seen = seen;
    swapcontext(&self->context, &m.scheduler);
  }
  self->waits_for = nullptr;
}

inline void release(Barrier& barrier) {
  barrier.arrived = 0;
  ++barrier.generation;
}

inline long sync_block(long value = 0) {
  Machine& m = machine();
  const unsigned seen = m.block.generation;
  if (m.block.arrived == 0) m.block_sum[seen & 1] = 0;
  m.block_sum[seen & 1] += value;
  if (++m.block.arrived == m.alive) {
    release(m.block);
  } else {
    yield_until_changed(m.block.generation, seen);
  }
  return m.block_sum[seen & 1];
}

// All lanes of the mask bring a value and see those of all.
inline const std::uint64_t* meet(unsigned mask, std::uint64_t value) {
  Machine& m = machine();
  const unsigned lane = m.current->number % kWarp;
  const auto in_block = m.block_size.x * m.block_size.y * m.block_size.z;
  const unsigned first = m.current->number - lane;
  if (in_block - first < kWarp) mask &= (1u << (in_block - first)) - 1;
  if ((mask >> lane & 1) == 0) stop("a lane uses a mask that does not name it");
  Barrier& barrier = m.warps[{m.current->number / kWarp, mask}];
  const unsigned seen = barrier.generation;
  std::uint64_t* slots = barrier.slots[seen & 1];
  slots[lane] = value;
  if (++barrier.arrived == static_cast<unsigned>(std::popcount(mask))) {
    release(barrier);
  } else {
    yield_until_changed(barrier.generation, seen);
  }
  return slots;
}

template <class T>
std::uint64_t to_bits(T value) {
  static_assert(sizeof(T) <= 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}
template <class T>
T from_bits(std::uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline void enter() {
  Machine& m = machine();
  m.body();
  m.current->done = true;
  --m.alive;
  if (m.alive > 0 && m.block.arrived == m.alive) release(m.block);
  swapcontext(&m.current->context, &m.scheduler);
}

}  // namespace miniinfer::cuda::emulated

// What CUDA declares globally.
inline dim3 threadIdx, blockIdx, blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace miniinfer::cuda::emulated {

inline void run_block() {
  Machine& m = machine();
  const unsigned threads = m.block_size.x * m.block_size.y * m.block_size.z;
  while (m.fibers.size() < threads) {
    auto fiber = std::make_unique<Fiber>();
    fiber->stack = std::make_unique<std::byte[]>(kStackBytes);
    m.fibers.push_back(std::move(fiber));
  }
  m.alive = threads;
  m.block = {};
  m.warps.clear();
  std::memset(m.shared.data(), 0xA5, m.shared.size() * sizeof(std::max_align_t));
  std::vector<Fiber*> order;
  for (unsigned i = 0; i < threads; ++i) {
    Fiber& fiber = *m.fibers[i];
    fiber.number = i;
    fiber.index = dim3(i % m.block_size.x, i / m.block_size.x % m.block_size.y,
                       i / m.block_size.x / m.block_size.y);
    fiber.done = false;
    fiber.waits_for = nullptr;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enter, 0);
    order.push_back(&fiber);
  }
  while (m.alive > 0) {
    std::shuffle(order.begin(), order.end(), m.random);
    bool moved = false;
    for (Fiber* fiber : order) {
      if (fiber->done || (fiber->waits_for != nullptr && *fiber->waits_for == fiber->seen))
        continue;
      moved = true;
      m.current = fiber;
      threadIdx = fiber->index;
      swapcontext(&m.scheduler, &fiber->context);
    }
    if (!moved) stop("threads wait at a barrier that others never reach");
  }
}

}  // namespace miniinfer::cuda::emulated

namespace miniinfer::cuda {

template <class... P, class... A>
cudaError_t launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes,
                   cudaStream_t, A... args) {
  emulated::Machine& m = emulated::machine();
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > 1024 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
      grid.y > 65535 || grid.z > 65535 || shared_bytes > 48 * 1024) {
    return cudaErrorInvalidConfiguration;
  }
  m.grid_size = gridDim = grid;
  m.block_size = blockDim = block;
  m.shared.resize(shared_bytes / sizeof(std::max_align_t) + 1);
  m.body = [=] { kernel(P(args)...); };
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = dim3(x, y, z);
        emulated::run_block();
      }
    }
  }
  return cudaSuccess;
}

template <class T>
T* dynamic_shared() {
  return reinterpret_cast<T*>(emulated::machine().shared.data());
}

}  // namespace miniinfer::cuda

inline void __syncthreads() { miniinfer::cuda::emulated::sync_block(); }
inline int __syncthreads_count(int predicate) {
  return static_cast<int>(miniinfer::cuda::emulated::sync_block(predicate != 0));
}
inline int __syncthreads_or(int predicate) { return __syncthreads_count(predicate) != 0; }
inline void __syncwarp(unsigned mask = ~0u) { miniinfer::cuda::emulated::meet(mask, 0); }
inline void __threadfence() {}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const auto lane = static_cast<int>(miniinfer::cuda::emulated::machine().current->number % 32);
  const auto* slots =
      miniinfer::cuda::emulated::meet(mask, miniinfer::cuda::emulated::to_bits(value));
  const int from = (lane & ~(width - 1)) | (source & (width - 1));
  return miniinfer::cuda::emulated::from_bits<T>(slots[from]);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int with, int width = 32) {
  const auto lane = static_cast<int>(miniinfer::cuda::emulated::machine().current->number % 32);
  return __shfl_sync(mask, value, (lane ^ with) & (width - 1), width);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const auto lane = static_cast<int>(miniinfer::cuda::emulated::machine().current->number % 32);
  const int at = lane & (width - 1);
  const int from = at - static_cast<int>(delta);
  return __shfl_sync(mask, value, from < 0 ? at : from, width);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const auto lane = static_cast<int>(miniinfer::cuda::emulated::machine().current->number % 32);
  const int at = lane & (width - 1);
  const int from = at + static_cast<int>(delta);
  return __shfl_sync(mask, value, from >= width ? at : from, width);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  auto& m = miniinfer::cuda::emulated::machine();
  const auto* slots = miniinfer::cuda::emulated::meet(mask, predicate != 0);
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  const unsigned first = m.current->number / 32 * 32;
  unsigned bits = 0;
  for (unsigned lane = 0; lane < 32 && first + lane < threads; ++lane) {
    if ((mask >> lane & 1) != 0 && slots[lane] != 0) bits |= 1u << lane;
  }
  return bits;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }

inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __ffs(unsigned x) { return x == 0 ? 0 : std::countr_zero(x) + 1; }
inline int __clz(unsigned x) { return std::countl_zero(x); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(std::uint64_t{a} * b >> 32);
}
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
template <class T>
T __ldg(const T* p) {
  return *p;
}

template <class T, class U>
T atomicAdd(T* p, U value) {
  const T old = *p;
  *p = static_cast<T>(old + static_cast<T>(value));
  return old;
}
template <class T, class U>
T atomicMin(T* p, U value) {
  const T old = *p;
  *p = std::min(old, static_cast<T>(value));
  return old;
}
template <class T, class U>
T atomicMax(T* p, U value) {
  const T old = *p;
  *p = std::max(old, static_cast<T>(value));
  return old;
}
template <class T, class U>
T atomicOr(T* p, U value) {
  const T old = *p;
  *p = old | static_cast<T>(value);
  return old;
}
template <class T, class U>
T atomicAnd(T* p, U value) {
  const T old = *p;
  *p = old & static_cast<T>(value);
  return old;
}
template <class T, class U, class V>
T atomicCAS(T* p, U expected, V value) {
  const T old = *p;
  if (old == static_cast<T>(expected)) *p = static_cast<T>(value);
  return old;
}
template <class T, class U>
auto min(T a, U b) {
  using C = std::common_type_t<T, U>;
  return static_cast<C>(b) < static_cast<C>(a) ? static_cast<C>(b) : static_cast<C>(a);
}
template <class T, class U>
auto max(T a, U b) {
  using C = std::common_type_t<T, U>;
  return static_cast<C>(a) < static_cast<C>(b) ? static_cast<C>(b) : static_cast<C>(a);
}
