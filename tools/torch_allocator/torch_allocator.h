/* The pool as PyTorch's allocator: what torch.cuda.memory.CUDAPluggableAllocator loads.
 *
 * Device index N is "cuda:N"; MINIINFER_TORCH_BACKEND names another backend than "cuda". Memory
 * comes from the pool that sessions and tensors of this process use as well ("cuda:N/caching"), so
 * that both share what is reserved; MINIINFER_MEMORY and MINIINFER_MEMORY_LIMIT configure it.
 *
 * `stream` is a cudaStream_t that lives as long as the process does, as PyTorch's own do; null is
 * CUDA's default stream. A stream is told to the pool when it is first seen. None of them is being
 * captured. [any-thread], all of it; what goes wrong is told on stderr. */
#ifndef MINIINFER_TORCH_ALLOCATOR_H
#define MINIINFER_TORCH_ALLOCATOR_H

#include <sys/types.h>

#define MINIINFER_TORCH_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/* Memory that the stream's work may use at once, aligned to 256 bytes; null for 0 bytes, and where
 * there is none. */
MINIINFER_TORCH_API void* miniinfer_torch_alloc(ssize_t bytes, int device, void* stream);

/* Takes back what alloc gave. It is used again by the stream's later work, and by others' when the
 * stream's work until now is done. Null is taken for nothing; what is not alloc's stays as it is.
 */
MINIINFER_TORCH_API void miniinfer_torch_free(void* pointer, ssize_t bytes, int device,
                                              void* stream);

/* Work of another stream uses the memory as well: what Tensor.record_stream says. */
MINIINFER_TORCH_API void miniinfer_torch_record_stream(void* pointer, void* stream);

#ifdef __cplusplus
}
#endif

#endif
