#ifndef MINIINFER_ABI_OP_H
#define MINIINFER_ABI_OP_H

// Kernels.
//
// The host speaks to a backend in regions: one or a few canonical operators with concrete shapes,
// to be run as one kernel. A single operator is a region of one node; a convolution with its
// activation is `conv/1` followed by `pointwise/1`. There is no other way in.
//
// A canonical operator is an id with a revision ("conv/1") and one attribute struct, in abi/op/.
// Five families are enough to run every model: pointwise, copy, reduce, contract and gather. The
// rest is optional: where `support` says no, the host decomposes the operator into simpler ones,
// and then falls back to another device where the user allowed that.
//
// The life of a kernel: `support` (can you, and how?), `create` (shapes are fixed now), `packed`
// and `pack` for weights the kernel wants in a form of its own, then `enqueue` many times, and
// `destroy`. A kernel is immutable and may be enqueued on several streams at once: what changes
// lives in the workspace, the arguments or the stream.

#include "miniinfer/abi/base.h"
#include "miniinfer/abi/memory.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
  MINIINFER_VALUE_CONSTANT = 1u << 0,  // the same bytes in every run
  MINIINFER_VALUE_ABSENT = 1u << 1,    // an optional operand that was left out
  MINIINFER_VALUE_HOST = 1u << 2       // read by the host: arrives in host_value or host_args
};

// An operand. Dims are logical, whatever the layout; strides are in elements and 0 where an axis is
// broadcast. Most operands are row-major. `support` is also asked about others, whose axes lie in
// another order without gaps: channels-last operands of convolutions ([n, c, spatial..], with 1 as
// the stride of c), whatever a transposition could be left out for, and in both cases the operands
// of a pointwise node that follows. Saying no is always right. The weights of a convolution, as all
// constants, stay row-major: `pack` is the place to turn them. A value whose elements are blocked
// along an axis (NCHWc) says which axis and how many.
typedef struct miniinfer_value {
  miniinfer_head head;
  miniinfer_dtype dtype;
  int32_t rank;
  const int64_t* dims;     // `rank` of them
  const int64_t* strides;  // `rank` of them
  int32_t block_axis;      // meaningful where block > 1
  int32_t block;           // elements to a block; 0 or 1: not blocked
  uint32_t flags;          // MINIINFER_VALUE_*
  uint32_t reserved;
  const void* host_value;  // the bytes, row-major, where the host knows them when planning; or null
  uint64_t host_bytes;
} miniinfer_value;

enum {
  // What the host allows beyond IEEE arithmetic in the node's own types. None of them: strict.
  MINIINFER_MATH_TF32 = 1u << 0,      // float32 products may be rounded to 10 bits of mantissa
  MINIINFER_MATH_CONTRACT = 1u << 1,  // a*b+c may be rounded once
  MINIINFER_MATH_REORDER = 1u << 2,   // sums may be split and reordered (always granted today)
  MINIINFER_MATH_WINOGRAD = 1u << 3   // transforms that lose a few bits
};

typedef struct miniinfer_node {
  miniinfer_head head;
  const char* op;     // "conv/1"
  const void* attrs;  // the operator's struct, which begins with a miniinfer_head; never null
  uint32_t in_count;
  uint32_t out_count;
  const uint32_t* in;   // indices into region.values
  const uint32_t* out;  // indices into region.values
  uint32_t math;        // MINIINFER_MATH_*
  uint32_t reserved;
} miniinfer_node;

// Nodes in an order that can be run. Values that are neither in `in` nor in `out` exist only inside
// the region. A constant operand is listed in `in` like any other.
typedef struct miniinfer_region {
  miniinfer_head head;
  uint32_t value_count;
  uint32_t node_count;
  uint32_t in_count;
  uint32_t out_count;
  const miniinfer_value* const* values;
  const miniinfer_node* const* nodes;
  const uint32_t* in;
  const uint32_t* out;
} miniinfer_region;

enum {
  MINIINFER_CHOICE_DETERMINISTIC = 1u << 0,  // equal inputs give equal bits
  MINIINFER_CHOICE_CAPTURABLE = 1u << 1      // may be enqueued inside a graph capture
};

// One way of running a region. The plugin writes within the size found in `head`.
typedef struct miniinfer_choice {
  miniinfer_head head;
  uint64_t cost_ns;          // estimate, by which layouts are chosen; 0: unknown
  uint64_t workspace_bytes;  // scratch that `enqueue` will be given, aligned to 64
  uint64_t in_place;         // bit o*8+i: output o (of the first 8) may share input i's memory
  uint32_t flags;            // MINIINFER_CHOICE_*
  uint32_t algorithm;        // the plugin's own number, handed back in `create`
  int32_t block[16];  // wanted block of each operand, region.in then region.out; 0: row-major
  int32_t block_axis[16];
  char reason[192];  // why this region is refused; written for a person ("group 8: only 1")
} miniinfer_choice;

// What a packed operand needs. Operands with equal keys share one packed copy on a device.
typedef struct miniinfer_packed {
  miniinfer_head head;
  uint64_t bytes;      // 0: the operand is used as it is
  uint64_t alignment;  // a power of two
  char key[64];        // names the packed form; contains activation shapes only if the form does
} miniinfer_packed;

// Where a kernel reports what it finds in the data while it runs: an index out of range, a division
// by zero. 32 bytes in device memory, zero before a run. The first writer wins (compare-and-swap
// on `code`); the kernel goes on and must not touch memory it was not given.
typedef struct miniinfer_fault {
  int32_t code;   // MINIINFER_FAULT_*
  uint32_t step;  // run.step of the kernel that found it
  int64_t detail[2];
  int64_t reserved;
} miniinfer_fault;

enum {
  MINIINFER_FAULT_NONE = 0,
  MINIINFER_FAULT_INDEX = 1,   // detail: the index, the size of the axis
  MINIINFER_FAULT_DIVIDE = 2,  // integer division by zero
  MINIINFER_FAULT_VALUE = 3    // an operand's value the operator does not allow
};

typedef struct miniinfer_run {
  miniinfer_head head;
  const miniinfer_mem* args;     // region.in in order (packed where packed), then region.out
  const void* const* host_args;  // as args, for operands flagged HOST without host_value; or null
  miniinfer_mem workspace;       // choice.workspace_bytes of scratch
  miniinfer_mem fault;           // a miniinfer_fault on the device; handle 0: nobody reads it
  uint32_t step;                 // to be written into the fault
  uint32_t reserved;
} miniinfer_run;

// One operator a backend knows, and how much of its attribute struct it understands. The host
// refuses a node itself if a byte beyond `attr_size` is not zero.
typedef struct miniinfer_op_info {
  miniinfer_head head;
  const char* id;
  uint64_t attr_size;
} miniinfer_op_info;

typedef struct miniinfer_op_api {
  miniinfer_head head;
  const miniinfer_op_info* const* ops;  // `op_count` of them
  uint32_t op_count;
  uint32_t max_nodes;         // nodes in a region, at most; at least 1
  uint32_t max_instructions;  // in one pointwise program; at most 64
  uint32_t max_operands;      // inputs plus outputs of a pointwise region; at least 4
  uint64_t pointwise_ops[2];  // bit n: opcode n of abi/op/pointwise.h
  uint64_t pointwise_dtypes;  // bit n: element type n

  // Asks for ways to run a region. `choices` has room for `*count`; on success `*count` is how many
  // were written, best first. MINIINFER_UNSUPPORTED when there is none; choices[0]->reason then
  // says why. Cheap, changes nothing. [any-thread]
  miniinfer_code (*support)(miniinfer_device* device, const miniinfer_region* region,
                            miniinfer_choice* const* choices, uint32_t* count);

  // Makes the kernel for one of those choices. Everything it needs from `region` is copied.
  // [any-thread]
  miniinfer_code (*create)(miniinfer_device* device, const miniinfer_region* region,
                           const miniinfer_choice* choice, miniinfer_kernel** out);
  // No work of the kernel is in flight. [any-thread]
  void (*destroy)(miniinfer_kernel* kernel);

  // Whether operand `operand` (an index into region.in, constant) wants a form of its own.
  // Optional: without it nothing is packed. [any-thread]
  miniinfer_code (*packed)(miniinfer_kernel* kernel, uint32_t operand, miniinfer_packed* out);
  // Converts the operand from its row-major bytes in device memory. [one-at-a-time per stream]
  miniinfer_code (*pack)(miniinfer_kernel* kernel, uint32_t operand, miniinfer_mem src,
                         miniinfer_mem dst, miniinfer_stream* stream);

  // Puts one run of the kernel on the stream. Allocates nothing, reads nothing back, waits for
  // nothing. `run` and the arrays it points to are only read during the call.
  // [one-at-a-time per stream]
  miniinfer_code (*enqueue)(miniinfer_kernel* kernel, miniinfer_stream* stream,
                            const miniinfer_run* run);
} miniinfer_op_api;

#ifdef __cplusplus
}
#endif

#endif
