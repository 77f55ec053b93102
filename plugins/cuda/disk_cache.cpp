#include "plugins/cuda/disk_cache.hpp"

#include <cstdint>

#include "miniinfer/sdk/host.hpp"

namespace miniinfer::cuda {
namespace {

std::string key_of(std::string_view kind, std::string_view subject) {
  std::uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  for (const char c : subject) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return std::string(kind) + sdk::format("-%016llx", static_cast<unsigned long long>(hash));
}

}  // namespace

std::string read_cache(std::string_view kind, const std::string& subject) {
  const miniinfer_host* host = sdk::host();
  if (host == nullptr || host->cache_read == nullptr) return {};
  const std::string key = key_of(kind, subject);
  std::uint64_t bytes = 0;
  if (host->cache_read(host, key.c_str(), nullptr, &bytes) != MINIINFER_OK) return {};
  std::string entry(bytes, '\0');
  std::uint64_t got = bytes;
  if (host->cache_read(host, key.c_str(), entry.data(), &got) != MINIINFER_OK || got != bytes) {
    return {};
  }
  const std::size_t head = subject.size() + 1;
  if (bytes <= head || entry.compare(0, head, subject.c_str(), head) != 0) return {};
  return entry.substr(head);
}

void write_cache(std::string_view kind, const std::string& subject, std::string_view content) {
  const miniinfer_host* host = sdk::host();
  if (host == nullptr || host->cache_write == nullptr) return;
  std::string entry(subject.c_str(), subject.size() + 1);
  entry += content;
  host->cache_write(host, key_of(kind, subject).c_str(), entry.data(), entry.size());
}

}  // namespace miniinfer::cuda
