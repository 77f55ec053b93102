#include "plugins/fake/memory.hpp"

#include <algorithm>
#include <iterator>

#include "plugins/fake/device.hpp"
#include "plugins/fake/stream.hpp"

namespace miniinfer::fake {
namespace {

constexpr std::size_t kGoneKept = 4096;
constexpr std::uint64_t kMinAlignment = 64;

unsigned long long number(std::uint64_t value) { return value; }

}  // namespace

Memory::Memory(Device& device, const Settings& settings)
    : Allocator({MINIINFER_MEMORY_DEVICE, kMinAlignment, settings.max_block, false}),
      device_(device),
      flat_(settings.flat),
      inline_(settings.is_inline),
      room_(settings.memory_bytes),
      mapping_(device, room_, settings) {}

miniinfer_mem Memory::allocate(std::uint64_t bytes, std::uint64_t alignment, sdk::Stream*) {
  device_.enter("alloc");
  if (bytes == 0 || alignment == 0 || (alignment & (alignment - 1)) != 0) {
    device_.violation("alloc of %llu bytes aligned to %llu", number(bytes), number(alignment));
    sdk::fail(MINIINFER_INVALID_ARGUMENT, "alloc of %llu bytes aligned to %llu on %s",
              number(bytes), number(alignment), device_.id());
  }
  if (bytes > traits().max_bytes || !room_.take(bytes)) {
    sdk::fail(MINIINFER_OUT_OF_MEMORY, "alloc of %llu bytes on %s failed, %llu of %llu free",
              number(bytes), device_.id(), number(room_.free()), number(room_.total()));
  }
  std::uint64_t handle = 0;
  try {
    handle = room_.addresses(bytes, alignment);
  } catch (...) {
    room_.give(bytes);
    throw;
  }
  device_.ledger().allocated(bytes);
  device_.scheduler().note({handle, 0}, bytes, "allocated", nullptr);
  std::lock_guard lock(mutex_);
  blocks_.try_emplace(blocks_.end(), handle, bytes, std::max(alignment, kMinAlignment));
  return {handle, 0};
}

void Memory::free(miniinfer_mem mem, std::uint64_t bytes, sdk::Stream* stream) noexcept {
  sdk::detail::guard_quietly("free failed", [&] {
    {
      std::lock_guard lock(mutex_);
      const auto found = blocks_.find(mem.handle);
      if (mem.offset != 0 || found == blocks_.end() || found->second.given_back ||
          found->second.size != bytes) {
        device_.violation("free of %llu bytes at {%#llx, %llu}: no such live block", number(bytes),
                          number(mem.handle), number(mem.offset));
        return;
      }
      found->second.given_back = true;
      room_.give(bytes);
      device_.ledger().freed(bytes);
    }
    if (stream != nullptr && !device_.lost()) {
      static_cast<Stream*>(stream)->enqueue("free", [this, handle = mem.handle] { let_go(handle); },
                                            {{mem, bytes, true}});
      device_.scheduler().forget(mem, bytes);
    } else {
      const std::string race = device_.scheduler().take_away(mem, bytes, "are freed");
      if (!race.empty() && !device_.lost()) device_.violation("%s", race.c_str());
      let_go(mem.handle);
    }
    device_.scheduler().note(mem, bytes, "freed", nullptr);
  });
}

void Memory::let_go(std::uint64_t handle) {
  std::lock_guard lock(mutex_);
  Block& block = blocks_.at(handle);
  block.gone = true;
  block.bytes.reset();
  gone_.push_back(handle);
  if (gone_.size() <= kGoneKept) return;
  blocks_.erase(gone_.front());
  gone_.pop_front();
}

void* Memory::host_pointer(miniinfer_mem mem) noexcept {
  if (!inline_) return nullptr;
  std::byte* pointer = nullptr;
  sdk::detail::guard_quietly("host_pointer failed", [&] {
    std::lock_guard lock(mutex_);
    const auto found = find(mem);
    if (found == blocks_.end()) return;
    pointer =
        prepare(found->second, 0, found->second.size) + (mem.handle + mem.offset - found->first);
  });
  return pointer;
}

sdk::MemoryInfo Memory::info() {
  device_.enter("info");
  return {room_.free(), room_.total()};
}

Memory::Blocks::iterator Memory::find(miniinfer_mem mem) {
  if (!flat_) return blocks_.find(mem.handle);
  const std::uint64_t address = mem.handle + mem.offset;
  auto found = blocks_.upper_bound(address);
  if (found == blocks_.begin()) return blocks_.end();
  --found;
  return address - found->first <= found->second.size ? found : blocks_.end();
}

std::byte* Memory::prepare(Block& block, std::uint64_t offset, std::uint64_t bytes) {
  if (block.bytes == nullptr) {
    const std::align_val_t alignment = block.bytes.get_deleter().alignment;
    block.bytes.reset(static_cast<std::byte*>(operator new[](block.size, alignment)));
  }
  block.pages.prepare(block.bytes.get(), offset, bytes);
  return block.bytes.get() + offset;
}

Place Memory::block_place(miniinfer_mem mem, std::uint64_t bytes, bool running) {
  std::lock_guard lock(mutex_);
  const auto found = find(mem);
  if (found == blocks_.end()) return {.wrong = "no such block"};
  Block& block = found->second;
  const std::uint64_t offset = mem.handle + mem.offset - found->first;
  if (running ? block.gone : block.given_back) return {.wrong = "the block was freed"};
  if (offset > block.size || bytes > block.size - offset) {
    return {.wrong = "it reaches past the block's end"};
  }
  return {.at = running ? prepare(block, offset, bytes) : nullptr};
}

std::byte* Memory::place(miniinfer_mem mem, std::uint64_t bytes, const char* what, bool running) {
  const std::optional<Place> mapped = mapping_.find(mem, bytes, running);
  const Place place = mapped ? *mapped : block_place(mem, bytes, running);
  if (place.wrong == nullptr) return place.at;
  const std::string text =
      sdk::format("%s uses %llu bytes at {%#llx, %llu} on %s: %s", what, number(bytes),
                  number(mem.handle), number(mem.offset), device_.id(), place.wrong);
  device_.violation("%s", text.c_str());
  throw sdk::Error(MINIINFER_INVALID_ARGUMENT, text);
}

std::byte* Memory::resolve(miniinfer_mem mem, std::uint64_t bytes, const char* what) {
  return place(mem, bytes, what, true);
}

void Memory::check(miniinfer_mem mem, std::uint64_t bytes, const char* what) {
  place(mem, bytes, what, false);
}

}  // namespace miniinfer::fake
