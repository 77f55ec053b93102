#pragma once

// How the built-in backend is put together: one family of kernels a file, each behind this face;
// backend.cpp finds the family by the id of a region's first node and does the rest of the table.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "miniinfer/abi/host.h"
#include "miniinfer/abi/op.h"

namespace miniinfer::cpu {

// The host table given at init; parallel loops, logging and error texts go through it.
const miniinfer_host& host() noexcept;
// Says why the call that is about to return `code` fails.
miniinfer_code fail(miniinfer_code code, const char* format, ...) noexcept
    __attribute__((format(printf, 2, 3)));

inline std::byte* address(miniinfer_mem mem) noexcept {
  return reinterpret_cast<std::byte*>(mem.handle + mem.offset);
}

// Reports a fault found in the data; the first of a run wins. [any-thread]
void report_fault(const miniinfer_run& run, std::int32_t code, std::int64_t a,
                  std::int64_t b) noexcept;

// A region with the look-ups every family needs.
class RegionView {
 public:
  explicit RegionView(const miniinfer_region& region) : region_(region) {}
  const miniinfer_region& raw() const { return region_; }
  std::uint32_t node_count() const { return region_.node_count; }
  const miniinfer_node& node(std::uint32_t i = 0) const { return *region_.nodes[i]; }
  const miniinfer_value& value(std::uint32_t index) const { return *region_.values[index]; }
  const miniinfer_value& in(std::uint32_t i, std::uint32_t node = 0) const {
    return value(region_.nodes[node]->in[i]);
  }
  const miniinfer_value& out(std::uint32_t i, std::uint32_t node = 0) const {
    return value(region_.nodes[node]->out[i]);
  }
  template <class T>
  const T& attrs(std::uint32_t node = 0) const {
    return *static_cast<const T*>(region_.nodes[node]->attrs);
  }
  // Where miniinfer_run.args has a value of the region: an index, or -1 for an inner value.
  int arg_of(std::uint32_t value_index) const;
  int arg_in(std::uint32_t i, std::uint32_t node = 0) const {
    return arg_of(region_.nodes[node]->in[i]);
  }
  int arg_out(std::uint32_t i, std::uint32_t node = 0) const {
    return arg_of(region_.nodes[node]->out[i]);
  }

 private:
  const miniinfer_region& region_;
};

inline std::span<const std::int64_t> dims(const miniinfer_value& v) {
  return {v.dims, static_cast<std::size_t>(v.rank)};
}
std::int64_t element_count(const miniinfer_value& v) noexcept;  // dims are checked by the host
std::size_t element_bytes(miniinfer_dtype dtype) noexcept;      // 0 for types below a byte
// max(1, product) of dims [from, to).
std::int64_t product(std::span<const std::int64_t> dims, std::size_t from, std::size_t to) noexcept;

// Immutable once made; run() may be called on several threads at once.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual miniinfer_code run(const miniinfer_run& run) const noexcept = 0;
  virtual miniinfer_code packed(std::uint32_t, miniinfer_packed& out) const noexcept {
    out.bytes = 0;
    return MINIINFER_OK;
  }
  virtual miniinfer_code pack(std::uint32_t, const std::byte*, std::byte*) const noexcept {
    return MINIINFER_INTERNAL;
  }
};

struct Family {
  const char* op;  // id of the region's first node
  std::uint64_t attr_size;
  // Fills in workspace, in-place pairs and cost, or writes `reason` and returns UNSUPPORTED. Also
  // says whether the nodes after the first can be part of the kernel.
  miniinfer_code (*support)(const RegionView& region, miniinfer_choice& choice);
  // Only called where support said yes. May throw std::bad_alloc.
  std::unique_ptr<Kernel> (*create)(const RegionView& region);
};

extern const Family kPointwise, kCopy, kReduce, kSoftmax, kLayerNorm, kCumSum,
    kAttention;  // NOLINT
extern const Family kContract, kConv, kConvTranspose, kGather, kScatter, kResize, kTopK, kNonZero,
    kNonMaxSuppression;  // NOLINT

// The families that follow a producer in one kernel (conv, contract, reduce): see
// pointwise_loop.hpp.

}  // namespace miniinfer::cpu
