#include "miniinfer/memory_snapshot.hpp"

namespace miniinfer {

MemorySnapshot Allocator::snapshot() const {
  MemorySnapshot snapshot;
  snapshot.memory = info();
  snapshot.stats = stats();
  return snapshot;
}

}  // namespace miniinfer
