#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/cuda/gpu_device.hpp"
#include "tests/cuda/own_process.hpp"

using miniinfer::test::GpuDevice;
using miniinfer::test::GpuPlugin;

namespace {

std::uint64_t free_bytes(GpuDevice& gpu) {
  std::uint64_t free = 0;
  std::uint64_t total = 0;
  REQUIRE_EQ(gpu.memory.info(gpu.memory.self, &free, &total), MINIINFER_OK);
  return free;
}

std::uint64_t resident_bytes() {
  std::uint64_t pages = 0;
  if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%*u %lu", &pages) != 1) pages = 0;
    std::fclose(file);
  }
  return pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

std::string own_process(const char* test) {
  return miniinfer::test::own_process(test, "'--plugin=" + GpuPlugin::instance().file + "'");
}

int in_own_process(const char* test) { return miniinfer::test::run_process(own_process(test)); }

double milliseconds(const std::function<void()>& body) {
  const auto begin = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
      .count();
}

void use(GpuDevice& gpu) {
  miniinfer_stream* stream = gpu.make_stream();
  miniinfer_event* event = gpu.make_event();
  const miniinfer_mem mem = gpu.alloc(1u << 20);
  const std::vector<std::uint8_t> in(1u << 20, 3);
  std::vector<std::uint8_t> out(1u << 20);
  CHECK_EQ(gpu.upload(stream, mem, in), MINIINFER_OK);
  CHECK_EQ(gpu.stream->event_record(event, stream), MINIINFER_OK);
  CHECK_EQ(gpu.download(stream, out, mem), MINIINFER_OK);
  CHECK_EQ(gpu.stream->sync(stream), MINIINFER_OK);
  CHECK(in == out);
  gpu.free(mem, 1u << 20);
  gpu.stream->event_destroy(event);
  gpu.stream->destroy(stream);
}

}  // namespace

TEST_CASE("opening tells what probing could not know, and keeps what it did") {
  GpuDevice gpu;
  const miniinfer_device_info& probed = GpuPlugin::instance().infos[0];
  miniinfer_device_info info{};
  info.head = MINIINFER_HEAD(miniinfer_device_info);
  REQUIRE_EQ(gpu.api->info(gpu.device, &info), MINIINFER_OK);
  std::printf("opened: %s, %s, %.1f GiB\n", info.name, info.bus_id,
              static_cast<double>(info.memory_bytes) / (1u << 30));
  CHECK_GT(info.memory_bytes, std::uint64_t{1} << 30);
  CHECK_NE(std::string(info.bus_id), "");
  CHECK_EQ(std::string(info.stable_id), probed.stable_id);
  if (probed.bus_id[0] != '\0') CHECK_EQ(std::string(info.bus_id), probed.bus_id);
}

TEST_CASE("a device that is not there is unavailable, and the reason says so") {
  GpuPlugin& loaded = GpuPlugin::instance();
  miniinfer_device* device = nullptr;
  const miniinfer_device_api* api = nullptr;
  miniinfer_device_info info = loaded.infos[0];
  std::snprintf(info.bus_id, sizeof info.bus_id, "ffff:fe:1d.0");
  CHECK_EQ(loaded.api->device_open(loaded.plugin, 0, &info, &device, &api), MINIINFER_UNAVAILABLE);
  CHECK_NE(loaded.host.error.find("ffff:fe:1d.0"), std::string::npos);
  info.bus_id[0] = '\0';
  CHECK_EQ(loaded.api->device_open(loaded.plugin, 63, &info, &device, &api), MINIINFER_UNAVAILABLE);
}

TEST_CASE("a hundred times open and close leave nothing behind") {
  std::uint64_t free_after_one = 0;
  std::uint64_t resident_after_one = 0;
  for (int round = 0; round < 100; ++round) {
    GpuDevice gpu;
    use(gpu);
    if (round == 4) {
      free_after_one = free_bytes(gpu);
      resident_after_one = resident_bytes();
    }
    if (round == 99) {
      CHECK_GE(free_bytes(gpu) + (4u << 20), free_after_one);
      CHECK_LE(resident_bytes(), resident_after_one + (8u << 20));
    }
  }
}

TEST_CASE("two contexts on two threads do not disturb each other") {
  GpuDevice a;
  GpuDevice b;
  std::vector<std::thread> threads;
  for (GpuDevice* gpu : {&a, &b}) {
    threads.emplace_back([gpu] {
      for (int round = 0; round < 50; ++round) use(*gpu);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_CASE("own process: hold all memory" * doctest::skip()) {
  GpuDevice gpu;
  for (std::uint64_t bytes = std::uint64_t{64} << 30; bytes >= 2u << 20;) {
    miniinfer_mem mem{};
    if (gpu.memory.alloc(gpu.memory.self, bytes, 64, nullptr, &mem) != MINIINFER_OK) bytes /= 2;
  }
  std::printf("holding %d\n", static_cast<int>(getpid()));
  std::fflush(stdout);
  while (true) pause();
}

TEST_CASE("memory that another process took is missed, and there again when that has gone") {
  GpuDevice gpu;
  constexpr std::uint64_t kBytes = 512u << 20;
  std::FILE* other = popen(own_process("own process: hold all memory").c_str(), "r");
  REQUIRE_NE(other, nullptr);
  int pid = 0;
  for (char line[256]; pid == 0 && std::fgets(line, sizeof line, other) != nullptr;) {
    if (std::sscanf(line, "holding %d", &pid) != 1) pid = 0;
  }
  REQUIRE_NE(pid, 0);
  miniinfer_mem mem{};
  CHECK_EQ(gpu.memory.alloc(gpu.memory.self, kBytes, 64, nullptr, &mem), MINIINFER_OUT_OF_MEMORY);
  std::printf("missed: %s\n", gpu.error().c_str());
  kill(pid, SIGKILL);
  pclose(other);
  miniinfer_code code = MINIINFER_OUT_OF_MEMORY;
  for (int tries = 0; tries < 100 && code == MINIINFER_OUT_OF_MEMORY; ++tries) {
    code = gpu.memory.alloc(gpu.memory.self, kBytes, 64, nullptr, &mem);
    if (code != MINIINFER_OK) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  REQUIRE_EQ(code, MINIINFER_OK);
  gpu.free(mem, kBytes);
  use(gpu);
}

TEST_CASE("a fork after the device was opened: the child gets an error, the parent goes on") {
  GpuDevice gpu;
  miniinfer_stream* stream = gpu.make_stream();
  const miniinfer_mem mem = gpu.alloc(64);
  const pid_t child = fork();
  if (child == 0) {
    bool right = gpu.stream->fill(stream, mem, 64, 0, 1) == MINIINFER_FAILED_PRECONDITION;
    right = right && gpu.error().find("forked") != std::string::npos;
    gpu.free(mem, 64);
    gpu.stream->destroy(stream);
    gpu.close();
    _exit(right ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), 0);
  CHECK_EQ(gpu.stream->fill(stream, mem, 64, 0, 1), MINIINFER_OK);
  CHECK_EQ(gpu.stream->sync(stream), MINIINFER_OK);
  gpu.free(mem, 64);
  gpu.stream->destroy(stream);
}

TEST_CASE("own process: a fault" * doctest::skip()) {
  GpuDevice gpu;
  miniinfer_stream* stream = gpu.make_stream();
  miniinfer_event* event = gpu.make_event();
  const miniinfer_mem mem = gpu.alloc(64);
  // A kernel writes where nothing is.
  CHECK_EQ(gpu.stream->fill(stream, {0x1000, 0}, 1u << 20, 0x01020304, 4), MINIINFER_OK);
  CHECK_EQ(gpu.stream->sync(stream), MINIINFER_DEVICE_LOST);
  std::printf("lost: %s\n", gpu.error().c_str());
  CHECK_NE(gpu.error().find("700"), std::string::npos);
  const double later = milliseconds([&] {
    miniinfer_mem none{};
    std::uint32_t done = 0;
    CHECK_EQ(gpu.stream->sync(stream), MINIINFER_DEVICE_LOST);
    CHECK_EQ(gpu.stream->fill(stream, mem, 64, 0, 1), MINIINFER_DEVICE_LOST);
    CHECK_EQ(gpu.stream->event_query(event, &done), MINIINFER_DEVICE_LOST);
    CHECK_EQ(gpu.memory.alloc(gpu.memory.self, 64, 64, nullptr, &none), MINIINFER_DEVICE_LOST);
    CHECK_EQ(gpu.api->sync(gpu.device), MINIINFER_DEVICE_LOST);
  });
  CHECK_LT(later, 5.0);
  CHECK_NE(gpu.error().find("is lost"), std::string::npos);
  const double closing = milliseconds([&] {
    gpu.free(mem, 64);
    gpu.stream->event_destroy(event);
    gpu.stream->destroy(stream);
    gpu.close();
  });
  CHECK_LT(closing, 5.0);
}

TEST_CASE("a fault loses the device, later calls say so at once, and everything can be destroyed") {
  CHECK_EQ(in_own_process("own process: a fault"), 0);
}

namespace {

struct AtExit {
  ~AtExit() {
    if (gpu == nullptr) return;
    gpu->stream->destroy(stream);
    gpu->free(mem, 64);
    delete gpu;
  }
  GpuDevice* gpu = nullptr;
  miniinfer_stream* stream = nullptr;
  miniinfer_mem mem{};
} at_exit;  // destroyed after main has ended

}  // namespace

TEST_CASE("own process: exit" * doctest::skip()) {
  at_exit.gpu = new GpuDevice;
  at_exit.stream = at_exit.gpu->make_stream();
  at_exit.mem = at_exit.gpu->alloc(64);
}

TEST_CASE("own process: exit from another thread" * doctest::skip()) {
  auto& gpu = *new GpuDevice;
  miniinfer_stream* stream = gpu.make_stream();
  const miniinfer_mem mem = gpu.alloc(64);
  std::thread([] { std::exit(0); }).detach();
  while (true) static_cast<void>(gpu.stream->fill(stream, mem, 64, 1, 1));
}

TEST_CASE("a process ends well with a device open, from main and from another thread") {
  CHECK_EQ(in_own_process("own process: exit"), 0);
  CHECK_EQ(in_own_process("own process: exit from another thread"), 0);
}
