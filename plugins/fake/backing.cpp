#include "plugins/fake/backing.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "miniinfer/sdk/error.hpp"

namespace miniinfer::fake {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr int kNowhere = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

[[noreturn]] void fail(const char* call, std::uint64_t bytes) {
  sdk::fail(MINIINFER_OUT_OF_MEMORY, "%s of %llu bytes of host memory: %s", call,
            static_cast<unsigned long long>(bytes), std::strerror(errno));
}

}  // namespace

void Pages::prepare(std::byte* memory, std::uint64_t offset, std::uint64_t bytes) {
  if (bytes == 0) return;
  if (touched_.empty()) touched_.resize(static_cast<std::size_t>((bytes_ + kPage - 1) / kPage));
  for (std::uint64_t page = offset / kPage; page * kPage < offset + bytes; ++page) {
    if (touched_[page]) continue;
    touched_[page] = true;
    std::fill_n(memory + page * kPage, std::min(kPage, bytes_ - page * kPage), kFresh);
  }
}

BackingFile::~BackingFile() {
  if (file_ >= 0) close(file_);
}

std::byte* BackingFile::reserve(std::uint64_t bytes) {
  void* const memory = mmap(nullptr, bytes, PROT_NONE, kNowhere, -1, 0);
  if (memory == MAP_FAILED) fail("mmap", bytes);
  return static_cast<std::byte*>(memory);
}

void BackingFile::release(std::byte* memory, std::uint64_t bytes) { munmap(memory, bytes); }

std::uint64_t BackingFile::take(std::uint64_t bytes) {
  if (file_ < 0) {
    file_ = memfd_create("fake device", MFD_CLOEXEC);
    if (file_ < 0) fail("memfd_create", bytes);
  }
  if (ftruncate(file_, static_cast<off_t>(end_ + bytes)) != 0) fail("ftruncate", end_ + bytes);
  const std::uint64_t place = end_;
  end_ += bytes;
  return place;
}

void BackingFile::drop(std::uint64_t place, std::uint64_t bytes) {
  // Where this fails the memory is kept until the device is closed.
  static_cast<void>(fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                              static_cast<off_t>(place), static_cast<off_t>(bytes)));
}

void BackingFile::map(std::byte* memory, std::uint64_t place, std::uint64_t bytes) const {
  void* const mapped = mmap(memory, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file_,
                            static_cast<off_t>(place));
  if (mapped == MAP_FAILED) fail("mmap", bytes);
}

void BackingFile::unmap(std::byte* memory, std::uint64_t bytes) {
  if (mmap(memory, bytes, PROT_NONE, kNowhere | MAP_FIXED, -1, 0) == MAP_FAILED) {
    fail("mmap", bytes);
  }
}

}  // namespace miniinfer::fake
