#include "miniinfer/storage.hpp"

#include <utility>

namespace miniinfer {

Storage::Storage(Storage&& other) noexcept
    : allocator_(std::move(other.allocator_)),
      block_(std::exchange(other.block_, {})),
      stream_(std::exchange(other.stream_, {})) {}

Storage& Storage::operator=(Storage&& other) noexcept {
  if (this == &other) return *this;
  reset(stream_);
  allocator_ = std::move(other.allocator_);
  block_ = std::exchange(other.block_, {});
  stream_ = std::exchange(other.stream_, {});
  return *this;
}

Storage::~Storage() { reset(stream_); }

Result<Storage> Storage::create(AllocatorPtr allocator, const MemoryRequest& request) {
  if (!allocator) return Status(Code::InvalidArgument, "Storage::create: no allocator was given");
  Result<Block> block = allocator->allocate(request);
  if (!block) return block.status();
  Storage storage;
  storage.allocator_ = std::move(allocator);
  storage.block_ = *block;
  storage.stream_ = request.stream;
  return storage;
}

void Storage::reset(Stream stream) noexcept {
  if (allocator_ && block_.handle != 0) allocator_->deallocate(block_, stream);
  block_ = {};
  stream_ = {};
  allocator_.reset();
}

}  // namespace miniinfer
