#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "miniinfer/allocator.hpp"

namespace miniinfer {

// What AllocatorFactory looks into: for each device, its allocators by kind, or the way to open it.
// Process-wide through instance(); a test makes one of its own. Holds no lock while it calls an
// opener. [any-thread]
class AllocatorTable {
 public:
  // Opens the device and registers its allocators here (add_opened) before it returns Ok. Called by
  // any number of threads at once until it has.
  using Opener = std::function<Status()>;
  using Allocators = std::vector<std::pair<MemoryKind, AllocatorPtr>>;

  // Knows "cpu:0", which needs no opening.
  AllocatorTable();
  static AllocatorTable& instance();  // never destroyed

  // A device that was found and not opened yet. Where the device is known already, only its opener
  // changes.
  void add_pending(std::string_view device, Opener opener);
  // All allocators of a device, or none of them: INVALID_ARGUMENT for a null one or two of one
  // kind, FAILED_PRECONDITION where an earlier opening still stands. What the user put in place
  // before stays.
  Status add_opened(std::string_view device, Allocators allocators);
  // Forgets the allocators of a device, which is pending again. FAILED_PRECONDITION, naming the
  // kind, where somebody else still holds one.
  Status remove_opened(std::string_view device);

  // As AllocatorFactory.
  Result<AllocatorPtr> get(std::string_view device, MemoryKind kind);
  Status replace(std::string_view device, MemoryKind kind, AllocatorPtr allocator);
  std::vector<std::string> registered() const;

 private:
  enum class Origin { Permanent, Opened, Replaced };
  struct Slot {
    AllocatorPtr allocator;
    Origin origin = Origin::Opened;
    bool handed_out = false;
  };
  struct Entry {
    std::map<MemoryKind, Slot> slots;
    Opener opener;
    bool opened = false;
  };

  // `opener`, where given, receives how to open a device that is not open yet.
  Result<AllocatorPtr> look_up(const std::string& key, MemoryKind kind, Opener* opener);
  Status unknown(std::string_view device) const;
  static Status no_such_kind(std::string_view device, MemoryKind kind, const Entry& entry);

  mutable std::mutex mutex_;
  std::map<std::string, Entry, std::less<>> devices_;
};

}  // namespace miniinfer
