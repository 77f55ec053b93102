#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "miniinfer/abi/host.h"

namespace miniinfer::test {

// A host table that writes down what a plugin tells it.
class TestHost {
 public:
  TestHost() {
    table_.head = MINIINFER_HEAD(miniinfer_host);
    table_.self = this;
    table_.name = "test";
    table_.version = "0";
    table_.log = [](const miniinfer_host* host, miniinfer_log_level level, const char* text) {
      self(host).logged.push_back(std::to_string(level) + " " + text);
    };
    table_.log_level = [](const miniinfer_host* host) { return self(host).level; };
    table_.set_error = [](const miniinfer_host* host, const char* text) {
      self(host).error = text;
    };
    table_.option = [](const miniinfer_host* host, const char* key) -> const char* {
      const auto found = self(host).options.find(key);
      return found == self(host).options.end() ? nullptr : found->second.c_str();
    };
    table_.register_allocator = [](const miniinfer_host* host, std::uint32_t,
                                   const miniinfer_allocator* allocator) -> miniinfer_code {
      if (self(host).refuse_allocators) return MINIINFER_INVALID_ARGUMENT;
      self(host).allocators.push_back(*allocator);
      return MINIINFER_OK;
    };
    table_.thread_count = [](const miniinfer_host*) -> std::uint32_t { return 1; };
    table_.parallel_for = [](const miniinfer_host*, std::uint64_t count, std::uint64_t grain,
                             std::uint32_t, miniinfer_loop_body body,
                             void* context) -> miniinfer_code {
      for (std::uint64_t begin = 0; begin < count; begin += grain) {
        const std::uint64_t end = begin + grain < count ? begin + grain : count;
        const miniinfer_code code = body(context, begin, end, 0);
        if (code != MINIINFER_OK) return code;
      }
      return MINIINFER_OK;
    };
    table_.cache_read = [](const miniinfer_host* host, const char* key, void* data,
                           std::uint64_t* bytes) -> miniinfer_code {
      if (!self(host).allows_cache) return MINIINFER_UNAVAILABLE;
      const auto found = self(host).cache.find(key);
      if (found == self(host).cache.end()) return MINIINFER_NOT_FOUND;
      const std::uint64_t room = *bytes;
      *bytes = found->second.size();
      if (data != nullptr && room >= *bytes) std::memcpy(data, found->second.data(), *bytes);
      return MINIINFER_OK;
    };
    table_.cache_write = [](const miniinfer_host* host, const char* key, const void* data,
                            std::uint64_t bytes) -> miniinfer_code {
      if (!self(host).allows_cache) return MINIINFER_UNAVAILABLE;
      self(host).cache[key] = {static_cast<const char*>(data), bytes};
      return MINIINFER_OK;
    };
    table_.extension = [](const miniinfer_host*, const char*) -> const void* { return nullptr; };
  }
  TestHost(const TestHost&) = delete;

  const miniinfer_host* table() const { return &table_; }

  std::string error;
  std::vector<std::string> logged;
  std::map<std::string, std::string> options;
  std::vector<miniinfer_allocator> allocators;
  miniinfer_log_level level = MINIINFER_LOG_TRACE;
  bool refuse_allocators = false;
  bool allows_cache = false;
  std::map<std::string, std::string> cache;

 private:
  static TestHost& self(const miniinfer_host* host) { return *static_cast<TestHost*>(host->self); }

  miniinfer_host table_{};
};

}  // namespace miniinfer::test
