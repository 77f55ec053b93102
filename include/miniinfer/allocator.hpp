#pragma once

// Memory of any device, and who gives it.
//
// An Allocator gives blocks of one kind of memory of one device. Backends register a raw one for
// each of their devices; limits, statistics and pools are allocators that wrap another. Yours can
// take part: derive from Allocator and hand it to AllocatorFactory::replace.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "miniinfer/status.hpp"

namespace miniinfer {

enum class MemoryKind : std::int32_t {
  Device = 0,  // the fastest for the device's kernels
  Pinned = 1,  // host memory the device copies without staging
  Host = 2,    // ordinary host memory
};

MINIINFER_API std::string_view to_string(MemoryKind kind) noexcept;  // "device"

// How long a block is wanted. Pools keep blocks of one kind together: a weight in the midst of
// short-lived blocks would hold on to the memory around it.
enum class Lifetime : std::int32_t {
  Transient = 0,  // for a part of a run
  Arena = 1,      // a run's working memory, kept from run to run
  Weights = 2,    // as long as the model
  Staging = 3,    // on its way between host and device
};

// A backend's queue of work, by its opaque handle. Null: no stream in particular.
struct Stream {
  void* handle = nullptr;
};

struct MemoryRequest {
  std::uint64_t bytes = 0;       // 0 is a valid request for nothing
  std::uint64_t alignment = 64;  // a power of two; honoured, never ignored
  MemoryKind kind = MemoryKind::Device;
  Lifetime lifetime = Lifetime::Transient;
  Stream stream{};         // who uses the block first
  std::string_view tag{};  // what it is for, in reports
};

// A block: a handle and an offset that mean something to the device, and an address where the host
// can reach it. A request for nothing gives a block of 0 bytes with handle 0.
struct Block {
  std::uint64_t handle = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;    // as requested
  std::byte* host = nullptr;  // null: the host cannot address it
  std::uint64_t token = 0;    // the allocator's own; it wants it back as it was
};

struct MemoryInfo {
  std::uint64_t free_bytes = 0;
  std::uint64_t total_bytes = 0;
};

struct MemoryStats {
  std::uint64_t allocated_bytes = 0;  // given out now
  // The most that was given out at once: exact, but for two. A pool counts what its threads keep as
  // given out; a tracker that several threads use is right to 1 MiB for each of them.
  std::uint64_t peak_allocated_bytes = 0;
  // Blocks given since the beginning; requests for nothing give none.
  std::uint64_t allocations = 0;
  std::uint64_t frees = 0;
  std::uint64_t failures = 0;
};

class PoolAllocator;
class TrackingAllocator;
struct MemorySnapshot;

// [any-thread], all of it.
class MINIINFER_API Allocator {
 public:
  Allocator() = default;
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;
  virtual ~Allocator() = default;

  // INVALID_ARGUMENT for an alignment that is no power of two or a kind it does not have,
  // OUT_OF_MEMORY with asked and free bytes when there is no room.
  virtual Result<Block> allocate(const MemoryRequest& request) noexcept = 0;
  // Takes back exactly what allocate gave. A null stream: no work using it is in flight.
  virtual void deallocate(Block block, Stream stream) noexcept = 0;
  virtual MemoryStats stats() const noexcept = 0;
  // Free and total bytes of the memory behind it; zeros where that is unknown.
  virtual MemoryInfo info() const noexcept { return {}; }
  // The pool behind it; null where there is none.
  virtual PoolAllocator* pool() noexcept { return nullptr; }
  // The outermost tracker in it; null where there is none. See tracking_allocator.hpp.
  virtual TrackingAllocator* tracker() noexcept { return nullptr; }
  // What lies where, as far as it is known: see memory_snapshot.hpp. The default has statistics
  // alone. Others who use the allocator wait meanwhile.
  virtual MemorySnapshot snapshot() const;
};

using AllocatorPtr = std::shared_ptr<Allocator>;

// Which allocator serves which device. Process-wide: needs no session. [any-thread]
class MINIINFER_API AllocatorFactory {
 public:
  // The allocator of "cpu:0", "cuda:1", ..: the driver's own, where nothing is added. What is to be
  // put around it follows, the innermost first, each with options where it takes some:
  //
  //   "cuda:0/caching"             the pool that sessions and tensors use as well
  //   "cuda:0/caching?limit=4GiB"  one of its own; also slack, thread_cache, virtual_memory=on|off,
  //                                annotate=on|off
  //   "cuda:0/pool"                the same without the threads' caches
  //   "cuda:0/tracking"            knows every block in use, by tag; ?history=N keeps events
  //   "cuda:0/limit?bytes=1GiB"    refuses what goes beyond
  //
  // as in "cuda:0/caching/limit?bytes=1GiB/tracking". One name gives one object as long as somebody
  // holds it; whoever does keeps the device open. A device that was found and not yet opened is
  // opened now. NOT_FOUND lists the devices there are, INVALID_ARGUMENT the presets and options.
  static Result<AllocatorPtr> get(std::string_view name, MemoryKind kind = MemoryKind::Device);
  // Puts yours in its place; pools then build on it. FAILED_PRECONDITION once the present one has
  // been handed out, or a pool was built on it.
  static Status replace(std::string_view device, MemoryKind kind, AllocatorPtr allocator);
  // What is registered, as "cpu:0/device"; a device not opened yet as "cuda:0/pending".
  static std::vector<std::string> registered();
};

// Wraps any allocator and refuses what would take its user over `limit_bytes`: LIMIT_EXCEEDED, with
// asked, used and allowed.
MINIINFER_API AllocatorPtr limit_allocator(AllocatorPtr upstream, std::uint64_t limit_bytes,
                                           std::string_view name);
// Wraps any allocator and knows every block it gave: see tracking_allocator.hpp.
MINIINFER_API AllocatorPtr tracking_allocator(AllocatorPtr upstream);

}  // namespace miniinfer
