#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "miniinfer/abi/ext/draft/peer_copy.h"
#include "tests/cuda/gpu_device.hpp"

using miniinfer::test::GpuDevice;

namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes counting(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<std::uint8_t>(i * 2654435761u >> 24);
  return bytes;
}

}  // namespace

TEST_CASE("bytes survive the way there, within and back, in any size and place") {
  GpuDevice gpu;
  miniinfer_stream* stream = gpu.make_stream();
  // Around the border of staging, its halves, and more than both.
  for (const std::size_t size :
       {1u, 63u, 65536u, 65537u, 4u << 20, (4u << 20) + 1, (19u << 20) + 3}) {
    CAPTURE(size);
    const Bytes in = counting(size);
    Bytes out(size);
    const miniinfer_mem a = gpu.alloc(size + 3);
    const miniinfer_mem b = gpu.alloc(size + 5);
    CHECK_EQ(gpu.upload(stream, {a.handle, 3}, in), MINIINFER_OK);
    CHECK_EQ(gpu.stream->copy(stream, MINIINFER_COPY_DEVICE_TO_DEVICE, {b.handle, 5}, {a.handle, 3},
                              size),
             MINIINFER_OK);
    CHECK_EQ(gpu.download(stream, out, {b.handle, 5}), MINIINFER_OK);
    CHECK_EQ(gpu.stream->sync(stream), MINIINFER_OK);
    CHECK(in == out);
    gpu.free(a, size + 3);
    gpu.free(b, size + 5);
  }
  gpu.stream->destroy(stream);
}

TEST_CASE("a large upload has read the host's memory when it returns or when the stream is done") {
  GpuDevice gpu;
  miniinfer_stream* stream = gpu.make_stream();
  const std::size_t size = 64u << 20;
  const Bytes in = counting(size);
  const miniinfer_mem mem = gpu.alloc(size);
  for (int round = 0; round < 3; ++round) CHECK_EQ(gpu.upload(stream, mem, in), MINIINFER_OK);
  CHECK_EQ(gpu.stream->sync(stream), MINIINFER_OK);
  Bytes out(size);
  CHECK_EQ(gpu.download(stream, out, mem), MINIINFER_OK);
  CHECK_EQ(gpu.stream->sync(stream), MINIINFER_OK);
  CHECK(in == out);
  gpu.free(mem, size);
  gpu.stream->destroy(stream);
}

TEST_CASE("fills repeat a pattern of 1, 2, 4 or 8 bytes from any place, and touch nothing else") {
  GpuDevice gpu;
  miniinfer_stream* stream = gpu.make_stream();
  const std::size_t room = 5000;
  const miniinfer_mem mem = gpu.alloc(room);
  const std::uint64_t pattern = 0x8877665544332211;
  for (const std::uint32_t width : {1u, 2u, 4u, 8u}) {
    for (const std::size_t count : {1u, 2u, 3u, 15u, 17u, 511u}) {
      for (std::size_t offset = 0; offset < 17; ++offset) {
        const std::size_t bytes = count * width;
        Bytes want(room, 0xEE);
        for (std::size_t i = 0; i < bytes; ++i) {
          want[offset + i] = static_cast<std::uint8_t>(pattern >> (i % width * 8));
        }
        Bytes got(room);
        CHECK_EQ(gpu.stream->fill(stream, mem, room, 0xEE, 1), MINIINFER_OK);
        CHECK_EQ(gpu.stream->fill(stream, {mem.handle, offset}, bytes, pattern, width),
                 MINIINFER_OK);
        CHECK_EQ(gpu.download(stream, got, mem), MINIINFER_OK);
        CHECK_EQ(gpu.stream->sync(stream), MINIINFER_OK);
        if (got != want) FAIL_CHECK("width ", width, " count ", count, " offset ", offset);
      }
    }
  }
  CHECK_EQ(gpu.stream->fill(stream, mem, 4, 0, 3), MINIINFER_INVALID_ARGUMENT);
  CHECK_EQ(gpu.stream->fill(stream, mem, 3, 0, 2), MINIINFER_INVALID_ARGUMENT);
  gpu.free(mem, room);
  gpu.stream->destroy(stream);
}

TEST_CASE("a fill of more than one sweep fills all") {
  GpuDevice gpu;
  miniinfer_stream* stream = gpu.make_stream();
  const std::size_t words = (100u << 20) / 4 + 1;
  const miniinfer_mem mem = gpu.alloc(words * 4);
  CHECK_EQ(gpu.stream->fill(stream, mem, words * 4, 0x12345678, 4), MINIINFER_OK);
  std::vector<std::uint32_t> out(words);
  CHECK_EQ(gpu.download(stream, out, mem), MINIINFER_OK);
  CHECK_EQ(gpu.stream->sync(stream), MINIINFER_OK);
  CHECK_EQ(std::count(out.begin(), out.end(), 0x12345678u), words);
  gpu.free(mem, words * 4);
  gpu.stream->destroy(stream);
}

TEST_CASE("an event orders two streams, is done when its work is, and measures time") {
  GpuDevice gpu;
  miniinfer_stream* a = gpu.make_stream();
  miniinfer_stream* b = gpu.make_stream(1);
  miniinfer_event* begin = gpu.make_event();
  miniinfer_event* end = gpu.make_event();
  const std::size_t size = 256u << 20;
  const miniinfer_mem mem = gpu.alloc(size);
  std::uint32_t done = 0;
  CHECK_EQ(gpu.stream->event_query(begin, &done), MINIINFER_OK);
  CHECK_EQ(done, 1);  // never recorded
  for (std::uint8_t round = 1; round < 20; ++round) {
    CHECK_EQ(gpu.stream->event_record(begin, a), MINIINFER_OK);
    for (int i = 0; i < 10; ++i) gpu.stream->fill(a, mem, size, 0, 1);
    CHECK_EQ(gpu.stream->fill(a, mem, size, round, 1), MINIINFER_OK);
    CHECK_EQ(gpu.stream->event_record(end, a), MINIINFER_OK);
    CHECK_EQ(gpu.stream->event_wait(end, b), MINIINFER_OK);
    Bytes out(16);
    CHECK_EQ(gpu.download(b, out, {mem.handle, size - 16}), MINIINFER_OK);
    CHECK_EQ(gpu.stream->sync(b), MINIINFER_OK);
    CHECK_EQ(out, Bytes(16, round));
  }
  CHECK_EQ(gpu.stream->event_sync(end), MINIINFER_OK);
  CHECK_EQ(gpu.stream->event_query(end, &done), MINIINFER_OK);
  CHECK_EQ(done, 1);
  std::uint64_t ns = 0;
  REQUIRE(static_cast<bool>(gpu.stream->event_elapsed));
  CHECK_EQ(gpu.stream->event_elapsed(begin, end, &ns), MINIINFER_OK);
  CHECK_GT(ns, 100000);  // 2.75 GiB at less than 27 TB/s
  CHECK_LT(ns, 1000000000);
  gpu.stream->event_destroy(begin);
  gpu.stream->event_destroy(end);
  gpu.stream->destroy(a);
  gpu.stream->destroy(b);
  gpu.free(mem, size);
}

TEST_CASE("a stream of the application is worked on and left alive; the default ones are refused") {
  GpuDevice gpu;
  miniinfer_stream* owner = gpu.make_stream();
  void* native = gpu.stream->native(owner);
  REQUIRE(native != nullptr);
  miniinfer_stream* guest = gpu.make_stream(0, native);
  const miniinfer_mem mem = gpu.alloc(4);
  CHECK_EQ(gpu.stream->fill(guest, mem, 4, 9, 1), MINIINFER_OK);
  gpu.stream->destroy(guest);
  Bytes out(4);
  CHECK_EQ(gpu.download(owner, out, mem), MINIINFER_OK);
  CHECK_EQ(gpu.stream->sync(owner), MINIINFER_OK);
  CHECK_EQ(out, Bytes(4, 9));
  for (const std::uintptr_t legacy : {1u, 2u}) {
    miniinfer_stream* none = nullptr;
    CHECK_EQ(gpu.stream->create(gpu.device, 0, reinterpret_cast<void*>(legacy), &none),
             MINIINFER_INVALID_ARGUMENT);
  }
  gpu.free(mem, 4);
  gpu.stream->destroy(owner);
}

TEST_CASE("what was captured gives what ran eagerly, as often as it is launched") {
  GpuDevice gpu;
  const auto* capture = static_cast<const miniinfer_graph_capture*>(
      gpu.api->extension(gpu.device, MINIINFER_EXT_GRAPH_CAPTURE));
  REQUIRE(capture != nullptr);
  miniinfer_stream* stream = gpu.make_stream();
  const std::size_t size = 1u << 20;
  const miniinfer_mem a = gpu.alloc(size);
  const miniinfer_mem b = gpu.alloc(size);
  const auto work = [&] {
    CHECK_EQ(gpu.stream->copy(stream, MINIINFER_COPY_DEVICE_TO_DEVICE, b, a, size), MINIINFER_OK);
    CHECK_EQ(gpu.stream->fill(stream, {b.handle, 100}, 800, 0x0102030405060708, 8), MINIINFER_OK);
    CHECK_EQ(gpu.stream->fill(stream, {b.handle, 4096}, 4096, 0, 1), MINIINFER_OK);
  };
  const auto read = [&] {
    Bytes out(size);
    CHECK_EQ(gpu.download(stream, out, b), MINIINFER_OK);
    CHECK_EQ(gpu.stream->sync(stream), MINIINFER_OK);
    return out;
  };
  const Bytes in = counting(size);
  CHECK_EQ(gpu.upload(stream, a, in), MINIINFER_OK);
  work();
  const Bytes eager = read();
  CHECK_EQ(gpu.stream->fill(stream, b, size, 0xAB, 1), MINIINFER_OK);
  CHECK_EQ(gpu.stream->sync(stream), MINIINFER_OK);

  miniinfer_graph* graph = nullptr;
  REQUIRE_EQ(capture->begin(stream), MINIINFER_OK);
  work();
  REQUIRE_EQ(capture->end(stream, &graph), MINIINFER_OK);
  CHECK(read() == Bytes(size, 0xAB));  // recorded, not run
  for (int round = 0; round < 3; ++round) {
    CHECK_EQ(gpu.stream->fill(stream, b, size, 0xAB, 1), MINIINFER_OK);
    CHECK_EQ(capture->launch(graph, stream), MINIINFER_OK);
    CHECK(read() == eager);
  }
  capture->destroy(graph);

  // What waits cannot be recorded: the capture fails, and the stream is as before.
  REQUIRE_EQ(capture->begin(stream), MINIINFER_OK);
  CHECK_NE(gpu.stream->sync(stream), MINIINFER_OK);
  miniinfer_graph* none = nullptr;
  CHECK_EQ(capture->end(stream, &none), MINIINFER_UNSUPPORTED);
  work();
  CHECK(read() == eager);
  gpu.free(a, size);
  gpu.free(b, size);
  gpu.stream->destroy(stream);
}

TEST_CASE("a peer copy with both ends on one GPU comes between what is on both streams") {
  GpuDevice gpu;
  const auto* peer = static_cast<const miniinfer_peer_copy*>(
      gpu.api->extension(gpu.device, MINIINFER_EXT_PEER_COPY));
  REQUIRE(peer != nullptr);
  REQUIRE_EQ(peer->can(gpu.device, gpu.device), 1u);
  constexpr std::size_t kCount = 4u << 20;
  const miniinfer_mem src = gpu.alloc(kCount * 4), dst = gpu.alloc(kCount * 4);
  miniinfer_stream* from = gpu.make_stream();
  miniinfer_stream* to = gpu.make_stream();
  std::vector<std::uint32_t> out(kCount);
  for (std::uint32_t round = 1; round < 50; ++round) {
    REQUIRE_EQ(gpu.stream->fill(from, src, kCount * 4, round, 4), MINIINFER_OK);
    REQUIRE_EQ(peer->enqueue(to, dst, from, src, kCount * 4), MINIINFER_OK);
    // Were it not to wait for the copy, it would overtake it.
    REQUIRE_EQ(gpu.stream->fill(from, src, kCount * 4, 0, 4), MINIINFER_OK);
    REQUIRE_EQ(gpu.download(to, out, dst), MINIINFER_OK);
    REQUIRE_EQ(gpu.stream->sync(to), MINIINFER_OK);
    CHECK_EQ(std::count(out.begin(), out.end(), round), kCount);
  }
  CHECK_EQ(peer->enqueue(to, dst, to, src, 4), MINIINFER_OK);
  CHECK_EQ(gpu.stream->sync(to), MINIINFER_OK);
  gpu.stream->destroy(from);
  gpu.stream->destroy(to);
  gpu.free(src, kCount * 4);
  gpu.free(dst, kCount * 4);
}
