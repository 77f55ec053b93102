#include "core/device/host_table.hpp"

#include <algorithm>
#include <cinttypes>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include "core/base/checked_math.hpp"
#include "core/base/format.hpp"
#include "core/base/log.hpp"
#include "core/device/file_cache.hpp"
#include "core/device/host_services.hpp"
#include "core/device/whole_table.hpp"

namespace miniinfer {
namespace {

// Given by the build: the project's version.
constexpr const char* kVersion = MINIINFER_VERSION;
constexpr std::size_t kMaxLogText = 4096;

HostTable& of(const miniinfer_host* host) { return *static_cast<HostTable*>(host->self); }

std::string_view text_or_empty(const char* text) { return text ? text : ""; }

miniinfer_code report(const Status& status) {
  if (status.ok()) return MINIINFER_OK;
  set_error_text(status.message());
  return static_cast<miniinfer_code>(status.code());
}

void write_log(const miniinfer_host* host, miniinfer_log_level level, const char* text) {
  level = std::clamp<miniinfer_log_level>(level, MINIINFER_LOG_TRACE, MINIINFER_LOG_ERROR);
  if (level < log_level()) return;
  log(level, of(host).plugin(), printable(text_or_empty(text), kMaxLogText));
}

miniinfer_log_level read_log_level(const miniinfer_host*) { return log_level(); }

void set_error(const miniinfer_host*, const char* text) { set_error_text(text_or_empty(text)); }

const char* option(const miniinfer_host* host, const char* key) {
  return host_option(of(host).plugin(), text_or_empty(key));
}

miniinfer_code register_allocator(const miniinfer_host* host, std::uint32_t ordinal,
                                  const miniinfer_allocator* allocator) {
  return report(of(host).add_allocator(ordinal, allocator));
}

std::uint32_t thread_count(const miniinfer_host*) {
  return static_cast<std::uint32_t>(host_threads());
}

miniinfer_code parallel_for(const miniinfer_host*, std::uint64_t count, std::uint64_t grain,
                            std::uint32_t max_threads, miniinfer_loop_body body, void* context) {
  return host_parallel_for(count, grain, max_threads, body, context);
}

Result<FileCache> cache_of(const miniinfer_host* host) {
  const std::filesystem::path folder = host_cache_folder();
  if (folder.empty()) return Status(Code::Unavailable, "no cache folder was given");
  return FileCache(folder / "plugin" / of(host).plugin());
}

miniinfer_code cache_read(const miniinfer_host* host, const char* key, void* data,
                          std::uint64_t* bytes) {
  if (!bytes) return report({Code::InvalidArgument, "cache_read: bytes is null"});
  const Result<FileCache> cache = cache_of(host);
  if (!cache) return report(cache.status());
  const Result<std::vector<std::byte>> entry = cache->read(text_or_empty(key));
  if (!entry) return report(entry.status());
  const std::uint64_t room = std::exchange(*bytes, entry->size());
  if (data && room >= entry->size() && !entry->empty()) {
    std::memcpy(data, entry->data(), entry->size());
  }
  return MINIINFER_OK;
}

miniinfer_code cache_write(const miniinfer_host* host, const char* key, const void* data,
                           std::uint64_t bytes) {
  if (!data && bytes > 0) return report({Code::InvalidArgument, "cache_write: data is null"});
  const Result<FileCache> cache = cache_of(host);
  if (!cache) return report(cache.status());
  return report(cache->write(text_or_empty(key), std::span(static_cast<const std::byte*>(data),
                                                           static_cast<std::size_t>(bytes))));
}

const void* extension(const miniinfer_host*, const char*) { return nullptr; }

}  // namespace

HostTable::HostTable(std::string plugin)
    : plugin_(std::move(plugin)),
      table_{MINIINFER_HEAD(miniinfer_host),
             this,
             "miniinfer",
             kVersion,
             write_log,
             read_log_level,
             set_error,
             option,
             register_allocator,
             thread_count,
             parallel_for,
             cache_read,
             cache_write,
             extension} {}

void HostTable::begin_open(std::uint32_t ordinal) {
  const std::lock_guard lock(mutex_);
  opening_ = ordinal;
  allocators_.clear();
}

std::vector<miniinfer_allocator> HostTable::end_open() {
  const std::lock_guard lock(mutex_);
  opening_.reset();
  return std::exchange(allocators_, {});
}

Status HostTable::add_allocator(std::uint32_t ordinal, const miniinfer_allocator* allocator) {
  const std::string call = format("register_allocator for %s:%" PRIu32, plugin_.c_str(), ordinal);
  const std::lock_guard lock(mutex_);
  if (opening_ != ordinal) {
    return {Code::FailedPrecondition, call + ": the device is not being opened"};
  }
  if (!allocator) return {Code::InvalidArgument, call + ": the table is null"};
  const miniinfer_allocator whole = whole_table(allocator);
  if (!whole.alloc || !whole.free) {
    return {Code::InvalidArgument, call + ": the table has no alloc or no free"};
  }
  if (whole.kind < MINIINFER_MEMORY_DEVICE || whole.kind > MINIINFER_MEMORY_HOST) {
    return {Code::InvalidArgument, format("%s: %d is no kind of memory", call.c_str(), whole.kind)};
  }
  if (!is_power_of_two(whole.min_alignment)) {
    return {Code::InvalidArgument, format("%s: min_alignment %" PRIu64 " is no power of two",
                                          call.c_str(), whole.min_alignment)};
  }
  for (const miniinfer_allocator& other : allocators_) {
    if (other.kind == whole.kind) {
      const auto kind = to_string(static_cast<MemoryKind>(whole.kind));
      return {Code::InvalidArgument,
              call + ": " + std::string(kind) + " memory has an allocator already"};
    }
  }
  allocators_.push_back(whole);
  return {};
}

}  // namespace miniinfer
