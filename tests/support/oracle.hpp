#pragma once

// A device for tests of the memory layer that knows whether an allocator kept order: a fake device
// in this process, seen as the pool sees a device, with work that pretends to use memory. What is
// wrong becomes a sentence in violations(); see plugins/fake/README.md.
//
//   Oracle oracle({.seed = 7, .granularity = 65536});
//   const AllocatorPtr allocator = make_it_over(oracle.shared_upstream());
//   const Stream a = oracle.make_stream();
//   const Block block = *allocator->allocate({.bytes = 100, .stream = a});
//   oracle.write(a, block);
//   CHECK(oracle.violations() == "");

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/device/host_table.hpp"
#include "core/device/plugin_allocator.hpp"
#include "core/device/whole_table.hpp"
#include "miniinfer/abi/plugin.h"
#include "plugins/fake/ledger.h"
#include "plugins/fake/oracle.h"

MINIINFER_EXTERN_C miniinfer_code MINIINFER_PLUGIN_ENTRY(miniinfer_entry* entry) MINIINFER_NOEXCEPT;

namespace miniinfer::testing {

struct OracleOptions {
  std::uint64_t seed = 1;  // which stream goes on when; 0: none before somebody waits for it
  std::uint64_t memory = std::uint64_t{64} << 20;
  std::uint64_t granularity = 0;  // of mapping; 0: memory cannot be mapped
  bool flat = false;              // handle + offset is an address
  bool is_inline = false;         // no streams; the host reaches the memory
  std::string plan{};             // of failures, see plugins/fake/fault_plan.hpp
};

namespace detail {

// The host that the fake's code in this program sees: the core's, but for what an Oracle being
// opened wants. A silent one, for violations are read by the test.
class OracleHost {
 public:
  static OracleHost& instance() {
    static OracleHost* const host = new OracleHost;
    return *host;
  }

  struct Opened {
    std::uint32_t ordinal = 0;
    miniinfer_device* device = nullptr;
    const miniinfer_device_api* api = nullptr;
    miniinfer_device_info info{};
    miniinfer_allocator memory{};
  };

  Opened open(const OracleOptions& options) {
    const std::lock_guard lock(mutex_);
    Opened opened;
    while (ordinals_.contains(opened.ordinal)) ++opened.ordinal;
    options_ = {{"devices", std::to_string(opened.ordinal + 1)},
                {"memory", std::to_string(options.memory)},
                {"granularity", std::to_string(options.granularity)},
                {"seed", std::to_string(options.seed)},
                {"flat", options.flat ? "1" : "0"},
                {"inline", options.is_inline ? "1" : "0"},
                {"plan", options.plan}};
    opened.info.head = MINIINFER_HEAD(miniinfer_device_info);
    REQUIRE(plugin_api_->device_open(plugin_, opened.ordinal, &opened.info, &opened.device,
                                     &opened.api) == MINIINFER_OK);
    REQUIRE(opened.api->info(opened.device, &opened.info) == MINIINFER_OK);
    opened.memory = registered_;
    ordinals_.insert(opened.ordinal);
    return opened;
  }

  void close(const Opened& opened) {
    opened.api->close(opened.device);
    const std::lock_guard lock(mutex_);
    ordinals_.erase(opened.ordinal);
  }

 private:
  OracleHost() : table_(*core_.table()) {
    table_.log_level = [](const miniinfer_host*) -> miniinfer_log_level {
      return MINIINFER_LOG_ERROR + 1;
    };
    table_.option = [](const miniinfer_host*, const char* key) -> const char* {
      return instance().options_[key].c_str();  // nothing comes from the environment
    };
    table_.register_allocator = [](const miniinfer_host*, std::uint32_t,
                                   const miniinfer_allocator* table) -> miniinfer_code {
      instance().registered_ = whole_table(table);
      return MINIINFER_OK;
    };
    miniinfer_entry entry{MINIINFER_HEAD(miniinfer_entry), 0, 99, 0, 0, nullptr, nullptr};
    REQUIRE(MINIINFER_PLUGIN_ENTRY(&entry) == MINIINFER_OK);
    plugin_api_ = entry.plugin;
    REQUIRE(plugin_api_->init(&table_, &plugin_) == MINIINFER_OK);
  }

  HostTable core_{"fake"};
  miniinfer_host table_;
  const miniinfer_plugin_api* plugin_api_ = nullptr;
  miniinfer_plugin* plugin_ = nullptr;
  std::mutex mutex_;
  std::map<std::string, std::string> options_;
  miniinfer_allocator registered_{};
  std::set<std::uint32_t> ordinals_;
};

}  // namespace detail

// [any-thread], but touches: one at a time for each stream.
class Oracle {
 public:
  using Event = MemoryUpstream::Event;

  explicit Oracle(const OracleOptions& options = {})
      : opened_(detail::OracleHost::instance().open(options)),
        oracle_(extension<miniinfer_fake_oracle_api>(MINIINFER_FAKE_ORACLE)),
        ledger_(extension<miniinfer_fake_ledger_api>(MINIINFER_FAKE_LEDGER)),
        record_(nullptr, "fake", static_cast<int>(opened_.ordinal), opened_.info,
                DeviceState::Ready, ""),
        upstream_(std::make_shared<PluginUpstream>(
            record_, opened_.memory, opened_.info.flags, opened_.device, opened_.api->stream,
            extension<miniinfer_virtual_memory>(MINIINFER_EXT_VIRTUAL_MEMORY),
            extension<miniinfer_memory_annotate>(MINIINFER_EXT_MEMORY_ANNOTATE))) {
    REQUIRE(oracle_ != nullptr);
    REQUIRE(ledger_ != nullptr);
  }
  Oracle(const Oracle&) = delete;
  Oracle& operator=(const Oracle&) = delete;
  // Allocators over it are gone before. Streams that are left are destroyed.
  ~Oracle() {
    while (!streams_.empty()) destroy_stream(*streams_.begin());
    detail::OracleHost::instance().close(opened_);
  }

  MemoryUpstream& upstream() { return *upstream_; }
  const std::shared_ptr<PluginUpstream>& shared_upstream() const { return upstream_; }

  bool is_inline() const { return opened_.api->stream == nullptr; }
  // Null on a device that works inline.
  Stream make_stream() {
    if (opened_.api->stream == nullptr) return {};
    miniinfer_stream* stream = nullptr;
    REQUIRE(opened_.api->stream->create(opened_.device, 0, nullptr, &stream) == MINIINFER_OK);
    const std::lock_guard lock(mutex_);
    streams_.insert(stream);
    return {stream};
  }
  void destroy_stream(Stream stream) { destroy_stream(raw(stream)); }

  // Work of the stream that uses blocks.
  Status touch(Stream stream, const std::vector<Block>& reads, const std::vector<Block>& writes,
               const char* name = "touch") {
    std::vector<miniinfer_fake_use> uses;
    for (const Block& block : reads) uses.push_back(use(block, 0));
    for (const Block& block : writes) uses.push_back(use(block, 1));
    return record_.check(
        oracle_->touch(opened_.device, raw(stream), name, uses.data(), uses.size()), name);
  }
  Status write(Stream stream, const Block& block) {
    const miniinfer_fake_use one = use(block, 1);
    return record_.check(oracle_->touch(opened_.device, raw(stream), "write", &one, 1), "write");
  }
  Status read(Stream stream, const Block& block) {
    const miniinfer_fake_use one = use(block, 0);
    return record_.check(oracle_->touch(opened_.device, raw(stream), "read", &one, 1), "read");
  }
  // For reports: what an allocator did with a block. `what` lives as long as the program.
  void note(const Block& block, const char* what, Stream stream = {}) {
    oracle_->note(opened_.device, {block.handle, block.offset}, block.bytes, what, raw(stream));
  }

  // Lets the device do up to so many pieces of work; gives how many there were.
  std::uint64_t advance(std::uint64_t count) { return oracle_->advance(opened_.device, count); }
  // Waits for a stream, as a user would.
  void sync(Stream stream) {
    if (opened_.api->stream == nullptr) return;
    REQUIRE(oracle_->sync(opened_.device, raw(stream)) == MINIINFER_OK);
  }
  // Makes later work of `second` wait for what `first` has now, as a user would.
  void order(Stream first, Stream second) {
    if (opened_.api->stream == nullptr) return;
    oracle_->order(opened_.device, raw(first), raw(second));
  }

  // Follows a plan of failures from here on; "" ends it.
  void follow(const std::string& plan) {
    REQUIRE(oracle_->follow(opened_.device, plan.c_str()) == MINIINFER_OK);
  }

  // What is announced of the memory, by place.
  std::vector<miniinfer_fake_region> regions() const {
    std::vector<miniinfer_fake_region> all(oracle_->regions(opened_.device, nullptr, 0));
    all.resize(oracle_->regions(opened_.device, all.data(), all.size()));
    return all;
  }

  // Everything that was wrong until now, a line each (the first 64); empty: nothing.
  std::string violations() const {
    std::string all;
    for (std::uint64_t i = 0;; ++i) {
      const char* const text = ledger_->violation(opened_.ordinal, i);
      if (text == nullptr) return all;
      all.append(text).append("\n");
    }
  }
  // Blocks, pieces, ranges, events and streams that are left, calls made, bytes.
  miniinfer_fake_ledger counts() const {
    miniinfer_fake_ledger counts{};
    counts.head = MINIINFER_HEAD(miniinfer_fake_ledger);
    ledger_->read(opened_.ordinal, &counts);
    return counts;
  }
  // What an allocator that is gone has left behind; empty: nothing.
  std::string leaks() const {
    const miniinfer_fake_ledger left = counts();
    std::string all;
    const auto tell = [&](std::uint64_t count, const char* what) {
      if (count != 0) all += std::to_string(count) + " " + what + " left\n";
    };
    tell(left.live_allocations, "blocks");
    tell(left.live_pieces, "pieces");
    tell(left.live_ranges, "ranges");
    tell(left.live_events, "events");
    tell(left.live_bytes, "bytes");
    return all;
  }

 private:
  static miniinfer_stream* raw(Stream stream) {
    return static_cast<miniinfer_stream*>(stream.handle);
  }
  static miniinfer_fake_use use(const Block& block, std::uint32_t writes) {
    return {{block.handle, block.offset}, block.bytes, writes, 0};
  }
  template <class Table>
  const Table* extension(const char* id) const {
    return static_cast<const Table*>(opened_.api->extension(opened_.device, id));
  }
  void destroy_stream(miniinfer_stream* stream) {
    if (stream == nullptr) return;
    {
      const std::lock_guard lock(mutex_);
      streams_.erase(stream);
    }
    opened_.api->stream->destroy(stream);
  }

  const detail::OracleHost::Opened opened_;
  const miniinfer_fake_oracle_api* const oracle_;
  const miniinfer_fake_ledger_api* const ledger_;
  DeviceRecord record_;
  const std::shared_ptr<PluginUpstream> upstream_;
  std::mutex mutex_;
  std::set<miniinfer_stream*> streams_;
};

}  // namespace miniinfer::testing
