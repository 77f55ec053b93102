// top_k/1 of long rows with a k too large for shared memory: chunks are sorted in shared memory and
// merged in device memory by further steps of the same bitonic network, (log2(n / chunk))^2 / 2
// passes over the entries, each bound by memory.

#include "plugins/cuda/kernels/top_k_rows.cuh"

namespace miniinfer::cuda {
namespace {

// Rows first_row + blockIdx.y, entries in chunks of blockIdx.x.
template <class Bits>
__global__ void __launch_bounds__(1024)
    sort_chunks(TopK args, std::int64_t first_row, Entry<KeyFor<Bits>>* sorted,
                std::uint32_t padded, std::uint32_t chunk) {
  using E = Entry<KeyFor<Bits>>;
  E* entries = dynamic_shared<E>();
  const Bits* in = row_of<Bits>(args, first_row + blockIdx.y);
  const std::uint32_t first = blockIdx.x * chunk;
  for (std::uint32_t t = threadIdx.x; t < chunk; t += blockDim.x) {
    const std::uint32_t i = first + t;
    entries[t] = i < args.length ? E::make(key_of<KeyFor<Bits>>(in[i * args.inner], args.rule), i)
                                 : E::last();
  }
  __syncthreads();
  sort_in_block(entries, chunk, first);
  E* to = sorted + std::int64_t{blockIdx.y} * padded + first;
  for (std::uint32_t t = threadIdx.x; t < chunk; t += blockDim.x) to[t] = entries[t];
}

template <class E>
__global__ void __launch_bounds__(256)
    exchange_far(E* sorted, std::uint32_t padded, std::uint32_t size, std::uint32_t stride) {
  exchange(sorted + std::int64_t{blockIdx.y} * padded, padded, 0, size, stride,
           blockIdx.x * blockDim.x + threadIdx.x, gridDim.x * blockDim.x);
}

template <class E>
__global__ void __launch_bounds__(1024)
    exchange_near(E* sorted, std::uint32_t padded, std::uint32_t size, std::uint32_t chunk) {
  E* entries = dynamic_shared<E>();
  const std::uint32_t first = blockIdx.x * chunk;
  E* at = sorted + std::int64_t{blockIdx.y} * padded + first;
  for (std::uint32_t t = threadIdx.x; t < chunk; t += blockDim.x) entries[t] = at[t];
  __syncthreads();
  for (std::uint32_t stride = chunk / 2; stride > 0; stride /= 2) {
    exchange(entries, chunk, first, size, stride, threadIdx.x, blockDim.x);
    __syncthreads();
  }
  for (std::uint32_t t = threadIdx.x; t < chunk; t += blockDim.x) at[t] = entries[t];
}

template <class Bits>
__global__ void __launch_bounds__(256)
    put_sorted(TopK args, std::int64_t first_row, const Entry<KeyFor<Bits>>* sorted,
               std::uint32_t padded) {
  const std::int64_t row = first_row + blockIdx.y;
  const Bits* in = row_of<Bits>(args, row);
  for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < args.k;
       i += gridDim.x * blockDim.x) {
    put(args, row, in, i, sorted[std::int64_t{blockIdx.y} * padded + i].position());
  }
}

template <class Bits>
cudaError_t sort_long(const TopK& args, void* workspace, cudaStream_t stream) {
  using E = Entry<KeyFor<Bits>>;
  const std::int64_t rows_at_once = top_k_rows_at_once(args);
  auto* sorted = static_cast<E*>(workspace);
  const std::uint32_t padded = top_k_padded(args.length);
  const std::uint32_t chunk = top_k_block_entries(sizeof(Bits));
  const unsigned threads = threads_for(chunk);
  const std::size_t shared = chunk * sizeof(E);
  for (std::int64_t row = 0; row < args.rows; row += rows_at_once) {
    const std::int64_t left = args.rows - row;
    const auto rows = static_cast<unsigned>(left < rows_at_once ? left : rows_at_once);
    const dim3 chunks(padded / chunk, rows);
    const dim3 pairs(padded / 512, rows);
    cudaError_t error = launch(sort_chunks<Bits>, chunks, threads, shared, stream, args, row,
                               sorted, padded, chunk);
    for (std::uint32_t size = 2 * chunk; size <= padded && error == cudaSuccess; size *= 2) {
      for (std::uint32_t stride = size / 2; stride >= chunk && error == cudaSuccess; stride /= 2) {
        error = launch(exchange_far<E>, pairs, 256, 0, stream, sorted, padded, size, stride);
      }
      if (error != cudaSuccess) break;
      error =
          launch(exchange_near<E>, chunks, threads, shared, stream, sorted, padded, size, chunk);
    }
    if (error != cudaSuccess) return error;
    error = launch(put_sorted<Bits>, dim3((args.k + 255) / 256, rows), 256, 0, stream, args, row,
                   static_cast<const E*>(sorted), padded);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace

cudaError_t launch_top_k_sort_long(const TopK& args, void* workspace, cudaStream_t stream) {
  return with_bits(args.element_bytes,
                   [&](auto bits) { return sort_long<decltype(bits)>(args, workspace, stream); });
}

}  // namespace miniinfer::cuda
