#ifndef MINIINFER_ABI_BASE_H
#define MINIINFER_ABI_BASE_H

// The words every other header of the boundary uses.
//
// The boundary between the host (the Mini-Infer core) and a plugin (a backend for some kind of
// device) is C11: tables of function pointers, opaque handles, fixed-width integers. Nothing that
// throws, nothing from std::, no bool, no enum type and no bit-field crosses it, and whoever
// allocates something frees it.
//
// How it grows. Every table and struct begins with a miniinfer_head that says how large the
// writer's version of it was. Structs grow only at their end. A reader takes the smaller of both
// sizes and treats the rest as zero or null, so old and new sides meet without asking each other's
// version. Structs contain no implicit padding, which makes sizeof a safe size. Three kinds of
// struct are frozen and have no head: miniinfer_mem, miniinfer_fault and program instructions.
//
// Strings are UTF-8 and NUL-terminated. Strings handed in live for the call; strings a plugin hands
// out live as long as the process. Sizes are in bytes, times in nanoseconds.
//
// Thread tags, at the end of each function's comment:
//   [any-thread]                  may be called from several threads at once
//   [one-at-a-time per X]         the caller never makes two calls at once for the same X
//   [loader]                      one thread at a time in the whole process

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define MINIINFER_EXTERN_C extern "C"
#define MINIINFER_NOEXCEPT noexcept
extern "C" {
#else
#define MINIINFER_EXTERN_C
#define MINIINFER_NOEXCEPT
#endif

// The boundary's major version. It is 0 while it is unstable: host and plugin must then also agree
// on the minor exactly.
#define MINIINFER_ABI_MAJOR 0
#define MINIINFER_ABI_MINOR 1

typedef struct miniinfer_head {
  uint32_t size;   // sizeof the struct where it was compiled
  uint32_t minor;  // MINIINFER_ABI_MINOR where it was compiled; for messages, never for decisions
} miniinfer_head;

// clang-format off
#define MINIINFER_HEAD(type) {(uint32_t)sizeof(type), MINIINFER_ABI_MINOR}
// clang-format on

// Whether the writer of `*table` knew `field`. Optional function slots also need a test for null.
#define MINIINFER_HAS(type, table, field) \
  ((table)->head.size >= offsetof(type, field) + sizeof((table)->field))

// What a call that can fail returns. Codes are named after what the caller can do next. A reader
// treats a code it does not know as MINIINFER_INTERNAL. Text for people goes through
// miniinfer_host.set_error before the failing call returns.
typedef int32_t miniinfer_code;
enum {
  MINIINFER_OK = 0,
  MINIINFER_CANCELLED = 1,            // the caller asked for it
  MINIINFER_INVALID_ARGUMENT = 2,     // mend the call
  MINIINFER_NOT_FOUND = 3,            // name something that exists
  MINIINFER_UNSUPPORTED = 4,          // use another device or model
  MINIINFER_OUT_OF_MEMORY = 5,        // free something, then try again
  MINIINFER_FAILED_PRECONDITION = 6,  // do something else first
  MINIINFER_UNAVAILABLE = 7,          // not here, or not now
  MINIINFER_INCOMPATIBLE = 8,         // use another version
  MINIINFER_DEVICE_LOST = 9,          // restart the process, or go on without the device
  MINIINFER_TIMEOUT = 10,             // allow more time
  MINIINFER_LIMIT_EXCEEDED = 11,      // raise the limit, if you trust the input
  MINIINFER_INTERNAL = 12             // report a bug
};

// Element types, by the numbers of ONNX's TensorProto.DataType. Types below a byte are packed, two
// (or four) to a byte, the first element in the low bits.
typedef int32_t miniinfer_dtype;
enum {
  MINIINFER_UNDEFINED = 0,
  MINIINFER_FLOAT32 = 1,
  MINIINFER_UINT8 = 2,
  MINIINFER_INT8 = 3,
  MINIINFER_UINT16 = 4,
  MINIINFER_INT16 = 5,
  MINIINFER_INT32 = 6,
  MINIINFER_INT64 = 7,
  MINIINFER_STRING = 8,  // on a device: 8-byte indices into a table that the host owns
  MINIINFER_BOOL = 9,    // one byte, 0 or 1
  MINIINFER_FLOAT16 = 10,
  MINIINFER_FLOAT64 = 11,
  MINIINFER_UINT32 = 12,
  MINIINFER_UINT64 = 13,
  MINIINFER_COMPLEX64 = 14,
  MINIINFER_COMPLEX128 = 15,
  MINIINFER_BFLOAT16 = 16,
  MINIINFER_FLOAT8E4M3FN = 17,
  MINIINFER_FLOAT8E4M3FNUZ = 18,
  MINIINFER_FLOAT8E5M2 = 19,
  MINIINFER_FLOAT8E5M2FNUZ = 20,
  MINIINFER_UINT4 = 21,
  MINIINFER_INT4 = 22,
  MINIINFER_FLOAT4E2M1 = 23,
  MINIINFER_FLOAT8E8M0 = 24,
  MINIINFER_UINT2 = 25,
  MINIINFER_INT2 = 26,
  MINIINFER_DTYPE_COUNT = 27
};

// The most axes a value at the boundary has. The host collapses what has more, or runs it itself.
#define MINIINFER_MAX_RANK 8

// Opaque handles. A plugin defines what they are; the host never looks inside.
typedef struct miniinfer_plugin miniinfer_plugin;
typedef struct miniinfer_device miniinfer_device;
typedef struct miniinfer_stream miniinfer_stream;
typedef struct miniinfer_event miniinfer_event;
typedef struct miniinfer_kernel miniinfer_kernel;

#ifdef __cplusplus
}
#endif

#endif
