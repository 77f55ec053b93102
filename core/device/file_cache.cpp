#include "core/device/file_cache.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cinttypes>
#include <cstring>
#include <system_error>

#include "core/base/format.hpp"

namespace miniinfer {
namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 30;
constexpr std::size_t kMaxKey = 4096;

struct Header {
  char magic[8];
  std::uint64_t key_bytes;
  std::uint64_t data_bytes;
  std::uint64_t checksum;  // of key and data
};
constexpr char kMagic[8] = {'m', 'i', 'c', 'a', 'c', 'h', 'e', '1'};

std::uint64_t hash(std::span<const std::byte> bytes, std::uint64_t state = 14695981039346656037u) {
  for (const std::byte byte : bytes) {
    state = (state ^ static_cast<std::uint64_t>(byte)) * 1099511628211u;
  }
  return state;
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  bool open() const { return descriptor_ >= 0; }
  int get() const { return descriptor_; }

  bool read_all(void* out, std::size_t bytes) const {
    auto* at = static_cast<char*>(out);
    while (bytes > 0) {
      const ssize_t got = ::read(descriptor_, at, bytes);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      at += got;
      bytes -= static_cast<std::size_t>(got);
    }
    return true;
  }
  bool write_all(const void* data, std::size_t bytes) const {
    const auto* at = static_cast<const char*>(data);
    while (bytes > 0) {
      const ssize_t put = ::write(descriptor_, at, bytes);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return false;
      at += put;
      bytes -= static_cast<std::size_t>(put);
    }
    return true;
  }

 private:
  const int descriptor_;
};

}  // namespace

std::filesystem::path FileCache::file_of(std::string_view key) const {
  return folder_ / format("%016" PRIx64, hash(bytes_of(key)));
}

Result<std::vector<std::byte>> FileCache::read(std::string_view key) const {
  const Status none(Code::NotFound, "no cache entry '" + printable(key) + "'");
  const File file(::open(file_of(key).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat attributes{};
  Header header{};
  if (!file.open() || ::fstat(file.get(), &attributes) != 0 || !S_ISREG(attributes.st_mode) ||
      !file.read_all(&header, sizeof header) ||
      std::memcmp(header.magic, kMagic, sizeof kMagic) != 0 || header.key_bytes != key.size() ||
      header.data_bytes > kMaxBytes ||
      static_cast<std::uint64_t>(attributes.st_size) !=
          sizeof header + header.key_bytes + header.data_bytes) {
    return none;
  }
  std::string stored(key.size(), '\0');
  std::vector<std::byte> data(header.data_bytes);
  if (!file.read_all(stored.data(), stored.size()) || stored != key ||
      !file.read_all(data.data(), data.size()) ||
      hash(data, hash(bytes_of(key))) != header.checksum) {
    return none;
  }
  return data;
}

Status FileCache::write(std::string_view key, std::span<const std::byte> data) const {
  if (key.empty() || key.size() > kMaxKey || data.size() > kMaxBytes) {
    return {Code::LimitExceeded,
            format("cache entry '%s' of %s: a key has 1 to %zu bytes, an entry %s at most",
                   printable(key).c_str(), format_bytes(data.size()).c_str(), kMaxKey,
                   format_bytes(kMaxBytes).c_str())};
  }
  const auto failed = [&](const char* what, int number) {
    return Status(Code::Unavailable,
                  format("cache entry '%s': %s in %s failed: %s", printable(key).c_str(), what,
                         folder_.c_str(), std::generic_category().message(number).c_str()));
  };
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) return failed("making the folder", error.value());

  static std::atomic<unsigned> counter{0};
  const std::filesystem::path target = file_of(key);
  const std::filesystem::path temporary =
      target.string() + format(".%ld.%u", static_cast<long>(::getpid()),
                               counter.fetch_add(1, std::memory_order_relaxed));
  Header header{{}, key.size(), data.size(), hash(data, hash(bytes_of(key)))};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  int number = 0;
  {
    const File file(
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file.open()) return failed("making a file", errno);
    if (!file.write_all(&header, sizeof header) || !file.write_all(key.data(), key.size()) ||
        !file.write_all(data.data(), data.size())) {
      number = errno;
    }
  }
  if (number == 0 && ::rename(temporary.c_str(), target.c_str()) != 0) number = errno;
  if (number == 0) return {};
  ::unlink(temporary.c_str());
  return failed("writing", number);
}

}  // namespace miniinfer
