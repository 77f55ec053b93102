#include <algorithm>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "miniinfer/abi/ext/draft/virtual_memory.h"
#include "tests/cuda/gpu_device.hpp"

using miniinfer::test::GpuDevice;
using miniinfer::test::GpuPlugin;

namespace {

constexpr std::uint64_t kMiB = 1u << 20;

std::uint64_t free_bytes(const miniinfer_allocator& memory) {
  std::uint64_t free = 0;
  std::uint64_t total = 0;
  REQUIRE_EQ(memory.info(memory.self, &free, &total), MINIINFER_OK);
  CHECK_LE(free, total);
  return free;
}

}  // namespace

TEST_CASE("every alignment that is asked for is met, in both kinds of memory") {
  GpuDevice gpu;
  for (const miniinfer_allocator& memory : {gpu.memory, gpu.pinned}) {
    CAPTURE(memory.kind);
    for (std::uint64_t alignment = 1; alignment <= 4 * kMiB; alignment *= 4) {
      std::vector<miniinfer_mem> blocks;
      for (const std::uint64_t bytes : {1ull, 100ull, 4096ull, 1000000ull}) {
        miniinfer_mem mem{};
        REQUIRE_EQ(memory.alloc(memory.self, bytes, alignment, nullptr, &mem), MINIINFER_OK);
        CHECK_EQ((mem.handle + mem.offset) % std::max(alignment, memory.min_alignment), 0);
        blocks.push_back(mem);
      }
      const std::uint64_t sizes[] = {1, 100, 4096, 1000000};
      for (std::size_t i = 0; i < blocks.size(); ++i) {
        memory.free(memory.self, blocks[i], sizes[i], nullptr);
      }
    }
  }
}

TEST_CASE("the host reaches pinned memory and not the device's") {
  GpuDevice gpu;
  const miniinfer_mem mem = gpu.alloc(64);
  CHECK_EQ(gpu.memory.host_pointer(gpu.memory.self, mem), nullptr);
  gpu.free(mem, 64);
  miniinfer_mem pinned{};
  REQUIRE_EQ(gpu.pinned.alloc(gpu.pinned.self, 64, 64, nullptr, &pinned), MINIINFER_OK);
  void* host = gpu.pinned.host_pointer(gpu.pinned.self, pinned);
  REQUIRE_NE(host, nullptr);
  std::memset(host, 1, 64);
  gpu.pinned.free(gpu.pinned.self, pinned, 64, nullptr);
}

TEST_CASE("memory that there is not is refused with what was asked for and what is free") {
  GpuDevice gpu;
  for (const std::uint64_t bytes : {std::uint64_t{1} << 50, std::uint64_t{1} << 62}) {
    miniinfer_mem mem{7, 7};
    CHECK_EQ(gpu.memory.alloc(gpu.memory.self, bytes, 64, nullptr, &mem), MINIINFER_OUT_OF_MEMORY);
    CHECK_EQ(mem.handle, 7);
    CHECK_NE(gpu.error().find(std::to_string(bytes)), std::string::npos);
    CHECK_NE(gpu.error().find("GiB free of"), std::string::npos);
  }
  miniinfer_mem mem{};
  CHECK_EQ(gpu.memory.alloc(gpu.memory.self, ~0ull - 100, 4096, nullptr, &mem),
           MINIINFER_OUT_OF_MEMORY);
}

TEST_CASE("a GPU that was filled works again once something is freed") {
  GpuDevice gpu;
  std::vector<std::pair<miniinfer_mem, std::uint64_t>> blocks;
  for (std::uint64_t bytes = std::uint64_t{64} << 30; bytes >= 2 * kMiB;) {
    miniinfer_mem mem{};
    if (gpu.memory.alloc(gpu.memory.self, bytes, 64, nullptr, &mem) == MINIINFER_OK) {
      blocks.emplace_back(mem, bytes);
    } else {
      bytes /= 2;
    }
  }
  miniinfer_mem mem{};
  CHECK_EQ(gpu.memory.alloc(gpu.memory.self, 64 * kMiB, 64, nullptr, &mem),
           MINIINFER_OUT_OF_MEMORY);
  for (const auto& [block, bytes] : blocks) gpu.free(block, bytes);
  // Nothing sticks: the next work is as good as any.
  miniinfer_stream* stream = gpu.make_stream();
  const miniinfer_mem after = gpu.alloc(64 * kMiB);
  CHECK_EQ(gpu.stream->fill(stream, after, 64 * kMiB, 5, 1), MINIINFER_OK);
  CHECK_EQ(gpu.stream->sync(stream), MINIINFER_OK);
  gpu.free(after, 64 * kMiB);
  gpu.stream->destroy(stream);
}

TEST_CASE("memory of the application is taken where it is this device's, and all of it") {
  GpuDevice gpu;
  const miniinfer_mem mem = gpu.alloc(kMiB);
  void* native = reinterpret_cast<void*>(mem.handle);
  miniinfer_mem taken{};
  CHECK_EQ(gpu.memory.import_native(gpu.memory.self, native, kMiB, &taken), MINIINFER_OK);
  CHECK_EQ(taken.handle + taken.offset, mem.handle);
  gpu.memory.release_native(gpu.memory.self, taken);
  CHECK_EQ(gpu.memory.import_native(gpu.memory.self, native, std::uint64_t{1} << 40, &taken),
           MINIINFER_INVALID_ARGUMENT);
  int on_host = 0;
  CHECK_EQ(gpu.memory.import_native(gpu.memory.self, &on_host, 4, &taken),
           MINIINFER_INVALID_ARGUMENT);
  CHECK_EQ(gpu.pinned.import_native(gpu.pinned.self, native, 4, &taken),
           MINIINFER_INVALID_ARGUMENT);
  gpu.free(mem, kMiB);
}

TEST_CASE("threads take and give back at one time") {
  GpuDevice gpu;
  const std::uint64_t before = free_bytes(gpu.memory);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 50; ++round) {
        miniinfer_mem mem{};
        const std::uint64_t bytes = (t + 1) * 100000;
        wrong[t] += gpu.memory.alloc(gpu.memory.self, bytes, 4096, nullptr, &mem);
        gpu.memory.free(gpu.memory.self, mem, bytes, nullptr);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(wrong, std::vector<int>(4));
  CHECK_LE(before - std::min(before, free_bytes(gpu.memory)), 64 * kMiB);
}

TEST_CASE("pieces are mapped, moved with their contents, and given back") {
  GpuDevice gpu;
  const auto* vm = static_cast<const miniinfer_virtual_memory*>(
      gpu.api->extension(gpu.device, MINIINFER_EXT_VIRTUAL_MEMORY));
  REQUIRE_NE(vm, nullptr);
  const std::uint64_t granule = vm->granularity(gpu.device);
  REQUIRE_GE(granule, 4096);
  REQUIRE_EQ(granule & (granule - 1), 0);
  const std::uint64_t before = free_bytes(gpu.memory);
  std::uint64_t range = 0;
  REQUIRE_EQ(vm->reserve(gpu.device, 8 * granule, &range), MINIINFER_OK);
  miniinfer_physical* pieces[2] = {};
  REQUIRE_EQ(vm->create(gpu.device, granule, &pieces[0]), MINIINFER_OK);
  REQUIRE_EQ(vm->create(gpu.device, 2 * granule, &pieces[1]), MINIINFER_OK);
  CHECK_LE(free_bytes(gpu.memory) + 3 * granule, before);
  REQUIRE_EQ(vm->map(gpu.device, range, pieces[0]), MINIINFER_OK);
  REQUIRE_EQ(vm->map(gpu.device, range + granule, pieces[1]), MINIINFER_OK);
  REQUIRE_EQ(vm->set_access(gpu.device, range, 3 * granule, MINIINFER_ACCESS_READ_WRITE),
             MINIINFER_OK);

  miniinfer_stream* stream = gpu.make_stream();
  std::vector<std::uint32_t> sent(3 * granule / 4);
  for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<std::uint32_t>(i * 7 + 1);
  REQUIRE_EQ(gpu.upload(stream, {range, 0}, sent), MINIINFER_OK);
  REQUIRE_EQ(gpu.stream->sync(stream), MINIINFER_OK);

  CHECK_NE(vm->unmap(gpu.device, range + granule, granule), MINIINFER_OK);  // half a piece
  REQUIRE_EQ(vm->unmap(gpu.device, range + granule, 2 * granule), MINIINFER_OK);
  REQUIRE_EQ(vm->map(gpu.device, range + 5 * granule, pieces[1]), MINIINFER_OK);
  REQUIRE_EQ(
      vm->set_access(gpu.device, range + 5 * granule, 2 * granule, MINIINFER_ACCESS_READ_WRITE),
      MINIINFER_OK);
  std::vector<std::uint32_t> got(2 * granule / 4);
  REQUIRE_EQ(gpu.download(stream, got, {range, 5 * granule}), MINIINFER_OK);
  REQUIRE_EQ(gpu.stream->sync(stream), MINIINFER_OK);
  CHECK(
      std::equal(got.begin(), got.end(), sent.begin() + static_cast<std::ptrdiff_t>(granule / 4)));

  REQUIRE_EQ(vm->unmap(gpu.device, range, granule), MINIINFER_OK);
  REQUIRE_EQ(vm->unmap(gpu.device, range + 5 * granule, 2 * granule), MINIINFER_OK);
  for (miniinfer_physical* piece : pieces) vm->destroy(gpu.device, piece);
  vm->release(gpu.device, range, 8 * granule);
  CHECK_LE(before, free_bytes(gpu.memory) + granule);
  miniinfer_physical* none = nullptr;
  CHECK_EQ(vm->create(gpu.device, std::uint64_t{1} << 45, &none), MINIINFER_OUT_OF_MEMORY);
  gpu.stream->destroy(stream);
}
