#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/memory/allocator_spec.hpp"
#include "core/memory/budget.hpp"
#include "core/memory/memory_settings.hpp"
#include "core/memory/upstream.hpp"
#include "miniinfer/pool_allocator.hpp"

namespace miniinfer {

// What AllocatorFactory looks into: for each device, its memory by kind, or the way to open it.
// Process-wide through instance(); a test makes one of its own. Holds no lock while it calls an
// opener or gives memory back. [any-thread]
class AllocatorTable {
 public:
  // Opens the device and registers its memory here (add_opened) before it returns Ok. Called by any
  // number of threads at once until it has.
  using Opener = std::function<Status()>;
  struct Memory {
    MemoryKind kind;
    AllocatorPtr allocator;
    std::shared_ptr<MemoryUpstream> upstream = nullptr;  // for pools; null: the allocator serves
  };
  using PoolPtr = std::shared_ptr<PoolAllocator>;

  // Knows "cpu:0", which needs no opening.
  AllocatorTable();
  static AllocatorTable& instance();  // never destroyed

  // A device that was found and not opened yet. Where the device is known already, only its opener
  // changes.
  void add_pending(std::string_view device, Opener opener);
  // All memory of a device, or none of it: INVALID_ARGUMENT for a null allocator or two of one
  // kind, FAILED_PRECONDITION where an earlier opening still stands. What the user put in place
  // before stays.
  Status add_opened(std::string_view device, std::vector<Memory> memory);
  // Forgets the memory of a device, which is pending again, and ends its shared pools.
  // FAILED_PRECONDITION, naming the kind, where somebody else still holds something of it.
  Status remove_opened(std::string_view device);

  // As AllocatorFactory.
  Result<AllocatorPtr> get(std::string_view name, MemoryKind kind);
  Status replace(std::string_view device, MemoryKind kind, AllocatorPtr allocator);
  std::vector<std::string> registered() const;

  // The pool that the runtime and everybody who asks for "DEVICE/caching" share, as
  // MINIINFER_MEMORY configures it.
  Result<PoolPtr> pool(std::string_view device, MemoryKind kind);
  // Nobody runs anything: memory that is never closed goes back to the system.
  void trim_host();

 private:
  enum class Origin { Permanent, Opened, Replaced };
  struct Slot {
    AllocatorPtr allocator;
    Origin origin = Origin::Opened;
    bool handed_out = false;
    // What the plugin gives to build pools on, under a count of its own: whoever uses it is seen.
    std::shared_ptr<MemoryUpstream> device = nullptr;
    std::shared_ptr<MemoryUpstream> upstream = nullptr;  // the same, or one over `allocator`
    PoolPtr pool = nullptr;
    std::map<std::string, std::weak_ptr<Allocator>, std::less<>> presets = {};

    bool adapted() const noexcept { return upstream && upstream != device; }
  };
  struct Entry {
    std::map<MemoryKind, Slot> slots;
    Opener opener;
    std::shared_ptr<Budget> budget;
    bool opened = false;
  };

  // Gives what `use(entry, slot)` gives, called with the lock; a device that must be open for that
  // is opened before.
  template <class Use>
  auto with_slot(const std::string& key, MemoryKind kind, bool for_pool, Use use)
      -> decltype(use(std::declval<Entry&>(), std::declval<Slot&>()));
  // With the lock.
  Result<PoolPtr> shared_pool(const std::string& key, MemoryKind kind, Entry& entry, Slot& slot);
  Result<AllocatorPtr> build(const AllocatorSpec& spec, MemoryKind kind, Entry& entry, Slot& slot);
  Status read_settings();
  std::shared_ptr<Budget> budget_of(const std::string& key, MemoryKind kind, Entry& entry);
  static void adapt(MemoryKind kind, Slot& slot);
  static bool in_use(const Entry& entry, const Slot& slot);
  Status unknown(std::string_view device) const;
  static Status no_such_kind(std::string_view device, MemoryKind kind, const Entry& entry);

  mutable std::mutex mutex_;
  std::map<std::string, Entry, std::less<>> devices_;
  std::optional<MemorySettings> settings_;
  std::shared_ptr<Budget> process_budget_;
};

}  // namespace miniinfer
