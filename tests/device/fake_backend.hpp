#pragma once

// A backend in the test program itself: devices whose memory the host cannot read and whose work
// runs only when somebody waits. Each test takes a slot of its own, since backends stay registered.

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "core/device/backend_registry.hpp"
#include "miniinfer/abi/ext/draft/virtual_memory.h"
#include "miniinfer/abi/plugin.h"

namespace miniinfer::test {

inline miniinfer_device_info fake_info(const char* stable_id, std::int32_t rank = 1) {
  miniinfer_device_info info{};
  info.head = MINIINFER_HEAD(miniinfer_device_info);
  info.kind = MINIINFER_KIND_ACCELERATOR;
  info.rank = rank;
  info.dlpack_type = 12;
  info.memory_alignment = 256;
  std::strncpy(info.stable_id, stable_id, sizeof info.stable_id - 1);
  std::strncpy(info.name, "a fake", sizeof info.name - 1);
  return info;
}

struct FakeBackend {
  std::string name;
  // What probe says.
  std::vector<miniinfer_device_info> devices{fake_info("F-0")};
  miniinfer_probe_state state = MINIINFER_PROBE_FOUND;
  std::uint32_t claimed = 0;  // 0: as many as there are
  std::string reason;
  // What calls answer, until changed.
  miniinfer_code probe_code = MINIINFER_OK;
  miniinfer_code init_code = MINIINFER_OK;
  miniinfer_code open_code = MINIINFER_OK;
  miniinfer_code copy_code = MINIINFER_OK;
  miniinfer_code alloc_code = MINIINFER_OK;
  // What is registered.
  bool memory = true;
  bool memory_twice = false;
  bool can_import = true;
  bool streams = true;
  const miniinfer_virtual_memory* mapping = nullptr;
  // What alloc gives instead of memory.
  bool null_block = false;
  bool misaligned = false;
  // The ledger.
  const miniinfer_host* host = nullptr;
  int inits = 0, opens = 0, closes = 0, allocs = 0, frees = 0, imports = 0, releases = 0;
  int copies = 0, stream_creates = 0, stream_destroys = 0;

  std::mutex mutex;
  std::map<std::uint64_t, std::vector<std::byte>> blocks;
  std::uint64_t next_handle = 0x1000;
  miniinfer_device_api device_api{};
  miniinfer_stream_api stream_api{};
  miniinfer_op_api op_api{};
  miniinfer_plugin_api plugin_api{};

  // Imported memory is the test's own and has its address as handle.
  std::byte* at(miniinfer_mem mem) {
    const auto block = blocks.find(mem.handle);
    if (block != blocks.end()) return block->second.data() + mem.offset;
    return reinterpret_cast<std::byte*>(mem.handle + mem.offset);
  }
  void fail(const char* text) const { host->set_error(host, text); }
};

struct FakeDevice {
  FakeBackend* backend;
  std::uint32_t ordinal;
};

struct FakeStream {
  FakeBackend* backend;
  void* native;
  std::deque<std::function<void()>> work;
  void run() {
    for (; !work.empty(); work.pop_front()) work.front()();
  }
};

struct FakeEvent {
  FakeStream* stream = nullptr;
};

template <int slot>
class Fake {
 public:
  // Registers the backend under its name; what the test set before is what it says.
  static Status add() {
    FakeBackend& b = backend();
    if (b.name.empty()) b.name = "fake" + std::to_string(slot);
    fill_tables();
    return BackendRegistry::instance().add_builtin(b.name, entry);
  }

  static FakeBackend& backend() {
    static FakeBackend* const instance = new FakeBackend;
    return *instance;
  }

  static std::string id(int ordinal = 0) { return backend().name + ":" + std::to_string(ordinal); }
  static Device device(int ordinal = 0) {
    return BackendRegistry::instance().find(id(ordinal)).value();
  }

 private:
  static miniinfer_code entry(miniinfer_entry* args) {
    args->chosen = args->host_max;
    args->plugin = &backend().plugin_api;
    return MINIINFER_OK;
  }

  static miniinfer_code probe(const miniinfer_host* host, miniinfer_probe* out) {
    FakeBackend& b = backend();
    b.host = host;
    out->state = b.state;
    std::strncpy(out->reason, b.reason.c_str(), sizeof out->reason - 1);
    const std::size_t count = std::min<std::size_t>(b.devices.size(), out->capacity);
    for (std::size_t i = 0; i < count; ++i) *out->devices[i] = b.devices[i];
    out->count = b.claimed != 0 ? b.claimed : static_cast<std::uint32_t>(count);
    if (b.probe_code != MINIINFER_OK) b.fail("the bus is on fire");
    return b.probe_code;
  }

  static miniinfer_code init(const miniinfer_host*, miniinfer_plugin** out) {
    FakeBackend& b = backend();
    ++b.inits;
    *out = reinterpret_cast<miniinfer_plugin*>(&b);
    if (b.init_code != MINIINFER_OK) b.fail("the driver does not answer");
    return b.init_code;
  }

  static miniinfer_code device_open(miniinfer_plugin*, std::uint32_t ordinal,
                                    const miniinfer_device_info*, miniinfer_device** out,
                                    const miniinfer_device_api** out_api) {
    FakeBackend& b = backend();
    ++b.opens;
    if (b.memory) {
      const miniinfer_allocator table = memory_table();
      miniinfer_code code = b.host->register_allocator(b.host, ordinal, &table);
      if (code == MINIINFER_OK && b.memory_twice) {
        code = b.host->register_allocator(b.host, ordinal, &table);
      }
      if (code != MINIINFER_OK) return code;
    }
    if (b.open_code != MINIINFER_OK) {
      b.fail("no such card");
      return b.open_code;
    }
    *out = reinterpret_cast<miniinfer_device*>(new FakeDevice{&b, ordinal});
    *out_api = &b.device_api;
    return MINIINFER_OK;
  }

  static miniinfer_allocator memory_table() {
    miniinfer_allocator table{};
    table.head = MINIINFER_HEAD(miniinfer_allocator);
    table.kind = MINIINFER_MEMORY_DEVICE;
    table.min_alignment = 256;
    table.max_bytes = std::uint64_t{1} << 30;
    table.alloc = [](void*, std::uint64_t bytes, std::uint64_t, miniinfer_stream*,
                     miniinfer_mem* out) -> miniinfer_code {
      FakeBackend& b = backend();
      const std::lock_guard lock(b.mutex);
      if (b.alloc_code != MINIINFER_OK) {
        b.fail("the card is full");
        return b.alloc_code;
      }
      ++b.allocs;
      if (b.null_block) return MINIINFER_OK;
      *out = {b.next_handle++, b.misaligned ? 8u : 0u};
      // Memory nobody wrote is not zero.
      b.blocks[out->handle].assign(bytes + out->offset, std::byte{0xcd});
      return MINIINFER_OK;
    };
    table.free = [](void*, miniinfer_mem mem, std::uint64_t, miniinfer_stream*) {
      FakeBackend& b = backend();
      const std::lock_guard lock(b.mutex);
      ++b.frees;
      b.blocks.erase(mem.handle);
    };
    table.host_pointer = [](void*, miniinfer_mem) -> void* { return nullptr; };
    table.info = [](void*, std::uint64_t* free, std::uint64_t* total) -> miniinfer_code {
      *free = std::uint64_t{3} << 30;
      *total = std::uint64_t{4} << 30;
      return MINIINFER_OK;
    };
    if (!backend().can_import) return table;
    table.import_native = [](void*, void* native, std::uint64_t, miniinfer_mem* out) {
      ++backend().imports;
      *out = {reinterpret_cast<std::uint64_t>(native), 0};
      return miniinfer_code{MINIINFER_OK};
    };
    table.release_native = [](void*, miniinfer_mem) { ++backend().releases; };
    return table;
  }

  static FakeStream& of(miniinfer_stream* stream) { return *reinterpret_cast<FakeStream*>(stream); }
  static FakeEvent& of(miniinfer_event* event) { return *reinterpret_cast<FakeEvent*>(event); }

  static void fill_tables() {
    FakeBackend& b = backend();
    b.plugin_api.head = MINIINFER_HEAD(miniinfer_plugin_api);
    b.plugin_api.name = b.name.c_str();
    b.plugin_api.version = "1.2.3";
    b.plugin_api.vendor = "the tests";
    b.plugin_api.probe = probe;
    b.plugin_api.init = init;
    b.plugin_api.device_open = device_open;

    b.op_api.head = MINIINFER_HEAD(miniinfer_op_api);
    b.op_api.support = [](miniinfer_device*, const miniinfer_region*, miniinfer_choice* const*,
                          std::uint32_t*) -> miniinfer_code { return MINIINFER_UNSUPPORTED; };
    b.op_api.create = [](miniinfer_device*, const miniinfer_region*, const miniinfer_choice*,
                         miniinfer_kernel**) -> miniinfer_code { return MINIINFER_UNSUPPORTED; };
    b.op_api.destroy = [](miniinfer_kernel*) {};
    b.op_api.enqueue = [](miniinfer_kernel*, miniinfer_stream*,
                          const miniinfer_run*) -> miniinfer_code { return MINIINFER_UNSUPPORTED; };

    b.device_api.head = MINIINFER_HEAD(miniinfer_device_api);
    b.device_api.stream = b.streams ? &b.stream_api : nullptr;
    b.device_api.op = &b.op_api;
    b.device_api.sync = [](miniinfer_device*) -> miniinfer_code { return MINIINFER_OK; };
    b.device_api.info = [](miniinfer_device*, miniinfer_device_info* info) -> miniinfer_code {
      info->memory_bytes = std::uint64_t{4} << 30;
      return MINIINFER_OK;
    };
    b.device_api.extension = [](miniinfer_device*, const char* id) -> const void* {
      static const int table = 7;
      if (std::strcmp(id, MINIINFER_EXT_VIRTUAL_MEMORY) == 0) return backend().mapping;
      return std::strcmp(id, "test.seven/1") == 0 ? &table : nullptr;
    };
    b.device_api.close = [](miniinfer_device* device) {
      ++backend().closes;
      delete reinterpret_cast<FakeDevice*>(device);
    };

    miniinfer_stream_api& s = b.stream_api;
    s.head = MINIINFER_HEAD(miniinfer_stream_api);
    s.create = [](miniinfer_device*, std::int32_t, void* native,
                  miniinfer_stream** out) -> miniinfer_code {
      ++backend().stream_creates;
      *out = reinterpret_cast<miniinfer_stream*>(new FakeStream{&backend(), native, {}});
      return MINIINFER_OK;
    };
    s.destroy = [](miniinfer_stream* stream) {
      ++backend().stream_destroys;
      of(stream).run();
      delete &of(stream);
    };
    s.sync = [](miniinfer_stream* stream) -> miniinfer_code {
      of(stream).run();
      return MINIINFER_OK;
    };
    s.query = [](miniinfer_stream* stream, std::uint32_t* done) -> miniinfer_code {
      *done = of(stream).work.empty() ? 1 : 0;
      return MINIINFER_OK;
    };
    s.native = [](miniinfer_stream* stream) { return of(stream).native; };
    s.copy = [](miniinfer_stream* stream, miniinfer_copy_direction direction, miniinfer_mem dst,
                miniinfer_mem src, std::uint64_t bytes) -> miniinfer_code {
      FakeBackend& b = backend();
      ++b.copies;
      if (b.copy_code != MINIINFER_OK) {
        b.fail("the link went down");
        return b.copy_code;
      }
      of(stream).work.push_back([=, &b] {
        const auto host = [](miniinfer_mem mem) {
          return reinterpret_cast<std::byte*>(mem.handle + mem.offset);
        };
        std::byte* to = direction == MINIINFER_COPY_DEVICE_TO_HOST ? host(dst) : b.at(dst);
        std::byte* from = direction == MINIINFER_COPY_HOST_TO_DEVICE ? host(src) : b.at(src);
        std::memcpy(to, from, bytes);
      });
      return MINIINFER_OK;
    };
    s.fill = [](miniinfer_stream* stream, miniinfer_mem dst, std::uint64_t bytes,
                std::uint64_t pattern, std::uint32_t pattern_bytes) -> miniinfer_code {
      of(stream).work.push_back([=] {
        for (std::uint64_t i = 0; i < bytes; i += pattern_bytes) {
          std::memcpy(backend().at(dst) + i, &pattern, pattern_bytes);
        }
      });
      return MINIINFER_OK;
    };
    s.event_create = [](miniinfer_device*, miniinfer_event** out) -> miniinfer_code {
      *out = reinterpret_cast<miniinfer_event*>(new FakeEvent);
      return MINIINFER_OK;
    };
    s.event_destroy = [](miniinfer_event* event) { delete &of(event); };
    s.event_record = [](miniinfer_event* event, miniinfer_stream* stream) -> miniinfer_code {
      of(event).stream = &of(stream);
      return MINIINFER_OK;
    };
    s.event_wait = [](miniinfer_event* event, miniinfer_stream*) -> miniinfer_code {
      of(event).stream->run();
      return MINIINFER_OK;
    };
    s.event_sync = [](miniinfer_event* event) -> miniinfer_code {
      of(event).stream->run();
      return MINIINFER_OK;
    };
    s.event_query = [](miniinfer_event* event, std::uint32_t* done) -> miniinfer_code {
      *done = of(event).stream->work.empty() ? 1 : 0;
      return MINIINFER_OK;
    };
  }
};

}  // namespace miniinfer::test
