#include "plugins/cuda/disk_cache.hpp"

#include <cstdint>

#include "miniinfer/sdk/host.hpp"

namespace miniinfer::cuda {
namespace {

// Sixteen digits, by FNV-1a.
std::string hash_of(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return sdk::format("%016llx", static_cast<unsigned long long>(hash));
}

std::string key_of(std::string_view kind, std::string_view subject) {
  return std::string(kind) + "-" + hash_of(subject);
}

// What an entry begins with.
std::string head_of(const std::string& subject, std::string_view content) {
  return subject + '\0' + hash_of(content);
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
  const std::size_t head = head_of(subject, "").size();
  if (bytes <= head) return {};
  std::string content = entry.substr(head);
  return entry.starts_with(head_of(subject, content)) ? content : std::string();
}

void write_cache(std::string_view kind, const std::string& subject, std::string_view content) {
  const miniinfer_host* host = sdk::host();
  if (host == nullptr || host->cache_write == nullptr) return;
  const std::string entry = head_of(subject, content).append(content);
  host->cache_write(host, key_of(kind, subject).c_str(), entry.data(), entry.size());
}

}  // namespace miniinfer::cuda
