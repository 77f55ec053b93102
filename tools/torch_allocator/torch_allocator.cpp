#include "torch_allocator.h"

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <string>

#include "block_table.hpp"
#include "device_pool.hpp"
#include "miniinfer/miniinfer.hpp"

namespace miniinfer::torch_allocator {
namespace {

constexpr std::uint64_t kAlignment = 256;  // what cudaMalloc promises
constexpr int kMostDevices = 64;

void say(const std::string& what) {
  std::fprintf(stderr, "miniinfer torch allocator: %s\n", what.c_str());
}

class State {
 public:
  // PyTorch gives memory back while the process ends, so nothing of this is ever destroyed.
  static State& instance() {
    static State* const state = new State;
    return *state;
  }

  Result<DevicePool*> pool(int device) {
    if (device < 0 || device >= kMostDevices) {
      return Status(Code::InvalidArgument, "there is no device " + std::to_string(device));
    }
    auto& slot = pools_[static_cast<std::size_t>(device)];
    if (DevicePool* const known = slot.load(std::memory_order_acquire)) return known;
    const std::lock_guard lock(mutex_);
    if (DevicePool* const known = slot.load(std::memory_order_relaxed)) return known;
    if (!runtime_) {
      RuntimeOptions options;
      options.log = log_to_stderr();
      runtime_ = std::make_unique<Runtime>(std::move(options));
    }
    const char* const backend = std::getenv("MINIINFER_TORCH_BACKEND");
    Result<std::unique_ptr<DevicePool>> made = DevicePool::create(
        *runtime_, backend != nullptr && *backend != '\0' ? backend : "cuda", device);
    if (!made) return made.status();
    slot.store(made->get(), std::memory_order_release);
    return made->release();
  }

  BlockTable& blocks() { return blocks_; }

 private:
  std::array<std::atomic<DevicePool*>, kMostDevices> pools_{};
  BlockTable blocks_;
  std::mutex mutex_;
  std::unique_ptr<Runtime> runtime_;  // with the lock
};

// What a device that the host cannot reach knows a block by is an address, too, where it has such.
std::uint64_t address_of(const Block& block) {
  return block.host != nullptr ? reinterpret_cast<std::uint64_t>(block.host)
                               : block.handle + block.offset;
}

Result<void*> allocate(ssize_t bytes, int device, void* native) {
  if (bytes < 0) return Status(Code::InvalidArgument, "a request for less than nothing");
  if (bytes == 0) return nullptr;
  State& state = State::instance();
  const Result<DevicePool*> pool = state.pool(device);
  if (!pool) return pool.status();
  const Result<Stream> stream = (*pool)->stream(native);
  if (!stream) return stream.status();
  Allocator& allocator = (*pool)->allocator();
  const Result<Block> block = allocator.allocate({.bytes = static_cast<std::uint64_t>(bytes),
                                                  .alignment = kAlignment,
                                                  .stream = *stream,
                                                  .tag = "PyTorch"});
  if (!block) return block.status();
  const std::uint64_t address = address_of(*block);
  try {
    state.blocks().add(address, {*block, device});
  } catch (const std::bad_alloc&) {
    allocator.deallocate(*block, *stream);
    return Status(Code::OutOfMemory, "the host has no memory left");
  }
  return reinterpret_cast<void*>(address);
}

// A stream that cannot be told to the pool keeps the memory from being used again.
Status deallocate(void* pointer, void* native) {
  State& state = State::instance();
  const auto entry = state.blocks().remove(reinterpret_cast<std::uint64_t>(pointer));
  if (!entry) return {Code::InvalidArgument, "what is given back did not come from here"};
  const Result<DevicePool*> pool = state.pool(entry->device);
  if (!pool) return pool.status();
  const Result<Stream> stream = (*pool)->stream(native);
  if (!stream) return stream.status();
  (*pool)->allocator().deallocate(entry->block, *stream);
  return {};
}

Status record_stream(void* pointer, void* native) {
  State& state = State::instance();
  const auto entry = state.blocks().find(reinterpret_cast<std::uint64_t>(pointer));
  if (!entry) return {Code::InvalidArgument, "what is used did not come from here"};
  const Result<DevicePool*> pool = state.pool(entry->device);
  if (!pool) return pool.status();
  const Result<Stream> stream = (*pool)->stream(native);
  if (!stream) return stream.status();
  (*pool)->allocator().pool()->record_use(entry->block, *stream);
  return {};
}

void* tell(const char* call, ssize_t bytes, void* pointer, const Result<void*>& result) {
  if (result) return *result;
  char text[96];
  std::snprintf(text, sizeof text, "%s of %zd bytes at %p: ", call, bytes, pointer);
  say(text + result.status().to_string());
  if (const auto report = result.status().memory_report()) {
    for (const std::string& line : to_lines(*report)) say("  " + line);
  }
  return nullptr;
}

// Nothing is thrown into PyTorch.
template <class Call>
void* guarded(const char* name, ssize_t bytes, void* pointer, Call&& call) noexcept {
  try {
    return tell(name, bytes, pointer, call());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "miniinfer torch allocator: %s: %s\n", name, error.what());
    return nullptr;
  }
}

Result<void*> nothing(const Status& status) {
  if (status.ok()) return nullptr;
  return status;
}

}  // namespace
}  // namespace miniinfer::torch_allocator

using namespace miniinfer::torch_allocator;  // NOLINT(google-build-using-namespace)

void* miniinfer_torch_alloc(ssize_t bytes, int device, void* stream) {
  return guarded("alloc", bytes, nullptr, [&] { return allocate(bytes, device, stream); });
}

void miniinfer_torch_free(void* pointer, ssize_t bytes, int, void* stream) {
  if (pointer == nullptr) return;
  guarded("free", bytes, pointer, [&] { return nothing(deallocate(pointer, stream)); });
}

void miniinfer_torch_record_stream(void* pointer, void* stream) {
  if (pointer == nullptr) return;
  guarded("record_stream", 0, pointer, [&] { return nothing(record_stream(pointer, stream)); });
}
