#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/base/log.hpp"
#include "core/device/device_record.hpp"
#include "core/device/file_cache.hpp"
#include "core/device/host_services.hpp"
#include "core/device/host_table.hpp"
#include "tests/device/fake_backend.hpp"

namespace miniinfer {
namespace {

using test::Fake;

struct Line {
  int level;
  std::string component, text;
};

// The process is configured once; what the first configuration says holds.
struct World {
  std::filesystem::path folder;
  std::vector<Line> lines;

  World() {
    char name[] = "/tmp/miniinfer-test-XXXXXX";
    folder = ::mkdtemp(name);
    HostSettings settings;
    settings.log = [this](int level, std::string_view component, std::string_view text) {
      lines.push_back({level, std::string(component), std::string(text)});
    };
    settings.level = MINIINFER_LOG_WARN;
    settings.threads = 2;
    settings.cache = folder;
    settings.options = {{"alpha.mode", "fast"}, {"beta.mode", "slow"}};
    configure_host(settings);
  }
  ~World() { std::filesystem::remove_all(folder); }
};

World& world() {
  static World instance;
  return instance;
}

miniinfer_allocator allocator_table() {
  miniinfer_allocator table{};
  table.head = MINIINFER_HEAD(miniinfer_allocator);
  table.min_alignment = 64;
  table.alloc = [](void*, std::uint64_t, std::uint64_t, miniinfer_stream*,
                   miniinfer_mem*) -> miniinfer_code { return MINIINFER_OUT_OF_MEMORY; };
  table.free = [](void*, miniinfer_mem, std::uint64_t, miniinfer_stream*) {};
  return table;
}

}  // namespace

TEST_CASE("log lines carry the plugin's name, are printable and obey the level") {
  World& w = world();
  HostTable alpha("alpha");
  const miniinfer_host* host = alpha.table();
  w.lines.clear();
  host->log(host, MINIINFER_LOG_INFO, "too fine");
  host->log(host, MINIINFER_LOG_WARN, "a\x1b[31mb");
  host->log(host, 99, nullptr);
  CHECK(host->log_level(host) == MINIINFER_LOG_WARN);
  REQUIRE(w.lines.size() == 2);
  CHECK(w.lines[0].component == "alpha");
  CHECK(w.lines[0].text == "a\\x1b[31mb");
  CHECK(w.lines[1].level == MINIINFER_LOG_ERROR);
}

TEST_CASE("options are each plugin's own") {
  world();
  HostTable alpha("alpha"), beta("beta");
  CHECK(std::string(alpha.table()->option(alpha.table(), "mode")) == "fast");
  CHECK(std::string(beta.table()->option(beta.table(), "mode")) == "slow");
  CHECK(alpha.table()->option(alpha.table(), "none") == nullptr);
  CHECK(alpha.table()->option(alpha.table(), nullptr) == nullptr);
  HostSettings later;
  later.threads = 7;
  later.options = {{"alpha.none", "1"}};
  configure_host(later);
  CHECK(alpha.table()->option(alpha.table(), "none") == nullptr);
  CHECK(alpha.table()->thread_count(alpha.table()) == 2);
}

TEST_CASE("an error text belongs to its thread and is taken once") {
  HostTable alpha("alpha");
  const miniinfer_host* host = alpha.table();
  host->set_error(host, "first");
  host->set_error(host, "second");
  CHECK(take_error_text() == "second");
  CHECK(take_error_text().empty());
  host->set_error(host, nullptr);
  CHECK(take_error_text().empty());
  host->set_error(host, std::string(100000, 'x').c_str());
  CHECK(take_error_text().size() == 4096);
}

TEST_CASE("parallel_for covers each item once") {
  world();
  HostTable alpha("alpha");
  const miniinfer_host* host = alpha.table();
  std::vector<std::atomic<int>> hits(1000);
  const auto body = [](void* context, std::uint64_t begin, std::uint64_t end,
                       std::uint32_t) -> miniinfer_code {
    auto& all = *static_cast<std::vector<std::atomic<int>>*>(context);
    for (std::uint64_t i = begin; i < end; ++i) all[i].fetch_add(1);
    return MINIINFER_OK;
  };
  CHECK(host->parallel_for(host, hits.size(), 7, 0, body, &hits) == MINIINFER_OK);
  for (const auto& hit : hits) CHECK(hit.load() == 1);
  CHECK(host->parallel_for(host, 0, 1, 0, body, &hits) == MINIINFER_OK);
  CHECK(host->parallel_for(host, 1, 1, 0, nullptr, nullptr) == MINIINFER_INVALID_ARGUMENT);
  CHECK(take_error_text().find("body") != std::string::npos);
}

TEST_CASE("a failing piece gives the loop its code and the caller its text") {
  world();
  HostTable alpha("alpha");
  const miniinfer_host* host = alpha.table();
  const auto body = [](void* context, std::uint64_t begin, std::uint64_t end,
                       std::uint32_t) -> miniinfer_code {
    if (begin > 900 || end <= 900) return MINIINFER_OK;
    const auto* table = static_cast<const miniinfer_host*>(context);
    table->set_error(table, "item 900 is odd");
    return MINIINFER_LIMIT_EXCEEDED;
  };
  const miniinfer_code code =
      host->parallel_for(host, 1000, 10, 0, body, const_cast<miniinfer_host*>(host));
  CHECK(code == MINIINFER_LIMIT_EXCEEDED);
  CHECK(take_error_text() == "item 900 is odd");
}

TEST_CASE("cache entries are each plugin's own, and sizes are told first") {
  world();
  HostTable alpha("alpha"), beta("beta");
  const miniinfer_host* a = alpha.table();
  const miniinfer_host* b = beta.table();
  const std::string data = "compiled";
  REQUIRE(a->cache_write(a, "kernel 1", data.data(), data.size()) == MINIINFER_OK);
  std::uint64_t bytes = 0;
  CHECK(b->cache_read(b, "kernel 1", nullptr, &bytes) == MINIINFER_NOT_FOUND);
  CHECK(a->cache_read(a, "kernel 2", nullptr, &bytes) == MINIINFER_NOT_FOUND);
  CHECK(a->cache_read(a, "kernel 1", nullptr, &bytes) == MINIINFER_OK);
  CHECK(bytes == 8);
  char out[9] = "--------";
  bytes = 7;
  CHECK(a->cache_read(a, "kernel 1", out, &bytes) == MINIINFER_OK);
  CHECK(bytes == 8);
  CHECK(std::string(out) == "--------");  // no room: untouched
  CHECK(a->cache_read(a, "kernel 1", out, &bytes) == MINIINFER_OK);
  CHECK(std::string(out) == data);
  CHECK(a->cache_read(a, "kernel 1", out, nullptr) == MINIINFER_INVALID_ARGUMENT);
  CHECK(a->cache_write(a, "kernel 1", nullptr, 4) == MINIINFER_INVALID_ARGUMENT);
}

TEST_CASE("a damaged cache file is no entry") {
  const FileCache cache(world().folder / "damage");
  const std::string key = "key", data(100, 'd');
  REQUIRE(cache.write(key, std::as_bytes(std::span(data))).ok());
  const auto file = std::filesystem::directory_iterator(world().folder / "damage")->path();
  CHECK(cache.read(key)->size() == 100);
  const auto size = std::filesystem::file_size(file);
  for (std::uintmax_t at = 0; at < size; at += 5) {
    CAPTURE(at);
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(static_cast<std::streamoff>(at));
    const char old = static_cast<char>(stream.get());
    stream.seekp(static_cast<std::streamoff>(at));
    stream.put(static_cast<char>(old ^ 0x40)).flush();
    CHECK(cache.read(key).status().code() == Code::NotFound);
    stream.seekp(static_cast<std::streamoff>(at));
    stream.put(old).flush();
  }
  CHECK(cache.read(key).ok());
  std::filesystem::resize_file(file, size - 1);
  CHECK(cache.read(key).status().code() == Code::NotFound);
  CHECK(cache.write("", {}).code() == Code::LimitExceeded);
  CHECK(cache.write(key, {}).ok());
  CHECK(cache.read(key)->empty());
}

TEST_CASE("allocators are taken only while their device is being opened") {
  HostTable alpha("alpha");
  const miniinfer_host* host = alpha.table();
  miniinfer_allocator table = allocator_table();
  CHECK(host->register_allocator(host, 0, &table) == MINIINFER_FAILED_PRECONDITION);
  CHECK(take_error_text().find("alpha:0") != std::string::npos);
  alpha.begin_open(1);
  CHECK(host->register_allocator(host, 0, &table) == MINIINFER_FAILED_PRECONDITION);
  CHECK(host->register_allocator(host, 1, nullptr) == MINIINFER_INVALID_ARGUMENT);
  CHECK(host->register_allocator(host, 1, &table) == MINIINFER_OK);
  CHECK(host->register_allocator(host, 1, &table) == MINIINFER_INVALID_ARGUMENT);
  table.kind = 9;
  CHECK(host->register_allocator(host, 1, &table) == MINIINFER_INVALID_ARGUMENT);
  table.kind = MINIINFER_MEMORY_PINNED;
  table.min_alignment = 48;
  CHECK(host->register_allocator(host, 1, &table) == MINIINFER_INVALID_ARGUMENT);
  table.min_alignment = 64;
  table.head.size = offsetof(miniinfer_allocator, free);
  CHECK(host->register_allocator(host, 1, &table) == MINIINFER_INVALID_ARGUMENT);
  table.head.size = offsetof(miniinfer_allocator, info);  // as an older plugin would have it
  table.info = reinterpret_cast<decltype(table.info)>(1);
  CHECK(host->register_allocator(host, 1, &table) == MINIINFER_OK);
  const std::vector<miniinfer_allocator> taken = alpha.end_open();
  REQUIRE(taken.size() == 2);
  CHECK(taken[1].kind == MINIINFER_MEMORY_PINNED);
  CHECK((taken[1].info == nullptr));
  CHECK(host->register_allocator(host, 1, &table) == MINIINFER_FAILED_PRECONDITION);
  take_error_text();
}

TEST_CASE("a forked child may use the host, not devices opened before") {
  world();
  using F = Fake<80>;
  REQUIRE(F::add().ok());
  HostTable alpha("alpha");
  const miniinfer_host* host = alpha.table();
  std::uint64_t sum = 0;
  const auto body = [](void* context, std::uint64_t begin, std::uint64_t end,
                       std::uint32_t) -> miniinfer_code {
    for (std::uint64_t i = begin; i < end; ++i) {
      std::atomic_ref(*static_cast<std::uint64_t*>(context)) += i;
    }
    return MINIINFER_OK;
  };
  REQUIRE(host->parallel_for(host, 100, 1, 0, body, &sum) == MINIINFER_OK);
  // Built-in backends survive fork; this record is told that its own does not.
  DeviceRecord& record = record_of(F::device());
  const OpenDevicePtr open = BackendRegistry::instance().open(F::device()).value();
  record.set_opened(open, false);
  CHECK(open->ready().ok());

  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    int wrong = 0;
    wrong |= Device().memory().ok() ? 0 : 1;
    wrong |= open->ready().code() == Code::FailedPrecondition ? 0 : 2;
    wrong |= F::device().open().code() == Code::FailedPrecondition ? 0 : 4;
    wrong |=
        open->allocator->allocate({.bytes = 8}).status().code() == Code::FailedPrecondition ? 0 : 8;
    std::uint64_t again = 0;
    wrong |=
        host->parallel_for(host, 100, 1, 0, body, &again) == MINIINFER_OK && again == sum ? 0 : 16;
    ::_exit(wrong);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(open->ready().ok());  // the parent goes on
  record.set_opened(open, true);
}

}  // namespace miniinfer
