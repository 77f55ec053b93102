#include "core/memory/cpu_allocator.hpp"

#include <algorithm>
#include <cstdlib>

#include "core/base/checked_math.hpp"
#include "core/memory/host_memory.hpp"
#include "core/memory/request.hpp"

namespace miniinfer {
namespace {

constexpr std::uint64_t kMinAlignment = 64;

}  // namespace

CPUAllocator::CPUAllocator(std::string device) : device_(std::move(device)) {}

Result<Block> CPUAllocator::allocate(const MemoryRequest& request) noexcept {
  if (Status status = check_request(request, device_, {MemoryKind::Device, MemoryKind::Host});
      !status.ok()) {
    counter_.fail();
    return status;
  }
  if (request.bytes == 0) return Block{};
  // The ceiling is tested first: a C library that overcommits would say yes, a sanitizer's would
  // end the process.
  const std::uint64_t alignment = std::max(request.alignment, kMinAlignment);
  std::uint64_t span = 0;
  void* memory = nullptr;
  if (!checked_add(request.bytes, alignment, &span) || span > host_memory_ceiling() ||
      ::posix_memalign(&memory, alignment, request.bytes) != 0) {
    counter_.fail();
    return out_of_memory(request, device_, info());
  }
  counter_.add(request.bytes);
  return Block{reinterpret_cast<std::uint64_t>(memory), 0, request.bytes,
               static_cast<std::byte*>(memory)};
}

void CPUAllocator::deallocate(Block block, Stream) noexcept {
  if (block.handle == 0) return;
  counter_.subtract(block.bytes);
  std::free(reinterpret_cast<void*>(block.handle));
}

MemoryInfo CPUAllocator::info() const noexcept { return host_memory_info(); }

}  // namespace miniinfer
