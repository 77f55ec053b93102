// resize/1. Two launches: the taps of every output position of every axis, once, in float64 as the
// definition has it (a few thousand threads); then the outputs, one thread each, bound by memory
// for the nearest and linear modes and by cached reads of taps^2 inputs for the others. Weights and
// indices come from the first-level cache.

#include "plugins/cuda/kernels/gather_copy.cuh"
#include "plugins/cuda/kernels/resize_launch.hpp"

namespace miniinfer::cuda {
namespace {

template <class S>
using Working = std::conditional_t<std::is_same_v<Compute<S>, float>, float, double>;

template <class C>
struct Tables {
  C* weight;
  std::int32_t* index;

  Tables(void* workspace, std::int64_t taps)
      : weight(static_cast<C*>(workspace)), index(reinterpret_cast<std::int32_t*>(weight + taps)) {}
};

template <class C>
__global__ void __launch_bounds__(kThreads) resize_tables(Resize args, Tables<C> tables) {
  const ResizeAxis axis = args.axes[blockIdx.y];
  for (std::int64_t i = first_item(); i < axis.out; i += item_step()) {
    const std::int64_t at = args.first[blockIdx.y] + i * axis.taps;
    resize_taps(args.rule, axis, i, tables.index + at, tables.weight + at);
  }
}

// Takes the coordinates of output `i` apart, innermost first: f(axis, coordinate).
template <class Index, class F>
__device__ __forceinline__ void each_coordinate(const Resize& args, Index i, F&& f) {
  for (int axis = args.rank - 1; axis >= 0; --axis) {
    Index coordinate;
    if constexpr (sizeof(Index) == 4) {
      coordinate = args.divisors[axis].split(i);
    } else {
      const Index quotient = i / args.out[axis];
      coordinate = i - quotient * args.out[axis];
      i = quotient;
    }
    f(axis, coordinate);
  }
}

// `words` words of the innermost elements are moved together; 1 where there is extrapolation.
template <class Index, class Word>
__global__ void __launch_bounds__(kThreads)
    resize_nearest(Resize args, Tables<float> tables, WordOf<Index> words, std::int64_t total,
                   Word outside, const Word* in, Word* out) {
  for (std::int64_t i = first_item(); i < total; i += item_step()) {
    Index position, word;
    words.split(static_cast<Index>(i), &position, &word);
    Index from = 0;
    bool inside = true;
    each_coordinate(args, position, [&](int axis, Index coordinate) {
      const int tapped = args.taps_of[axis];
      if (tapped < 0) {
        from += coordinate * static_cast<Index>(args.step[axis]);
        return;
      }
      const std::int32_t index = tables.index[args.first[tapped] + coordinate];
      inside = inside && index >= 0;
      from += static_cast<Index>(index) * static_cast<Index>(args.step[axis]);
    });
    out[i] = inside ? in[from * static_cast<Index>(words.words) + word] : outside;
  }
}

// The taps of one output along an axis; where there is no such axis, one tap that changes nothing.
template <class C>
struct Taps {
  const C* weights = nullptr;
  const std::int32_t* indices = nullptr;
  std::int64_t step = 0;
  int count = 1;

  __device__ C weight(int t) const { return weights == nullptr ? C{1} : weights[t]; }
  __device__ std::int64_t offset(int t) const { return indices == nullptr ? 0 : indices[t] * step; }
  __device__ bool inside() const { return indices == nullptr || *indices >= 0; }
};

template <class S>
__device__ __forceinline__ S finish(Working<S> value) {
  if constexpr (!kIsFloating<Compute<S>>) {
    // Elements are cut, and weights that sum to just under 1 must not lose a unit.
    value += value < 0 ? -1e-6 : 1e-6;
  }
  return convert<S>(value);
}

// One or two axes with taps.
template <class S>
__global__ void __launch_bounds__(kThreads)
    resize_plane(Resize args, Tables<Working<S>> tables, const S* in, S* out) {
  using C = Working<S>;
  for (std::int64_t i = first_item(); i < args.out_count; i += item_step()) {
    std::int64_t base = 0;
    Taps<C> rows;
    Taps<C> columns;
    each_coordinate(args, static_cast<unsigned>(i), [&](int axis, unsigned coordinate) {
      const int tapped = args.taps_of[axis];
      if (tapped < 0) {
        base += static_cast<std::int64_t>(coordinate) * args.step[axis];
        return;
      }
      const int count = args.axes[tapped].taps;
      const std::int64_t at = args.first[tapped] + static_cast<std::int64_t>(coordinate) * count;
      if (tapped + 1 == args.tapped) {  // the innermost
        columns = {tables.weight + at, tables.index + at, args.step[axis], count};
      } else {
        rows = {tables.weight + at, tables.index + at, args.step[axis], count};
      }
    });
    if (!rows.inside() || !columns.inside()) {
      out[i] = finish<S>(static_cast<C>(args.extrapolation));
      continue;
    }
    C sum = 0;
    for (int r = 0; r < rows.count; ++r) {
      const S* row = in + base + rows.offset(r);
      C partial = 0;
      for (int c = 0; c < columns.count; ++c) {
        partial += static_cast<C>(Number<S>::load(row[columns.offset(c)])) * columns.weight(c);
      }
      sum += partial * rows.weight(r);
    }
    out[i] = finish<S>(sum);
  }
}

// Any number of axes with taps: each combination of taps is a term.
template <class S>
__global__ void __launch_bounds__(kThreads)
    resize_volume(Resize args, Tables<Working<S>> tables, const S* in, S* out) {
  using C = Working<S>;
  for (std::int64_t i = first_item(); i < args.out_count; i += item_step()) {
    std::int64_t base = 0;
    std::int64_t terms = 1;
    bool inside = true;
    std::int64_t at[kMaxRank];
    std::int64_t step[kMaxRank];
    int used = 0;
    each_coordinate(args, i, [&](int axis, std::int64_t coordinate) {
      const int tapped = args.taps_of[axis];
      if (tapped < 0) {
        base += coordinate * args.step[axis];
        return;
      }
      const int count = args.axes[tapped].taps;
      at[used] = args.first[tapped] + coordinate * count;
      step[used] = args.step[axis];
      inside = inside && tables.index[at[used]] >= 0;
      terms *= count;
      ++used;
    });
    C sum = 0;
    for (std::int64_t term = 0; inside && term < terms; ++term) {
      std::int64_t rest = term;
      std::int64_t from = base;
      C weight = 1;
      for (int n = 0; n < used; ++n) {
        const int count = args.axes[args.tapped - 1 - n].taps;  // innermost first
        const std::int64_t tap = at[n] + rest % count;
        rest /= count;
        weight *= tables.weight[tap];
        from += tables.index[tap] * step[n];
      }
      sum += static_cast<C>(Number<S>::load(in[from])) * weight;
    }
    out[i] = finish<S>(inside ? sum : static_cast<C>(args.extrapolation));
  }
}

template <class C>
cudaError_t fill_tables(const Resize& args, const Tables<C>& tables, cudaStream_t stream) {
  if (args.tapped == 0) return cudaSuccess;
  std::int64_t most = 1;
  for (int i = 0; i < args.tapped; ++i) most = args.axes[i].out > most ? args.axes[i].out : most;
  return launch(resize_tables<C>, dim3(grid_for(most), static_cast<unsigned>(args.tapped)),
                kThreads, 0, stream, args, tables);
}

template <class S>
cudaError_t resize_smooth(const Resize& args, const void* in, void* out, void* workspace,
                          cudaStream_t stream) {
  const Tables<Working<S>> tables(workspace, args.tap_count);
  const cudaError_t error = fill_tables(args, tables, stream);
  if (error != cudaSuccess) return error;
  const bool plane = args.tapped <= 2 && args.out_count < kSmall;
  return launch(plane ? resize_plane<S> : resize_volume<S>, grid_for(args.out_count), kThreads, 0,
                stream, args, tables, static_cast<const S*>(in), static_cast<S*>(out));
}

}  // namespace

cudaError_t launch_resize(const Resize& given, const void* in, void* out, void* workspace,
                          cudaStream_t stream) {
  if (given.out_count == 0) return cudaSuccess;
  if (given.rule.mode != MINIINFER_RESIZE_NEAREST) {
    return with_number(given.dtype, [&](auto tag) {
      using S = typename decltype(tag)::Storage;
      if constexpr (std::is_same_v<S, Bool>) {
        return cudaErrorInvalidValue;
      } else {
        return resize_smooth<S>(given, in, out, workspace, stream);
      }
    });
  }
  // What lies innermost and keeps its size is moved as a run.
  Resize args = given;
  std::int64_t run = 1;
  if (args.rank > 0 && args.taps_of[args.rank - 1] < 0 &&
      args.rule.coordinate != MINIINFER_COORD_TF_CROP_AND_RESIZE) {
    run = args.out[--args.rank];
    for (int i = 0; i < args.rank; ++i) args.step[i] /= run;
  }
  const Tables<float> tables(workspace, args.tap_count);
  const cudaError_t error = fill_tables(args, tables, stream);
  if (error != cudaSuccess) return error;
  const std::int64_t bytes = run * args.element_bytes;
  const std::int64_t width = run == 1 ? args.element_bytes : word_bytes(bytes, in, out);
  const std::int64_t words = bytes / width;
  const std::int64_t total = args.out_count / run * words;
  const std::int64_t in_words = args.in_count / run * words;
  return with_word(width, [&](auto tag) {
    using Word = typename decltype(tag)::Storage;
    return with_index(total > in_words ? total : in_words, [&](auto index) {
      using Index = decltype(index);
      Word outside{};
      if constexpr (sizeof(Word) <= 8) outside = static_cast<Word>(args.extrapolation_bits);
      return launch(resize_nearest<Index, Word>, grid_for(total), kThreads, 0, stream, args, tables,
                    WordOf<Index>(words), total, outside, static_cast<const Word*>(in),
                    static_cast<Word*>(out));
    });
  });
}

}  // namespace miniinfer::cuda
