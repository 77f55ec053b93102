// Copies from device to device: their order, their races, and failures on either side.

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "miniinfer/abi/ext/draft/peer_copy.h"
#include "tests/fake/fake_device.hpp"

using miniinfer::test::FakeDevice;

namespace {

using Bytes = std::vector<std::uint8_t>;

// fake:0 and fake:1, each with a stream and a block of 4 bytes.
struct Pair {
  explicit Pair(const std::string& plan_of_source = "", const std::string& plan_of_target = "",
                unsigned seed = 0)
      : source(plan_of_source, "1048576", seed) {
    source.host.options["devices"] = "2";
    source.host.options["plan"] = plan_of_target;
    REQUIRE_EQ(source.plugin_api->device_open(source.plugin, 1, &source.info, &target, &api),
               MINIINFER_OK);
    memory = source.host.allocators.back();
    peer = static_cast<const miniinfer_peer_copy*>(api->extension(target, MINIINFER_EXT_PEER_COPY));
    REQUIRE(peer != nullptr);
    CHECK_EQ(peer->can(target, source.device), 1u);
    from = source.make_stream();
    src = source.alloc(4);
    REQUIRE_EQ(source.stream->create(target, 0, nullptr, &to), MINIINFER_OK);
    REQUIRE_EQ(memory.alloc(memory.self, 4, 64, nullptr, &dst), MINIINFER_OK);
  }
  ~Pair() {
    source.stream->destroy(from);
    source.stream->destroy(to);
    source.free(src, 4);
    memory.free(memory.self, dst, 4, nullptr);
    api->close(target);
  }

  miniinfer_code copy() { return peer->enqueue(to, dst, from, src, 4); }
  Bytes target_bytes() {
    Bytes out(4);
    REQUIRE_EQ(source.download(to, out, dst), MINIINFER_OK);
    REQUIRE_EQ(source.stream->sync(to), MINIINFER_OK);
    return out;
  }
  std::uint64_t violations(std::uint32_t ordinal) const {
    miniinfer_fake_ledger counts{};
    counts.head = MINIINFER_HEAD(miniinfer_fake_ledger);
    const auto* books = static_cast<const miniinfer_fake_ledger_api*>(
        source.plugin_api->extension(source.plugin, MINIINFER_FAKE_LEDGER));
    REQUIRE_EQ(books->read(ordinal, &counts), MINIINFER_OK);
    return counts.violations;
  }

  FakeDevice source;
  miniinfer_device* target = nullptr;
  const miniinfer_device_api* api = nullptr;
  const miniinfer_peer_copy* peer = nullptr;
  miniinfer_allocator memory{};
  miniinfer_stream *from = nullptr, *to = nullptr;
  miniinfer_mem src{}, dst{};
};

}  // namespace

TEST_CASE("a copy between devices comes after the source's work, and before what follows there") {
  Pair on;
  const Bytes in = {1, 2, 3, 4}, later = {9, 9, 9, 9};
  on.source.upload(on.from, on.src, in);
  REQUIRE_EQ(on.copy(), MINIINFER_OK);
  on.source.upload(on.from, on.src, later);
  CHECK_EQ(on.source.stream->sync(on.from), MINIINFER_OK);  // takes the copy with it
  CHECK_EQ(on.target_bytes(), in);
  REQUIRE_EQ(on.copy(), MINIINFER_OK);
  CHECK_EQ(on.target_bytes(), later);
  CHECK_EQ(on.violations(0), 0u);
  CHECK_EQ(on.violations(1), 0u);
}

TEST_CASE("both ends may be on one device, and on one stream") {
  FakeDevice fake;
  miniinfer_stream* a = fake.make_stream();
  miniinfer_stream* b = fake.make_stream();
  const miniinfer_mem from = fake.alloc(4), to = fake.alloc(4);
  const auto* peer = static_cast<const miniinfer_peer_copy*>(
      fake.api->extension(fake.device, MINIINFER_EXT_PEER_COPY));
  for (miniinfer_stream* source : {a, b}) {
    const Bytes in = {5, 6, 7, static_cast<std::uint8_t>(source == a)};
    Bytes out(4);
    fake.upload(source, from, in);
    REQUIRE_EQ(peer->enqueue(b, to, source, from, 4), MINIINFER_OK);
    fake.download(b, out, to);
    CHECK_EQ(fake.stream->sync(b), MINIINFER_OK);
    CHECK_EQ(out, in);
  }
  CHECK_EQ(fake.ledger().violations, 0u);
  CHECK_EQ(fake.ledger().peer_copies, 2u);
  fake.stream->destroy(a);
  fake.stream->destroy(b);
  fake.free(from, 4);
  fake.free(to, 4);
}

TEST_CASE("work of the source's other streams that nothing orders is a race on the source") {
  Pair on;
  miniinfer_stream* other = on.source.make_stream();
  REQUIRE_EQ(on.copy(), MINIINFER_OK);
  REQUIRE_EQ(on.source.stream->fill(other, on.src, 4, 0, 1), MINIINFER_OK);
  CHECK_EQ(on.violations(0), 1u);
  CHECK_EQ(on.violations(1), 0u);
  on.source.stream->destroy(other);
}

TEST_CASE("work of the target's other streams that nothing orders is a race on the target") {
  Pair on;
  miniinfer_stream* other = nullptr;
  REQUIRE_EQ(on.source.stream->create(on.target, 0, nullptr, &other), MINIINFER_OK);
  REQUIRE_EQ(on.copy(), MINIINFER_OK);
  REQUIRE_EQ(on.source.stream->fill(other, on.dst, 4, 0, 1), MINIINFER_OK);
  CHECK_EQ(on.violations(0), 0u);
  CHECK_EQ(on.violations(1), 1u);
  on.source.stream->destroy(other);
}

TEST_CASE("a copy that races is a race where the memory is") {
  Pair on;
  miniinfer_stream* other = on.source.make_stream();
  REQUIRE_EQ(on.source.stream->fill(other, on.src, 4, 0, 1), MINIINFER_OK);
  REQUIRE_EQ(on.copy(), MINIINFER_OK);
  CHECK_EQ(on.violations(0), 1u);
  CHECK_EQ(on.violations(1), 0u);
  CHECK_NE(on.source.violation().find("copy by a peer, work 1 of stream 1, reads"),
           std::string::npos);
  on.source.stream->destroy(other);
}

TEST_CASE("order passes on from one device to the other and back") {
  Pair on;
  miniinfer_stream* other = on.source.make_stream();
  REQUIRE_EQ(on.source.stream->fill(other, on.src, 4, 3, 1), MINIINFER_OK);
  miniinfer_event* event = on.source.make_event();
  REQUIRE_EQ(on.source.stream->event_record(event, other), MINIINFER_OK);
  REQUIRE_EQ(on.source.stream->event_wait(event, on.from), MINIINFER_OK);
  REQUIRE_EQ(on.copy(), MINIINFER_OK);
  REQUIRE_EQ(on.source.stream->event_record(event, on.from), MINIINFER_OK);
  REQUIRE_EQ(on.source.stream->event_wait(event, other), MINIINFER_OK);
  REQUIRE_EQ(on.source.stream->fill(other, on.src, 4, 4, 1), MINIINFER_OK);
  CHECK_EQ(on.target_bytes(), Bytes(4, 3));
  CHECK_EQ(on.violations(0), 0u);
  CHECK_EQ(on.violations(1), 0u);
  on.source.stream->event_destroy(event);
  on.source.stream->destroy(other);
}

TEST_CASE("what the host waited for on one device is done on the other, too") {
  Pair on;
  REQUIRE_EQ(on.copy(), MINIINFER_OK);
  REQUIRE_EQ(on.source.stream->sync(on.from), MINIINFER_OK);
  on.memory.free(on.memory.self, on.dst, 4, nullptr);
  CHECK_EQ(on.violations(1), 0u);
  REQUIRE_EQ(on.memory.alloc(on.memory.self, 4, 64, nullptr, &on.dst), MINIINFER_OK);
}

TEST_CASE("streams of both devices go on in any order that copies allow") {
  for (unsigned seed = 1; seed <= 32; ++seed) {
    Pair on("", "", seed);
    miniinfer_stream* idle = nullptr;
    REQUIRE_EQ(on.source.stream->create(on.target, 0, nullptr, &idle), MINIINFER_OK);
    for (std::uint8_t round = 1; round <= 4; ++round) {
      REQUIRE_EQ(on.source.stream->fill(on.from, on.src, 4, round, 1), MINIINFER_OK);
      REQUIRE_EQ(on.copy(), MINIINFER_OK);
      REQUIRE_EQ(on.source.stream->fill(on.from, on.src, 4, 0xEE, 1), MINIINFER_OK);
      std::uint32_t done = 0;
      for (int questions = 0; round % 2 == 0 && done == 0; ++questions) {
        REQUIRE_EQ(on.source.stream->query(seed % 2 == 0 ? on.from : on.to, &done), MINIINFER_OK);
        REQUIRE_LT(questions, 32);
      }
      CHECK_EQ(on.target_bytes(), Bytes(4, round));
    }
    CHECK_EQ(on.violations(0), 0u);
    CHECK_EQ(on.violations(1), 0u);
    on.source.stream->destroy(idle);
  }
}

TEST_CASE("freeing the source before the copy is waited for is a race") {
  Pair on;
  REQUIRE_EQ(on.copy(), MINIINFER_OK);
  on.source.free(on.src, 4);
  CHECK_EQ(on.violations(0), 1u);
  on.src = on.source.alloc(4);
  CHECK_NE(on.source.stream->sync(on.to), MINIINFER_OK);
}

TEST_CASE("a failure of the source is told by the target's stream, which is not lost by it") {
  Pair on("run#1=lost");
  const Bytes in = {1, 2, 3, 4};
  on.source.upload(on.from, on.src, in);
  REQUIRE_EQ(on.copy(), MINIINFER_OK);
  CHECK_EQ(on.source.stream->sync(on.to), MINIINFER_INTERNAL);
  CHECK_NE(on.source.host.error.find("another device"), std::string::npos);
  CHECK_EQ(on.source.stream->sync(on.from), MINIINFER_DEVICE_LOST);
}

TEST_CASE("a copy fails at the call by the target's plan") {
  Pair on("", "peer#1=fail");
  CHECK_EQ(on.copy(), MINIINFER_INTERNAL);
  CHECK_EQ(on.copy(), MINIINFER_OK);
}

TEST_CASE("a copy fails later by the target's plan") {
  Pair on("", "run#1=fail");
  CHECK_EQ(on.copy(), MINIINFER_OK);
  CHECK_EQ(on.source.stream->sync(on.to), MINIINFER_INTERNAL);
}
