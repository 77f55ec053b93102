#pragma once

// One node of a region, in the simplest way that is right. The reference is slow on purpose: it
// says what the headers in abi/op/ mean, and what faster kernels are compared with.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "miniinfer/sdk/reference/fault.hpp"
#include "miniinfer/sdk/reference/operand.hpp"

namespace miniinfer::sdk::reference {

// Immutable. Made from a region, of which it keeps nothing; the factories throw UNSUPPORTED, with a
// reason for people, for what they do not do.
class Operation {
 public:
  virtual ~Operation() = default;
  // The bases of the node's operands in order; null for one that was left out. [any-thread]
  virtual void run(std::span<const std::byte* const> in, std::span<std::byte* const> out,
                   const FaultSink& fault) const = 0;
};

struct Family {
  const char* op;
  std::uint64_t attr_size;
  std::unique_ptr<Operation> (*make)(const Region& region, std::uint32_t node);
};

template <class T>
std::unique_ptr<Operation> make(const Region& region, std::uint32_t node) {
  return std::make_unique<T>(region, node);
}

}  // namespace miniinfer::sdk::reference
