#include "plugins/fake/memory.hpp"

#include <algorithm>

#include "plugins/fake/device.hpp"
#include "plugins/fake/stream.hpp"

namespace miniinfer::fake {
namespace {

// Handles lie where x86-64 and arm64 have no addresses at all.
constexpr std::uint64_t kHandleBase = std::uint64_t{1} << 56;
constexpr std::uint64_t kHandleStep = std::uint64_t{1} << 20;
constexpr std::uint64_t kQuarantineBytes = std::uint64_t{64} << 20;
constexpr std::uint64_t kMinAlignment = 64;

unsigned long long number(std::uint64_t value) { return value; }

}  // namespace

Memory::Memory(Device& device, std::uint64_t total_bytes)
    : Allocator({MINIINFER_MEMORY_DEVICE, kMinAlignment, total_bytes, false}),
      device_(device),
      total_bytes_(total_bytes) {}

miniinfer_mem Memory::allocate(std::uint64_t bytes, std::uint64_t alignment, sdk::Stream*) {
  device_.enter("alloc");
  if (bytes == 0 || alignment == 0 || (alignment & (alignment - 1)) != 0) {
    device_.violation("alloc of %llu bytes aligned to %llu", number(bytes), number(alignment));
    sdk::fail(MINIINFER_INVALID_ARGUMENT, "alloc of %llu bytes aligned to %llu on %s",
              number(bytes), number(alignment), device_.id());
  }
  std::lock_guard lock(mutex_);
  if (bytes > total_bytes_ - used_bytes_) {
    sdk::fail(MINIINFER_OUT_OF_MEMORY, "alloc of %llu bytes on %s failed, %llu of %llu free",
              number(bytes), device_.id(), number(total_bytes_ - used_bytes_),
              number(total_bytes_));
  }
  auto storage = std::make_unique_for_overwrite<std::byte[]>(bytes);
  std::fill_n(storage.get(), bytes, kFresh);
  const std::uint64_t handle = kHandleBase + next_++ * kHandleStep;
  blocks_.emplace(handle, Block{std::move(storage), bytes, true});
  used_bytes_ += bytes;
  device_.ledger().allocated(bytes);
  return {handle, 0};
}

void Memory::free(miniinfer_mem mem, std::uint64_t bytes, sdk::Stream* stream) noexcept {
  try {
    {
      std::lock_guard lock(mutex_);
      const auto found = blocks_.find(mem.handle);
      if (mem.offset != 0 || found == blocks_.end() || !found->second.live ||
          found->second.size != bytes) {
        device_.violation("free of %llu bytes at {%#llx, %llu}: no such live block", number(bytes),
                          number(mem.handle), number(mem.offset));
        return;
      }
      used_bytes_ -= bytes;
      device_.ledger().freed(bytes);
    }
    if (stream != nullptr && !device_.lost()) {
      static_cast<Stream*>(stream)->enqueue([this, handle = mem.handle] { poison(handle); },
                                            {{mem, bytes, true}});
      device_.scheduler().forget(mem.handle);
      return;
    }
    const std::string race = device_.scheduler().give_back(mem.handle);
    if (!race.empty() && !device_.lost()) device_.violation("%s", race.c_str());
    poison(mem.handle);
  } catch (...) {
    sdk::log(MINIINFER_LOG_ERROR, "free failed on %s", device_.id());
  }
}

void Memory::poison(std::uint64_t handle) {
  std::lock_guard lock(mutex_);
  Block& block = blocks_.at(handle);
  block.live = false;
  std::fill_n(block.bytes.get(), block.size, kFreed);
  quarantine_.push_back(handle);
  quarantined_bytes_ += block.size;
  while (quarantined_bytes_ > kQuarantineBytes && quarantine_.size() > 1) {
    const auto oldest = blocks_.find(quarantine_.front());
    quarantined_bytes_ -= oldest->second.size;
    blocks_.erase(oldest);
    quarantine_.pop_front();
  }
}

sdk::MemoryInfo Memory::info() {
  device_.enter("info");
  std::lock_guard lock(mutex_);
  return {total_bytes_ - used_bytes_, total_bytes_};
}

std::byte* Memory::resolve(miniinfer_mem mem, std::uint64_t bytes, const char* what) {
  std::lock_guard lock(mutex_);
  const auto found = blocks_.find(mem.handle);
  const char* wrong = nullptr;
  if (found == blocks_.end()) {
    wrong = "no such block";
  } else if (!found->second.live) {
    wrong = "the block was freed";
  } else if (mem.offset > found->second.size || bytes > found->second.size - mem.offset) {
    wrong = "it reaches past the block's end";
  }
  if (wrong == nullptr) return found->second.bytes.get() + mem.offset;
  const std::string text =
      sdk::format("%s uses %llu bytes at {%#llx, %llu} on %s: %s", what, number(bytes),
                  number(mem.handle), number(mem.offset), device_.id(), wrong);
  device_.violation("%s", text.c_str());
  throw sdk::Error(MINIINFER_INVALID_ARGUMENT, text);
}

}  // namespace miniinfer::fake
