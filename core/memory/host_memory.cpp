#include "core/memory/host_memory.hpp"

#include <fcntl.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>

namespace miniinfer {
namespace {

using Buffer = std::array<char, 4096>;

std::string_view read_file(const char* path, Buffer& buffer) {
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  const ssize_t length = ::read(file, buffer.data(), buffer.size());
  ::close(file);
  return length > 0 ? std::string_view(buffer.data(), static_cast<std::size_t>(length))
                    : std::string_view();
}

std::optional<std::uint64_t> leading_number(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> meminfo(std::string_view text, std::string_view key) {
  const std::size_t at = text.find(key);
  if (at == std::string_view::npos) return std::nullopt;
  const auto kib = leading_number(text.substr(at + key.size()));
  if (!kib) return std::nullopt;
  return *kib * 1024;
}

struct CgroupFiles {
  const char* limit;
  const char* used;
};

constexpr CgroupFiles kCgroups[] = {
    {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"},
    {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"},
};

}  // namespace

MemoryInfo host_memory_info() noexcept {
  MemoryInfo info;
  Buffer buffer;
  const std::string_view text = read_file("/proc/meminfo", buffer);
  info.total_bytes = meminfo(text, "MemTotal:").value_or(0);
  info.free_bytes = meminfo(text, "MemAvailable:").value_or(0);
  for (const CgroupFiles& files : kCgroups) {
    const auto limit = leading_number(read_file(files.limit, buffer));
    const auto used = leading_number(read_file(files.used, buffer));
    if (!limit || !used || *limit >= info.total_bytes) continue;
    info.total_bytes = *limit;
    info.free_bytes = std::min(info.free_bytes, *limit - std::min(*used, *limit));
  }
  return info;
}

std::uint64_t host_memory_ceiling() noexcept {
  static const std::uint64_t ceiling = [] {
    struct sysinfo system{};
    std::uint64_t bytes = 0;
    if (::sysinfo(&system) != 0 ||
        __builtin_mul_overflow(static_cast<std::uint64_t>(system.totalram) + system.totalswap,
                               static_cast<std::uint64_t>(system.mem_unit), &bytes)) {
      return static_cast<std::uint64_t>(std::numeric_limits<std::ptrdiff_t>::max());
    }
    return bytes;
  }();
  return ceiling;
}

}  // namespace miniinfer
