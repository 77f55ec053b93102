#pragma once

// A kernel: a region with fixed shapes, ready to be put on a stream many times.

#include <cstdint>
#include <string>

#include "miniinfer/abi/op.h"
#include "miniinfer/sdk/stream.hpp"
#include "miniinfer/sdk/versioned.hpp"

namespace miniinfer::sdk {

// What a constant operand wants to look like before the first run.
struct Packed {
  std::uint64_t bytes = 0;  // 0: the operand is used as it is
  std::uint64_t alignment = 64;
  std::string key;  // names the form; operands with equal keys share one copy
};

// Immutable once made: enqueue may be called on several streams at once, so what changes belongs in
// the workspace, the arguments or the stream.
class Kernel {
 public:
  virtual ~Kernel() = default;
  // Puts one run on the stream (null on an INLINE device, where it is done on return). Allocates
  // nothing, reads nothing back, waits for nothing. `run` may not be kept.
  virtual void enqueue(Stream* stream, const miniinfer_run& run) const = 0;

  virtual Packed packed(std::uint32_t operand) const {
    static_cast<void>(operand);
    return {};
  }
  virtual void pack(std::uint32_t operand, miniinfer_mem src, miniinfer_mem dst,
                    Stream* stream) const {
    static_cast<void>(src), static_cast<void>(dst), static_cast<void>(stream);
    fail(MINIINFER_INTERNAL, "operand %u has no packed form", operand);
  }
};

inline Kernel* unwrap(miniinfer_kernel* kernel) noexcept {
  return reinterpret_cast<Kernel*>(kernel);
}

namespace detail {

inline void kernel_destroy(miniinfer_kernel* kernel) noexcept { delete unwrap(kernel); }

inline miniinfer_code kernel_packed(miniinfer_kernel* kernel, std::uint32_t operand,
                                    miniinfer_packed* out) noexcept {
  return guard([&] {
    const Packed packed = unwrap(kernel)->packed(operand);
    miniinfer_packed ours{};
    ours.bytes = packed.bytes;
    ours.alignment = packed.alignment;
    if (packed.key.size() >= sizeof ours.key) {
      fail(MINIINFER_INTERNAL, "packed key \"%s\" is longer than %zu bytes", packed.key.c_str(),
           sizeof ours.key - 1);
    }
    put_text(ours.key, packed.key);
    write(ours, out);
  });
}

inline miniinfer_code kernel_pack(miniinfer_kernel* kernel, std::uint32_t operand,
                                  miniinfer_mem src, miniinfer_mem dst,
                                  miniinfer_stream* stream) noexcept {
  return guard([&] { unwrap(kernel)->pack(operand, src, dst, unwrap(stream)); });
}

inline miniinfer_code kernel_enqueue(miniinfer_kernel* kernel, miniinfer_stream* stream,
                                     const miniinfer_run* run) noexcept {
  return guard([&] { unwrap(kernel)->enqueue(unwrap(stream), read<miniinfer_run>(run)); });
}

}  // namespace detail

}  // namespace miniinfer::sdk
