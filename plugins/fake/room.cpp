#include "plugins/fake/room.hpp"

#include "miniinfer/sdk/error.hpp"

namespace miniinfer::fake {
namespace {

constexpr std::uint64_t kEnd = std::uint64_t{1} << 62;
constexpr std::uint64_t kGap = std::uint64_t{1} << 20;  // nothing lies beside anything else

}  // namespace

std::uint64_t Room::free() const {
  std::lock_guard lock(mutex_);
  return total_ - used_;
}

bool Room::take(std::uint64_t bytes) {
  std::lock_guard lock(mutex_);
  if (bytes > total_ - used_) return false;
  used_ += bytes;
  return true;
}

void Room::give(std::uint64_t bytes) {
  std::lock_guard lock(mutex_);
  used_ -= bytes;
}

std::uint64_t Room::addresses(std::uint64_t bytes, std::uint64_t alignment) {
  std::lock_guard lock(mutex_);
  const std::uint64_t unit = alignment > kGap ? alignment : kGap;
  if (bytes < kEnd && unit < kEnd) {
    const std::uint64_t begin = (next_ + unit - 1) & ~(unit - 1);
    if (begin <= kEnd - bytes) {
      next_ = begin + bytes + kGap;
      return begin;
    }
  }
  sdk::fail(MINIINFER_OUT_OF_MEMORY, "no %llu addresses aligned to %llu are left",
            static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(alignment));
}

}  // namespace miniinfer::fake
